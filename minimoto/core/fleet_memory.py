"""What the watchdog remembers from one pass to the next, and how a new look changes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from minimoto.core.fleet import Decision, Drain, Keep, Launch, Terminate
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import JobView, Node, View
from minimoto.core.markets import SPOT, Experience, Pool, lived
from minimoto.core.paces import Paces, learnt, pace
from minimoto.core.policies.dead import DEADLY_STRIKES, symptom
from minimoto.core.swaps import Swaps

DAY = 86_400.0

UNSEEN_SECONDS = 300.0
"""A node that was launched is believed in for so long while the provider does not list it yet."""

UNRESOLVED_SECONDS = 600.0
"""A launch whose outcome is unknown is given up when no node with its token has appeared for so long."""

CONSISTENT_SECONDS = 60.0
"""What a provider does not list after so long was not started: its listings lag by seconds at most."""

LEARNING_RATE = 0.5


@dataclass(frozen=True)
class Strike:
    """How often in a row a node showed a symptom, and when that was last counted."""

    count: int
    at: float
    symptom: str


@dataclass(frozen=True)
class PendingLaunch:
    """A launch that was begun: written before the call, cleared when its nodes are known.

    Parameters:
        pools: where was asked, the best first: the provider knows a repeated launch by that as well.
        instead_of, repays, reason: of a launch of standbys, as of :class:`~minimoto.core.fleet.Launch`.
    """

    token: str
    count: int
    at: float
    pools: tuple[Pool, ...] = ()
    instead_of: tuple[str, ...] = ()
    repays: float = 0.0
    reason: str = ""

    def is_try_of(self, action: Launch) -> bool:
        """Whether that launch would be this one again."""
        return (self.token, self.count, self.instead_of) == (action.token, action.count, action.instead_of)


@dataclass(frozen=True)
class Memory:
    """The watchdog's memory. Times are seconds since the epoch.

    Parameters:
        nonce: random, set once: makes the tokens of this deployment unlike those of an earlier one of the same name.
        launches: launches so far; the next token is made of it.
        launched: nodes that were launched and are not listed yet, with the time.
        known: nodes at the last look, with their launch time.
        spot: the spot ones of them, with their pool.
        parting: nodes that were ended by us, or are known to be interrupted; each is counted once.
        markets: what was learnt of the pools.
        swaps: spot nodes in the place of those on demand, and how swaps went lately.
        reported: those of them that have sent a heartbeat.
        draining: nodes that were asked to drain, with the reason.
        kept: nodes that took themselves out and stay to be looked at.
        spent: US dollars on ``day`` (days since the epoch, UTC), counted until ``spent_at``.
        shut_day: the day whose budget was used up.
        scale_to: the size set by hand.
        jobless_since: since when no live job has had a task left.
        empty_since: since when the queue has been seen empty while tasks wait.
        dead_letters: messages left in the dead-letter queue for people: id to reason, and when they were last seen.
        recorded, recorded_at: rule and fleet's size of the decision that was last written to the log, and when.
    """

    nonce: str = ""
    launches: int = 0
    pending: PendingLaunch | None = None
    launched: Mapping[str, float] = field(default_factory=dict)
    known: Mapping[str, float] = field(default_factory=dict)
    spot: Mapping[str, Pool] = field(default_factory=dict)
    parting: tuple[str, ...] = ()
    markets: Experience = field(default_factory=Experience)
    swaps: Swaps = field(default_factory=Swaps)
    reported: tuple[str, ...] = ()
    strikes: Mapping[str, Strike] = field(default_factory=dict)
    idle_since: Mapping[str, float] = field(default_factory=dict)
    draining: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    last_scale_out: float | None = None
    last_scale_in: float | None = None
    seconds_per_task: float | None = None
    paces: Paces = field(default_factory=dict)
    boot_seconds: float | None = None
    stillborn: int = 0
    last_stillborn: float | None = None
    day: int = 0
    spent: float = 0.0
    spent_at: float | None = None
    shut_day: int | None = None
    scale_to: int | None = None
    jobless_since: float | None = None
    empty_since: float | None = None
    dead_letters: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    recorded: str = ""
    recorded_at: float = 0.0

    @property
    def token(self) -> str:
        """What the next launch is known by: an unresolved one keeps its token."""
        return self.pending.token if self.pending else f"{self.nonce}-{self.launches + 1}"


def learn(memory: Memory, view: View, limits: Limits, now: float) -> tuple[Memory, View]:
    """A new look: the memory that follows from it, and the view completed by what is remembered.

    Parameters:
        view: as observed: without strikes, idle times, spending and what was learnt before.
    """
    if view.nodes is None:
        return memory, complete(memory, view, now)
    memory = _forget_unseen(_resolve(memory, view.nodes, now), view.nodes, now)
    view = replace(view, nodes=_with_unseen(memory, view.nodes))
    memory = _learn_times(memory, view, now)
    memory = _spend(memory, view, now)
    memory = _learn_markets(memory, view, now)
    jobless = view.jobs is not None and not any(job.tasks_left for job in view.jobs)
    memory = replace(memory, jobless_since=(memory.jobless_since or now) if jobless else None)
    learnt = replace(view, seconds_per_task=memory.seconds_per_task, boot_seconds=memory.boot_seconds)
    memory = _follow(memory, learnt, limits, now)
    return memory, complete(memory, view, now)


def complete(memory: Memory, view: View, now: float) -> View:
    """The view with what is remembered filled in."""
    nodes = None if view.nodes is None else tuple(_complete_node(memory, view, node) for node in view.nodes)
    types = [node.type for node in nodes or () if node.counts]
    jobs = None if view.jobs is None else tuple(_complete_job(memory.paces, job, types) for job in view.jobs)
    return replace(
        view,
        nodes=nodes,
        jobs=jobs,
        paces=memory.paces,
        seconds_per_task=memory.seconds_per_task,
        boot_seconds=memory.boot_seconds,
        last_scale_out=memory.last_scale_out,
        last_scale_in=memory.last_scale_in,
        stillborn=memory.stillborn,
        last_stillborn=memory.last_stillborn,
        markets=memory.markets,
        swaps=memory.swaps,
        jobless_since=memory.jobless_since,
        spent_today=memory.spent if memory.day == int(now // DAY) else 0.0,
        budget_shut=memory.shut_day == int(now // DAY),
        token=memory.token,
    )


def decided(memory: Memory, view: View, decision: Decision, now: float) -> Memory:
    """The memory to store before the decision is carried out."""
    newborn = {node.id for node in view.nodes or () if not node.reported}
    for action in decision.actions:
        if isinstance(action, Drain):
            memory = replace(memory, draining={**memory.draining, action.node: action.reason}, last_scale_in=now)
        elif isinstance(action, Keep):
            memory = replace(memory, kept=(*memory.kept, action.node))
        elif isinstance(action, Launch):
            memory = replace(memory, pending=_begun(memory, action, now))
        elif isinstance(action, Terminate):
            memory = replace(memory, parting=(*memory.parting, action.node))
            if action.dead and action.node in newborn:
                memory = replace(memory, stillborn=memory.stillborn + 1, last_stillborn=now)
    return replace(memory, shut_day=int(now // DAY)) if decision.budget_shut else memory


def _begun(memory: Memory, action: Launch, now: float) -> PendingLaunch:
    """A launch tried again under its token is as old as its first try."""
    first = memory.pending
    if first is not None and first.is_try_of(action):
        return first
    reason = action.reason if action.instead_of else ""
    return PendingLaunch(action.token, action.count, now, action.pools, action.instead_of, action.repays, reason)


def may_launch(memory: Memory, wanted: int, instead_of: Sequence[str], now: float) -> int:
    """How many nodes may be asked for while the outcome of an earlier launch is unknown.

    The provider knows a repeated launch by its token *and* count: until its listing is sure to show what the first try
    started, exactly that try is repeated, or none. One that is to take the place of others is no other launch's try.

    Parameters:
        instead_of: whose places they are to take.
    """
    first = memory.pending
    if first is None or now - first.at >= CONSISTENT_SECONDS:
        return wanted
    return first.count if wanted >= first.count and tuple(instead_of) == first.instead_of else 0


def launched(memory: Memory, ids: Sequence[str], now: float) -> Memory:
    """The memory after a launch whose nodes are known."""
    first = memory.pending
    swaps = memory.swaps.begun(ids, first.instead_of, now, first.repays, first.reason) if first else memory.swaps
    return replace(
        memory,
        swaps=swaps,
        pending=None,
        launches=memory.launches + 1,
        launched={**memory.launched, **dict.fromkeys(ids, now)},
        last_scale_out=now,
    )


def refused(memory: Memory) -> Memory:
    """The memory after a launch that was certainly refused: nothing was started under its token."""
    return replace(memory, pending=None, launches=memory.launches + 1)


def _resolve(memory: Memory, nodes: Sequence[Node], now: float) -> Memory:
    """Looks for the nodes of a launch whose outcome was never written down."""
    pending = memory.pending
    if pending is None:
        return memory
    ids = [node.id for node in nodes if node.token == pending.token]
    if ids:
        return launched(memory, ids, pending.at)
    # Nobody waits for a swap, and its token must not stand in the way of a launch that somebody waits for.
    patience = CONSISTENT_SECONDS if pending.instead_of else UNRESOLVED_SECONDS
    return refused(memory) if now - pending.at > patience else memory


def _forget_unseen(memory: Memory, nodes: Sequence[Node], now: float) -> Memory:
    # What was ended before it was ever listed is not waited for.
    known = {*(node.id for node in nodes), *memory.parting}
    young = {id: at for id, at in memory.launched.items() if id not in known and now - at < UNSEEN_SECONDS}
    return replace(memory, launched=young)


def _with_unseen(memory: Memory, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    return (*nodes, *(Node(id, state="pending", launched=at) for id, at in memory.launched.items()))


def _learn_times(memory: Memory, view: View, now: float) -> Memory:
    if view.seconds_per_task is not None:
        memory = replace(memory, seconds_per_task=_mean(memory.seconds_per_task, view.seconds_per_task))
    if view.paces:
        memory = replace(memory, paces=learnt(memory.paces, view.paces))
    for node in view.nodes or ():
        newcomer = node.id in memory.known and node.id not in memory.reported
        if newcomer and node.reported and node.heartbeat is not None:
            boot = max(0.0, now - node.heartbeat - node.launched)
            memory = replace(memory, boot_seconds=_mean(memory.boot_seconds, boot), stillborn=0)
    return memory


def _learn_markets(memory: Memory, view: View, now: float) -> Memory:
    """Counts the hours of spot nodes, and those that were taken back: gone, or leaving, without our doing."""
    nodes = {node.id: node for node in view.nodes or () if node.up}
    spot = {id: Pool(node.market, node.type, node.zone) for id, node in nodes.items() if node.market == SPOT}
    before = {**memory.spot, **spot}
    taken = [
        id
        for id in before
        if id not in memory.parting
        and id not in memory.draining
        and (id not in nodes or (nodes[id].leaving and not nodes[id].fenced))
    ]
    markets = lived(memory.markets, before.values(), (before[id] for id in taken), now)
    parting = tuple(id for id in (*memory.parting, *taken) if id in nodes)
    swaps = memory.swaps.followed(nodes.keys() - set(taken), memory.draining.keys(), now)
    return replace(memory, spot=spot, parting=parting, markets=markets, swaps=swaps)


def _mean(before: float | None, seen: float) -> float:
    return seen if before is None else (1 - LEARNING_RATE) * before + LEARNING_RATE * seen


def _spend(memory: Memory, view: View, now: float) -> Memory:
    """Adds what the nodes have cost since the last look; one that has gone meanwhile is charged until now."""
    day = int(now // DAY)
    spent = memory.spent if memory.day == day else 0.0
    start = max(day * DAY, memory.spent_at or 0.0)
    running = {**memory.known, **{node.id: node.launched for node in view.nodes or () if node.up}}
    seconds = sum(max(0.0, now - max(start, launch)) for launch in running.values())
    spent += seconds * (view.price_per_hour or 0.0) / 3600
    return replace(memory, day=day, spent=spent, spent_at=now)


def _follow(memory: Memory, view: View, limits: Limits, now: float) -> Memory:
    """Strikes, idle times and drains of the nodes that are there; those of others are forgotten."""
    nodes = [node for node in view.nodes or () if node.state != "terminated"]
    ids = {node.id for node in nodes}
    return replace(
        memory,
        known={node.id: node.launched for node in nodes if node.up},
        reported=tuple(sorted(node.id for node in nodes if node.reported or node.id in memory.reported)),
        strikes={node.id: strike for node in nodes if (strike := _strike(memory, node, view, limits, now))},
        idle_since={node.id: since for node in nodes if (since := _idle_since(memory, node, view, now)) is not None},
        draining={id: reason for id, reason in memory.draining.items() if id in ids},
        kept=tuple(node.id for node in nodes if node.fenced and node.id in memory.kept),
    )


def _strike(memory: Memory, node: Node, view: View, limits: Limits, now: float) -> Strike | None:
    """Counts a symptom: a second strike needs a second look, some time after the first."""
    before = memory.strikes.get(node.id)
    what = symptom(node, view, limits, now)
    if not what:
        return before if not view.reports_known else None
    if before is None:
        return Strike(1, now, what)
    if now - before.at >= limits.strike_seconds / 2:
        return Strike(min(DEADLY_STRIKES, before.count + 1), now, what)
    return replace(before, symptom=what)


def _idle_since(memory: Memory, node: Node, view: View, now: float) -> float | None:
    before = memory.idle_since.get(node.id)
    if not view.reports_known:
        return before
    if not node.reported or node.busy or not node.up:
        return None
    since = now if before is None else before
    return min(now, max(since, node.idle_since or 0.0))


def _complete_node(memory: Memory, view: View, node: Node) -> Node:
    strike = memory.strikes.get(node.id)
    reported = node.reported or node.id in memory.reported
    idle_since = memory.idle_since.get(node.id) if view.reports_known and not node.busy else None
    draining, kept = node.id in memory.draining, node.id in memory.kept
    standby = memory.swaps.standbys.get(node.id)
    known = (node.reported, node.idle_since, node.draining, node.kept)
    if strike is None and not node.strikes and not standby and known == (reported, idle_since, draining, kept):
        # Of hundreds of nodes most are as they are seen, and a copy of each takes longer than everything else.
        return node
    return replace(
        node,
        reported=reported,
        strikes=strike.count if strike else 0,
        symptom=strike.symptom if strike else "",
        idle_since=idle_since,
        draining=draining,
        kept=kept,
        replaces=standby.node if standby else "",
    )


def _complete_job(paces: Paces, job: JobView, types: Sequence[str]) -> JobView:
    seen = pace(paces, job.step, types)
    return job if seen is None else replace(job, seconds_left=job.inputs_left * seen, learnt=True)
