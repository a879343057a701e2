"""What a simulated day came to: how long people waited, what it cost, and what went wrong."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from minimoto.core.simulation.trace import Trace
from minimoto.core.simulation.workload import Workload

FLAP = 600.0
"""Seconds within which a scale-out and a scale-in contradict each other, if the load did not change between them."""


@dataclass(frozen=True)
class Outcome:
    """Times are seconds from submission; money is US dollars.

    Parameters:
        finish: of all jobs, sorted. ``wait``: to the first task's start.
        missed: jobs that were done after their deadline, or after the target time.
        hours: node-hours billed; ``hours_of``: by what they were bought as.
        killed: busy nodes that the rule ended.
        flaps: see :func:`flaps`; ``swaps``: nodes whose places others took, which are none of them.
        largest: nodes at the highest.
    """

    finish: Sequence[float]
    wait: Sequence[float]
    missed: int
    cost: float
    hours: float
    hours_of: Mapping[str, float]
    nodes: int
    largest: int
    killed: int
    flaps: int
    refused: int
    interrupted: int
    crashed: int
    swaps: int = 0

    def finish_at(self, share: float) -> float:
        """The time within which ``share`` of the jobs were done."""
        return percentile(self.finish, share)

    def wait_at(self, share: float) -> float:
        """The time within which ``share`` of the jobs had begun."""
        return percentile(self.wait, share)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank of sorted values; 0 if there are none."""
    return values[max(0, ceil(share * len(values)) - 1)] if values else 0.0


def outcome(workload: Workload, trace: Trace, target: float) -> Outcome:
    """Sums a run up; jobs without a deadline of their own have ``target`` seconds."""
    world = workload.world
    done = [(job, job.finished) for job in trace.jobs if job.finished is not None]
    dues = [job.job.deadline if job.job.deadline is not None else job.job.at + target for job, _ in done]
    lives = [(m.ended - m.launched if m.ended is not None else 0.0, m.offer) for m in trace.machines]
    hours: dict[str, float] = {}
    for seconds, offer in lives:
        hours[offer.name] = hours.get(offer.name, 0.0) + max(world.minimum, seconds) / 3600
    return Outcome(
        finish=sorted(finished - job.job.at for job, finished in done),
        wait=sorted(job.started - job.job.at for job in trace.jobs if job.started is not None),
        missed=len(trace.jobs) - len(done) + sum(f > due for (_, f), due in zip(done, dues, strict=True)),
        cost=sum(world.cost(*life) for life in lives),
        hours=sum(hours.values()),
        hours_of=hours,
        nodes=len(lives),
        largest=max((size for _, size, _ in trace.sizes), default=0),
        killed=trace.killed,
        flaps=flaps(trace),
        refused=trace.refused,
        interrupted=trace.interrupted,
        crashed=trace.crashed,
        swaps=trace.swaps,
    )


def flaps(trace: Trace) -> int:
    """Changes of size that an opposite one within :data:`FLAP` seconds undid, the load being the same.

    The load changed when a job came in between, or, before a scale-in, when nothing waits any more. A node that takes
    the place of another leaves the number of those at work as it was, so a swap is no change of size; swaps are counted
    by themselves. A replacement whose place is gone before it is ready is one node out and one in all the same: the
    end of that other node is a change.
    """
    found = 0
    times = [at for at, *_ in trace.changes]
    for index, (at, nodes, arrived, waiting) in enumerate(trace.changes):
        for _, others, came, _ in trace.changes[bisect_left(times, at - FLAP) : index]:
            if (nodes > 0) != (others > 0) and came == arrived and (nodes > 0 or waiting):
                found += 1
                break
    return found
