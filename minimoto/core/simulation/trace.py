"""What there is in a simulated fleet, and what is known of it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from minimoto.core.fleet_view import JobView, Node
from minimoto.core.simulation.market import Offer
from minimoto.core.simulation.workload import Job, Stage


@dataclass(eq=False, slots=True)
class Task:
    """One task; ``attempt`` tells a try from those before it, ``place`` is its message's in the queue, if it waits."""

    job: Running
    seconds: float
    queued: float = 0.0
    attempt: int = 0
    ends: float = 0.0
    place: int = -1


@dataclass(eq=False, slots=True)
class Running:
    """A job that has come; ``left`` are tasks of its running stage."""

    id: str
    job: Job
    left: int
    stage: int = 0
    started: float | None = None
    finished: float | None = None
    seen: JobView | None = None

    @property
    def running(self) -> Stage:
        """The stage whose tasks are being worked on."""
        return self.job.stages[self.stage]


@dataclass(eq=False, slots=True)
class Machine:
    """A node, as it is; ``seen`` is how it was last shown to the rule, ``worked`` when it lately had tasks."""

    id: str
    offer: Offer
    launched: float
    tasks: list[Task] = field(default_factory=list)
    ready: bool = False
    draining: bool = False
    crashed: float | None = None
    ended: float | None = None
    idle_since: float | None = None
    busy_since: float | None = None
    free_since: float = 0.0
    worked: list[tuple[float, float]] = field(default_factory=list)
    cpu: float | None = None
    seen: Node | None = None
    seen_at: float = -1.0


@dataclass(frozen=True)
class Trace:
    """What happened.

    Parameters:
        jobs: all that came.
        machines: all that were started; ``ended`` is set for each.
        changes: (time, nodes started or, negative, let go, arrivals so far, tasks waiting). A node that takes the place
            of another is none, nor is that other.
        sizes: (time, nodes, tasks waiting) at each look.
        killed: busy nodes that the rule ended.
        refused: nodes that could not be had, of any offer.
        interrupted, crashed: nodes that the world took.
        swaps: nodes whose places others took.
    """

    jobs: Sequence[Running]
    machines: Sequence[Machine]
    changes: Sequence[tuple[float, int, int, int]]
    sizes: Sequence[tuple[float, int, int]]
    killed: int
    refused: int
    interrupted: int
    crashed: int
    swaps: int = 0
