"""What the fleet looks like, and what to do about it: ``decide(view, policy, now) -> Decision``.

Pure: no I/O, no clock, no random numbers. A policy (:mod:`minimoto.core.policies`) wishes; :func:`decide` grants what
the limits allow, so that no policy can pass the bounds or the budget, remove a busy node, or act without data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import floor
from typing import Protocol

from minimoto.core.node import NodeState
from minimoto.errors import ConfigError

GONE = frozenset({"shutting-down", "terminated"})
HALTED = frozenset({"stopping", "stopped"})


@dataclass(frozen=True)
class Node:
    """A service machine, from what its provider, its heartbeats and the watchdog's memory say.

    Parameters:
        state: pending, running, shutting-down, terminated, stopping or stopped.
        launched: when, seconds since the epoch.
        healthy: both status checks; ``None`` while unknown.
        cpu: percent; ``None`` without a datapoint.
        reported: whether a service on it has ever sent a heartbeat.
        heartbeat: age of its newest heartbeat, seconds; ``None``: none, or unknown.
        slots: slots that report.
        busy: slots that hold a task.
        progress: seconds since the busy slot that is slowest to do so made progress; ``None``: unknown or idle.
        failures: tries failed one after another, at the worst slot.
        fenced: it took itself out.
        unable: why it takes no work although it could, such as a full disk; empty: it does.
        leaving: a slot reports that it drains, whoever asked for it.
        finished: every slot reports that it drains and holds nothing.
        draining: the watchdog asked it to drain.
        strikes: 0, 1 or 2 (dead); ``symptom`` says what for.
        idle_since: since when it has held no task; ``None`` while busy, booting or unknown.
        token: the token of the launch that started it.
    """

    id: str
    state: str = "running"
    launched: float = 0.0
    healthy: bool | None = None
    cpu: float | None = None
    reported: bool = False
    heartbeat: float | None = None
    slots: int = 0
    busy: int = 0
    progress: float | None = None
    failures: int = 0
    fenced: bool = False
    unable: str = ""
    leaving: bool = False
    finished: bool = False
    draining: bool = False
    strikes: int = 0
    symptom: str = ""
    idle_since: float | None = None
    type: str = ""
    market: str = "on-demand"
    zone: str = ""
    token: str = ""

    @property
    def up(self) -> bool:
        """Whether the machine runs or boots."""
        return self.state not in GONE and self.state not in HALTED

    @property
    def booting(self) -> bool:
        """Whether no service has reported from it yet."""
        return self.up and not self.reported

    @property
    def counts(self) -> bool:
        """Whether it is, or soon will be, capacity: up, able, and neither drained nor fenced nor dead."""
        return self.up and not (self.draining or self.leaving or self.fenced or self.unable or self.strikes >= 2)

    @property
    def condition(self) -> str:
        """One word for a person."""
        if not self.up:
            return self.state
        if self.strikes >= 2:
            return "dead"
        if self.fenced:
            return NodeState.FENCED.lower()
        if self.draining or self.leaving:
            return NodeState.DRAINING.lower()
        if self.booting:
            return "booting"
        if self.strikes:
            return "suspect"
        if self.unable:
            return "unable"
        return "busy" if self.busy else "idle"


@dataclass(frozen=True)
class JobView:
    """A live job. ``stages_after``: stages that follow the running one. ``deadline``: seconds since the epoch."""

    id: str
    tasks_left: int
    stages_after: int = 0
    deadline: float | None = None


@dataclass(frozen=True)
class View:
    """Everything a decision may depend on. ``None`` always means unknown, never zero.

    Parameters:
        nodes: the service machines that are not terminated; ``None`` when they could not be listed.
        visible, in_flight, delayed: messages in the queue, approximately.
        oldest: age of the oldest visible message, seconds.
        jobs: the live jobs that are ready or being processed; ``None`` when they could not be read.
        reports_known: whether the heartbeats could be read.
        seconds_per_task: as seen lately; ``None`` before the first task.
        boot_seconds: from launch to first heartbeat, as seen lately; ``None`` before the first.
        slots_per_node: workers on a node.
        last_scale_out, last_scale_in: when nodes were last launched and drained.
        stillborn: nodes, one after another, that died without a heartbeat; ``last_stillborn`` is when.
        spent_today: US dollars since midnight UTC, estimated; ``price_per_hour`` is that of one node, ``None`` unknown.
        budget_shut: today's budget was used up before.
        token: what a launch of this pass is to be known by.
    """

    nodes: tuple[Node, ...] | None
    visible: int | None = None
    in_flight: int | None = None
    delayed: int | None = None
    oldest: float | None = None
    jobs: tuple[JobView, ...] | None = None
    reports_known: bool = True
    seconds_per_task: float | None = None
    boot_seconds: float | None = None
    slots_per_node: int = 1
    last_scale_out: float | None = None
    last_scale_in: float | None = None
    stillborn: int = 0
    last_stillborn: float | None = None
    spent_today: float = 0.0
    price_per_hour: float | None = None
    budget_shut: bool = False
    token: str = ""

    @property
    def counted(self) -> tuple[Node, ...]:
        """The nodes that are, or soon will be, capacity."""
        return tuple(node for node in self.nodes or () if node.counts)


@dataclass(frozen=True)
class Limits:
    """The settings of a fleet; durations are seconds. See ``[FLEET]`` in ``configure.ini``.

    Raises:
        ConfigError: the bounds contradict each other, or a duration is not positive.
    """

    min_nodes: int = 1
    max_nodes: int = 8
    target_seconds: float = 300.0
    boot_seconds: float = 120.0
    task_seconds: float = 30.0
    cooldown: float = 300.0
    strike_seconds: float = 60.0
    pass_seconds: float = 60.0
    budget_per_day: float = 0.0
    instance_type: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.min_nodes <= self.max_nodes:
            raise ConfigError(f"[FLEET] min_nodes is {self.min_nodes} and max_nodes {self.max_nodes}: 0 ≤ min ≤ max")
        for name in ("target_seconds", "boot_seconds", "task_seconds", "strike_seconds", "pass_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be more than 0")
        if self.cooldown < 0 or self.budget_per_day < 0:
            raise ConfigError("[FLEET] cooldown and budget_per_day may not be negative")


@dataclass(frozen=True)
class Launch:
    """Start nodes. ``token`` makes a repeated call harmless."""

    count: int
    reason: str
    token: str


@dataclass(frozen=True)
class Drain:
    """Ask the services of a node to finish what they hold and take nothing more."""

    node: str
    reason: str


@dataclass(frozen=True)
class Terminate:
    """End a machine: a drained one, or a dead one, whose leases are then broken."""

    node: str
    reason: str
    dead: bool = False


Action = Launch | Drain | Terminate


@dataclass(frozen=True)
class Decision:
    """What to do, and why.

    Parameters:
        rule: one word for what decided, such as ``hold``; unlike ``reason`` it stays while nothing changes.
        reason: for a person, one line.
        inputs: what mattered, by name.
        budget_shut: the day's budget is used up: nothing more is launched until midnight UTC.
    """

    actions: tuple[Action, ...]
    reason: str
    rule: str
    inputs: Mapping[str, object] = field(default_factory=dict)
    budget_shut: bool = False

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
    """

    rule: str
    reason: str
    launch: int = 0
    drain: tuple[str, ...] = ()
    firm: bool = False


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
        Terminations first, then drains, then at most one launch; never more machines than ``max_nodes``, never a launch
        that could pass the day's budget, never the end of a node that holds a task unless it is dead.
    """
    inputs = notable(view)
    if view.nodes is None:
        return Decision((), "the machines could not be listed: nothing is started or ended on a guess", "hold", inputs)
    dead = policy.dead(view)
    ends = (*_dead(view, dead), *_drained(view, dead))
    ended = {end.node for end in ends}
    staying = replace(view, nodes=tuple(node for node in view.nodes if node.id not in ended))
    shut = _budget_shut(staying, policy.limits)
    wish = _shut_down(staying, policy.limits) if shut else policy.wish(staying, dead, now)
    drains = _drains(staying, wish, policy.limits, now)
    granted, limited = grant(staying, policy.limits, wish.launch, now)
    reason = "; ".join([*(f"{end.node} {end.reason}" for end in ends), wish.reason, *([limited] if limited else [])])
    launch = (Launch(granted, wish.reason, view.token),) if granted else ()
    rule = "limit" if limited and not granted else wish.rule
    return Decision((*ends, *drains, *launch), reason, rule, inputs, shut)


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
    }
    return {name: value for name, value in values.items() if value is not None}


def grant(view: View, limits: Limits, wanted: int, now: float) -> tuple[int, str]:
    """How many of ``wanted`` new nodes the limits allow, and which limit binds (empty: none).

    Every machine that is not on its way out counts against ``max_nodes``: draining and stopped ones as well.
    """
    if wanted <= 0:
        return 0, ""
    wait = _launch_backoff(view, limits, now)
    if wait > 0:
        return 0, f"{view.stillborn} nodes in a row died without a heartbeat: the next launch is tried in {wait:.0f} s"
    machines = sum(node.state not in GONE for node in view.nodes or ())
    granted, limited = wanted, ""
    if limits.max_nodes - machines < granted:
        granted = max(0, limits.max_nodes - machines)
        limited = f"max_nodes is {limits.max_nodes}: {wanted} more wanted, {granted} started"
    affordable = _affordable(view, limits)
    if affordable is not None and affordable < granted:
        granted = max(0, affordable)
        limited = f"{_budget_text(view, limits)}: {wanted} more wanted, {granted} started"
    return granted, limited


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
    drains = {node.id: wish.reason for node in wished if wish.firm or not node.busy}
    fenced = {id: "took itself out after failing task after task" for id, node in nodes.items() if node.fenced}
    useless = {id: f"takes no work: {n.unable}" for id, n in nodes.items() if n.unable and _idle(n, limits, now)}
    return [Drain(id, reason) for id, reason in (useless | fenced | drains).items()]


def _idle(node: Node, limits: Limits, now: float) -> bool:
    return not node.busy and node.idle_since is not None and now - node.idle_since >= limits.cooldown


def _launch_backoff(view: View, limits: Limits, now: float) -> float:
    """Seconds until a launch may be tried after nodes died at birth: a broken image must not launch for ever."""
    if view.stillborn < 2 or view.last_stillborn is None:
        return 0.0
    pause = min(3600.0, limits.boot_seconds * 2.0 ** (view.stillborn - 1))
    return max(0.0, view.last_stillborn + pause - now)


def _finish_seconds(view: View, limits: Limits) -> float:
    """How long a node still costs from the look that finds the money short: it ends a task, drains, is seen drained."""
    return 2 * (view.seconds_per_task or limits.task_seconds) + 4 * limits.pass_seconds


def _budget_shut(view: View, limits: Limits) -> bool:
    if not limits.budget_per_day:
        return False
    if view.budget_shut:
        return True
    running = sum(node.up for node in view.nodes or ())
    reserve = running * (view.price_per_hour or 0.0) * _finish_seconds(view, limits) / 3600
    return view.spent_today + reserve >= limits.budget_per_day


def _affordable(view: View, limits: Limits) -> int | None:
    """Nodes that may be added so that all of them can boot, work and drain within the day's budget; ``None``: any."""
    if not limits.budget_per_day:
        return None
    if view.price_per_hour is None or view.budget_shut:
        return 0
    boot = view.boot_seconds or limits.boot_seconds
    each = view.price_per_hour * (boot + _finish_seconds(view, limits)) / 3600
    if each <= 0:
        return None
    running = sum(node.up for node in view.nodes or ())
    return floor((limits.budget_per_day - view.spent_today) / each) - running


def _budget_text(view: View, limits: Limits) -> str:
    if view.price_per_hour is None:
        return f"budget_per_day is set, but not the price of {limits.instance_type or 'a node'} (price_per_hour)"
    return f"${view.spent_today:.2f} of today's ${limits.budget_per_day:.2f} are spent"


def _shut_down(view: View, limits: Limits) -> Wish:
    drain = tuple(node.id for node in view.nodes or () if node.up and not node.draining)
    reason = f"{_budget_text(view, limits)}: the nodes finish what they hold; nothing starts before midnight UTC"
    return Wish("budget", reason, drain=drain, firm=True)
