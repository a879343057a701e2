"""What the fleet looks like: the inputs of every decision. ``None`` always means unknown, never zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from minimoto.core.group import Group
from minimoto.core.markets import Experience, Pool
from minimoto.core.node import NodeState
from minimoto.core.swaps import Swaps

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
        grouped: whether it belongs to an Auto Scaling group.
        kept: it took itself out and stays to be looked at, which was said.
        replaces: id of the node on demand whose place it was started to take; empty: none, or that one is gone.
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
    grouped: bool = False
    kept: bool = False
    replaces: str = ""

    @cached_property
    def up(self) -> bool:
        """Whether the machine runs or boots."""
        return self.state not in GONE and self.state not in HALTED

    @property
    def booting(self) -> bool:
        """Whether no service has reported from it yet."""
        return self.up and not self.reported

    @cached_property
    def counts(self) -> bool:
        """Whether it is, or soon will be, capacity: up, able, and neither drained nor fenced nor dead."""
        return self.up and not (self.draining or self.leaving or self.fenced or self.unable or self.strikes >= 2)

    @property
    def condition(self) -> str:
        """One word for a person."""
        if not self.up:
            return self.state
        if self.fenced:
            # No service of it speaks any more, so it would soon look dead.
            return NodeState.FENCED.lower()
        if self.strikes >= 2:
            return "dead"
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
    """A live job.

    Parameters:
        tasks_left: of the running stage.
        stages_after: stages that follow the running one.
        deadline: seconds since the epoch.
        created: when it was submitted, seconds since the epoch; ``None``: unknown.
        seconds_left: what those tasks take one slot, by what is known of their step beforehand; 0 if nothing is.
        step: of the running stage.
        inputs_left: photos, or files, of those tasks.
        budget: US dollars that it may cost; ``None``: no limit.
        spent: US dollars that it has cost, known where it has a budget.
        learnt: whether ``seconds_left`` is what the step was seen to take, not what is known beforehand.
        owner: who submitted it: the queue is fair between owners.
    """

    id: str
    tasks_left: int
    stages_after: int = 0
    deadline: float | None = None
    seconds_left: float = 0.0
    created: float | None = None
    step: str = ""
    inputs_left: float = 0.0
    learnt: bool = False
    budget: float | None = None
    spent: float = 0.0
    owner: str = ""


@dataclass(frozen=True)
class View:
    """Everything a decision may depend on. ``None`` always means unknown, never zero.

    Parameters:
        nodes: the service machines that are not terminated; ``None`` when they could not be listed.
        visible, in_flight, delayed: messages in the queue, approximately.
        oldest: age of the oldest visible message, seconds.
        jobs: the live jobs that are ready or being processed; ``None`` when they could not be read.
        jobless_since: since when no live job has had a task left; ``None``: one has, or that is not known.
        reports_known: whether the heartbeats could be read.
        seconds_per_task: as seen lately; ``None`` before the first task.
        paces: seconds an input by step and instance type: as reported, then as remembered.
        boot_seconds: from launch to first heartbeat, as seen lately; ``None`` before the first.
        slots_per_node: workers on a node.
        last_scale_out, last_scale_in: when nodes were last launched and drained.
        stillborn: nodes, one after another, that died without a heartbeat; ``last_stillborn`` is when.
        spent_today: US dollars since midnight UTC, estimated; ``price_per_hour`` is that of one node, ``None`` unknown.
        budget_shut: today's budget was used up before.
        pools: where machines may be asked for, with prices; empty: that was not looked at, or is not known.
        markets: what was learnt of the pools.
        swaps: spot nodes in the place of those on demand, and how swaps went lately.
        token: what a launch of this pass is to be known by.
        grouped: whether an Auto Scaling group sizes the fleet; ``group`` is it, ``None`` when it could not be seen.
        keeping: those of ``nodes`` that stay to be looked at, if a policy is shown them: no capacity, but they cost and
            count.
    """

    nodes: tuple[Node, ...] | None
    visible: int | None = None
    in_flight: int | None = None
    delayed: int | None = None
    oldest: float | None = None
    jobs: tuple[JobView, ...] | None = None
    jobless_since: float | None = None
    reports_known: bool = True
    seconds_per_task: float | None = None
    paces: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    boot_seconds: float | None = None
    slots_per_node: int = 1
    last_scale_out: float | None = None
    last_scale_in: float | None = None
    stillborn: int = 0
    last_stillborn: float | None = None
    spent_today: float = 0.0
    price_per_hour: float | None = None
    budget_shut: bool = False
    pools: tuple[Pool, ...] = ()
    markets: Experience = field(default_factory=Experience)
    swaps: Swaps = field(default_factory=Swaps)
    token: str = ""
    grouped: bool = False
    group: Group | None = None
    keeping: frozenset[str] = frozenset()

    @cached_property
    def counted(self) -> tuple[Node, ...]:
        """The nodes that are, or soon will be, capacity."""
        return tuple(node for node in self.nodes or () if node.counts)
