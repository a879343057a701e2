"""What the fleet looks like, and what to do about it: ``decide(view, policy, now) -> Decision``.

Pure: no I/O, no clock, no random numbers. A policy (:mod:`minimoto.core.policies`) wishes; :func:`decide` grants what
the limits allow, so that no policy can pass the bounds or the budget, remove a busy node, or act without data.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from minimoto.core.fleet_limits import Limits, budget_is_short, budget_text, budget_told, grant
from minimoto.core.fleet_view import GONE, Node, View
from minimoto.core.markets import Pool
from minimoto.core.swaps import BACK_TO_SPOT, Swap

SOON = 5.0
"""Seconds between two looks at a fleet that winds down."""

FAILED = "took itself out after failing task after task"


@dataclass(frozen=True)
class Launch:
    """Start nodes.

    Parameters:
        token: makes a repeated call harmless.
        urgent: on-demand first: a deadline leaves no time to replace a spot node that is taken back.
        pools: where to ask, the best first, once that is known.
        instead_of: ids of the nodes on demand whose places the new ones take, which are had on spot or not at all.
        repays: as of :class:`~minimoto.core.swaps.Swap`.
    """

    count: int
    reason: str
    token: str
    urgent: bool = False
    pools: tuple[Pool, ...] = ()
    instead_of: tuple[str, ...] = ()
    repays: float = 0.0


@dataclass(frozen=True)
class Drain:
    """Ask the services of a node to finish what they hold and take nothing more.

    Parameters:
        replaced_by: id of the node that has taken its place; empty: none has.
    """

    node: str
    reason: str
    replaced_by: str = ""


@dataclass(frozen=True)
class Terminate:
    """End a machine: a drained one, or a dead one, whose leases are then broken."""

    node: str
    reason: str
    dead: bool = False


@dataclass(frozen=True)
class Bound:
    """Give the Auto Scaling group other bounds."""

    least: int
    most: int
    reason: str


@dataclass(frozen=True)
class Keep:
    """Leave a machine that took itself out to be looked at. Nothing is done to it, and that is said once."""

    node: str
    reason: str


@dataclass(frozen=True)
class Detach:
    """Take a machine that is kept out of its Auto Scaling group, which would end it when it replaces it.

    Parameters:
        smaller: there is no room for another: the group wants one machine less from now on.
    """

    node: str
    smaller: bool


Action = Launch | Drain | Terminate | Bound | Keep | Detach


@dataclass(frozen=True)
class Decision:
    """What to do, and why.

    Parameters:
        rule: one word for what decided, such as ``hold``; unlike ``reason`` it stays while nothing changes.
        reason: for a person, one line.
        inputs: what mattered, by name.
        budget_shut: the day's budget is used up: nothing more is launched until midnight UTC.
        told: which limit keeps machines from the jobs, for their owners; empty: none.
    """

    actions: tuple[Action, ...]
    reason: str
    rule: str
    inputs: Mapping[str, object] = field(default_factory=dict)
    budget_shut: bool = False
    told: str = ""

    @property
    def launches(self) -> int:
        """Nodes to launch."""
        return sum(action.count for action in self.actions if isinstance(action, Launch))


@dataclass(frozen=True)
class Wish:
    """What a policy would do if there were no limits.

    Parameters:
        launch: nodes to start.
        drain: ids of nodes to drain.
        firm: whether busy nodes may be drained as well (they finish their task first); else only idle ones are.
        urgent: as of :class:`Launch`.
        drain_reason: why those are drained; empty: for ``reason``.
        told: which limit keeps machines from the jobs, where the policy knows it better than the limits do.
        bounds: the least and the most that the Auto Scaling group shall have, if they change.
        detach: which of the machines that are kept are taken out of that group.
        swap: the nodes on demand that spot ones shall replace, where nothing else is to be launched.
    """

    rule: str
    reason: str
    launch: int = 0
    drain: tuple[str, ...] = ()
    firm: bool = False
    urgent: bool = False
    bounds: tuple[int, int] | None = None
    detach: tuple[Detach, ...] = ()
    drain_reason: str = ""
    told: str = ""
    swap: Swap | None = None


class Policy(Protocol):
    """A rule for the fleet's size: :data:`minimoto.core.policies.POLICIES`."""

    @property
    def limits(self) -> Limits: ...

    def dead(self, view: View) -> Mapping[str, str]:
        """The nodes to end because they are broken, and why."""

    def wish(self, view: View, dead: Mapping[str, str], now: float) -> Wish:
        """The change wished for; ``view`` no longer holds the nodes that end anyway, ``dead`` names the broken ones."""


def decide(view: View, policy: Policy, now: float) -> Decision:
    """What to do about the fleet.

    Parameters:
        now: seconds since the epoch.

    Returns:
        Terminations first, then drains, then the group's changes or at most one launch; never more machines than
        ``max_nodes``, never a launch that could pass the day's budget, never the end of a node that holds a task unless
        it is dead.
    """
    inputs = notable(view)
    if view.nodes is None:
        return Decision((), "the machines could not be listed: nothing is started or ended on a guess", "hold", inputs)
    if view.grouped and view.group is None:
        return Decision((), "the Auto Scaling group could not be seen: nothing is ended on a guess", "hold", inputs)
    # Not even a node to be looked at may pass the day's budget.
    kept = frozenset() if budget_is_short(view, policy.limits) else _kept(view, policy.limits)
    inputs |= {"kept": sorted(kept)} if kept else {}
    dead = policy.dead(_without(view, kept))
    ends = (*_dead(view, dead), *(end for end in _drained(view, dead) if end.node not in kept))
    ended = {end.node for end in ends}
    staying, replaced = _swapped(_without(view, ended))
    shut = budget_is_short(staying, policy.limits)
    # When the money is spent nothing takes a place any more: all of them end.
    standbys = {} if shut else _standbys(staying)
    able = _without(staying, {*kept, *standbys})
    if shut and not view.grouped:
        wish = _shut_down(able, policy.limits)
    else:
        # A group ends what is idle by itself, once its bounds are shut. Its bounds leave room for what is kept.
        shown = replace(staying, keeping=kept) if view.grouped else able
        wish = policy.wish(replace(shown, budget_shut=shut), dead, now)
    drains = [drain for drain in _drains(staying, wish, policy.limits, now) if drain.node not in kept]
    granted = grant(staying, policy.limits, wish.launch, now)
    limited = [granted.reason] if granted.reason else []
    swap, swapping = _swap(staying, wish, policy.limits, now)
    besides = [
        *(drain.reason for drain in replaced),
        *swapping,
        *(f"{BACK_TO_SPOT}: {new} boots in the place of {old}" for new, old in standbys.items()),
        *(_warm(able, policy.limits) if not shut else []),
        *([f"kept to be looked at: {', '.join(sorted(kept))}"] if kept else []),
    ]
    reason = "; ".join([*(f"{end.node} {end.reason}" for end in ends), wish.reason, *limited, *besides])
    keeps = [Keep(node.id, FAILED) for node in view.nodes if node.id in kept and not node.kept]
    launch = (Launch(granted.count, wish.reason, view.token, wish.urgent),) if granted.count else swap
    detaches = [detach for detach in wish.detach if detach.node in kept]
    bound = (Bound(*wish.bounds, wish.reason),) if wish.bounds else ()
    rule = "limit" if limited and not granted.count else "swap" if swap or replaced else wish.rule
    told = budget_told(policy.limits) if shut else wish.told or granted.told
    actions = (*ends, *keeps, *replaced, *drains, *detaches, *bound, *launch)
    return Decision(actions, reason, rule, inputs, shut, told)


def next_look(view: View, decision: Decision, limits: Limits) -> float:
    """Seconds until the next look: sooner while the fleet winds down, as an idle node costs by the second.

    A fleet at its least has nothing to wind down.

    Parameters:
        view: what the decision was made of.
    """
    kept = _kept(view, limits)
    nodes = [node for node in view.nodes or () if node.up and node.id not in kept]
    draining = any(node.draining or node.leaving for node in nodes)
    draining = draining or any(isinstance(action, Drain) for action in decision.actions)
    at_work = sum(node.busy for node in nodes)
    waiting = None if view.jobs is None else sum(job.tasks_left for job in view.jobs) > at_work
    last = waiting is False and len(nodes) > limits.always and any(node.reported for node in nodes)
    return min(limits.pass_seconds, SOON) if draining or last else limits.pass_seconds


def notable(view: View) -> dict[str, object]:
    """The inputs worth keeping with a decision: those that are known, in the order a person would read them."""
    states: dict[str, int] = {}
    for node in view.nodes or ():
        states[node.condition] = states.get(node.condition, 0) + 1
    values: dict[str, object] = {
        "visible": view.visible,
        "in_flight": view.in_flight,
        "delayed": view.delayed,
        "oldest": view.oldest,
        "seconds_per_task": view.seconds_per_task,
        "boot_seconds": view.boot_seconds,
        "slots_per_node": view.slots_per_node,
        "nodes": None if view.nodes is None else states,
        "jobs": None if view.jobs is None else len(view.jobs),
        "deadline": min((job.deadline for job in view.jobs or () if job.deadline is not None), default=None),
        "spent_today": round(view.spent_today, 2) if view.price_per_hour is not None else None,
        "reports_known": None if view.reports_known else False,
        "group": view.group.text if view.group else None,
        "group_troubles": list(view.group.troubles) or None if view.group else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _kept(view: View, limits: Limits) -> frozenset[str]:
    """Nodes that took themselves out and stay for a person to look at; they are no capacity, but cost and count.

    One that its Auto Scaling group ends cannot be kept.
    """
    ending = {member.id for member in view.group.members if member.ending} if view.group else ()
    failed = (n.id for n in view.nodes or () if n.fenced and n.state not in GONE)
    return frozenset(id for id in failed if id not in ending) if limits.keep_failed else frozenset()


def _without(view: View, ids: Collection[str]) -> View:
    return replace(view, nodes=tuple(node for node in view.nodes or () if node.id not in ids)) if ids else view


def _swapped(view: View) -> tuple[View, list[Drain]]:
    """The nodes on demand whose place a spot node is ready to take: they drain, whatever the policy."""
    there = {node.id: node for node in view.nodes or () if node.counts}
    ready = {node.replaces: node.id for node in there.values() if node.reported and not node.strikes}
    drains = [
        Drain(old, f"{BACK_TO_SPOT}: {new} has taken the place of {old}", new)
        for old, new in ready.items()
        if old in there
    ]
    left = {drain.node for drain in drains}
    nodes = tuple(replace(node, draining=True) if node.id in left else node for node in view.nodes or ())
    return (replace(view, nodes=nodes), drains) if drains else (view, drains)


def _standbys(view: View) -> dict[str, str]:
    """Spot nodes that are not ready yet to take the place of a node that is still there, and those nodes."""
    there = {node.id for node in view.nodes or () if node.counts}
    return {node.id: node.replaces for node in view.nodes or () if node.replaces in there and node.up}


def _swap(view: View, wish: Wish, limits: Limits, now: float) -> tuple[tuple[Launch, ...], list[str]]:
    """The launch of spot nodes in the place of others, as far as the limits allow, and what there is to say of it."""
    if wish.swap is None or wish.launch:
        return (), []
    granted = grant(view, limits, len(wish.swap.nodes), now)
    limited = [f"{BACK_TO_SPOT} waits: {granted.reason}"] if granted.reason else []
    if not granted.count:
        return (), limited
    nodes, reason = wish.swap.nodes[: granted.count], wish.swap.reason
    launch = Launch(granted.count, reason, view.token, instead_of=nodes, repays=wish.swap.repays)
    return (launch,), [reason, *limited]


def _warm(view: View, limits: Limits) -> Sequence[str]:
    """What the hours of the day keep, where that is what keeps them."""
    return [limits.warm] if limits.warm and len(view.counted) <= limits.min_nodes else []


def _dead(view: View, dead: Mapping[str, str]) -> Sequence[Terminate]:
    present = [node.id for node in view.nodes or () if node.state not in GONE]
    return [Terminate(id, dead[id], dead=True) for id in present if id in dead]


def _drained(view: View, dead: Mapping[str, str]) -> Sequence[Terminate]:
    return [
        Terminate(node.id, "has drained")
        for node in view.nodes or ()
        if node.draining and node.up and node.finished and not node.busy and node.id not in dead
    ]


def _drains(view: View, wish: Wish, limits: Limits, now: float) -> Sequence[Drain]:
    """What the policy wished for, and the nodes that are of no use: they make room for others."""
    nodes = {node.id: node for node in view.nodes or () if node.up and not node.draining}
    wished = [nodes[id] for id in wish.drain if id in nodes]
    drains = {node.id: wish.drain_reason or wish.reason for node in wished if wish.firm or not node.busy}
    fenced = {id: FAILED for id, node in nodes.items() if node.fenced}
    useless = {id: f"takes no work: {n.unable}" for id, n in nodes.items() if n.unable and _idle(n, limits, now)}
    return [Drain(id, reason) for id, reason in (useless | fenced | drains).items()]


def _idle(node: Node, limits: Limits, now: float) -> bool:
    return not node.busy and node.idle_since is not None and now - node.idle_since >= limits.cooldown


def _shut_down(view: View, limits: Limits) -> Wish:
    drain = tuple(node.id for node in view.nodes or () if node.up and not node.draining)
    reason = f"{budget_text(view, limits)}: the nodes finish what they hold; nothing starts before midnight UTC"
    return Wish("budget", reason, drain=drain, firm=True)
