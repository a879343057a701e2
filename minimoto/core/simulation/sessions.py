"""What jobs that come one by one cost on one node at a time: by a plan, and by whoever does not know what comes.

A plan that knows all jobs beforehand says which of them share a node. What it costs can be had, so the optimum lies
between it and the clairvoyant's bound: they say how loose that is. A rule without foresight cannot have even that.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from minimoto.core.simulation.workload import Job, Workload
from minimoto.core.simulation.world import mean_boot

KEPT = tuple(30.0 * n for n in range(61))
"""Seconds for which a node is kept without work; the longest is half an hour."""


def planned(workload: Workload, target: float) -> float:
    """US dollars of the cheapest plan that has each job wholly on one node, and on a node jobs that follow each other.

    By dynamic programming over the last job of each node; each node boots as long as nodes do on average. Infinite if
    a job cannot be done within ``target`` seconds, or by its own deadline, even alone on a node of its own.
    """
    jobs, world = workload.jobs, workload.world
    offer = min(world.offers, key=lambda offer: offer.share)
    boot = mean_boot(world)
    least = [0.0] + [inf] * len(jobs)
    for first in range(len(jobs)):
        for last in range(first, len(jobs)):
            seconds = _span(jobs[first : last + 1], target, world.slots)
            if seconds is None:
                break
            cost = least[first] + world.cost(boot + seconds, offer)
            least[last + 1] = min(least[last + 1], cost)
    return least[-1]


def unforeseen(workload: Workload, wait: float | None = None) -> float:
    """US dollars that a rule without foresight pays at least, though it sees and does everything in no time.

    When a job comes and no node is there, one is launched, at once or as late as that job allows; it does whatever has
    come until nothing is left, and is kept a while in case more comes. How long is chosen in hindsight, the best for
    this very load. With several nodes busy times would be shorter, so more of them would have
    to boot; and where arrivals have no memory (Poisson), no other way of keeping nodes is better than all of these:
    what is to come is the same at every moment.

    Parameters:
        wait: seconds within which a job shall be done, where nodes are started late so that others may share the boot;
            ``None``: they are started at once.
    """
    return min(_sessions(workload, wait, keep) for keep in KEPT)


def _sessions(workload: Workload, wait: float | None, keep: float) -> float:
    """The same with a node kept idle for ``keep`` seconds."""
    world, offer = workload.world, min(workload.world.offers, key=lambda offer: offer.share)
    boot, cost, launched, free = mean_boot(world), 0.0, -inf, -inf
    for job in workload.jobs:
        work = job.work / world.slots
        if job.at > free + keep:
            cost += world.cost(free + keep - launched, offer) if launched >= 0 else 0.0
            launched = job.at + (0.0 if wait is None else max(0.0, wait - boot - work))
            free = launched + boot
        free = max(free, job.at) + work
    return cost + (world.cost(free + keep - launched, offer) if launched >= 0 else 0.0)


def _span(jobs: Sequence[Job], target: float, slots: int) -> float | None:
    """Seconds from a node's first task to its last, begun as late as all are in time; ``None``: it cannot be."""
    works = [job.work / slots for job in jobs]
    dues = [job.deadline if job.deadline is not None else job.at + target for job in jobs]
    before, latest = 0.0, inf
    for work, due in zip(works, dues, strict=True):
        before += work
        latest = min(latest, due - before)
    at = start = max(latest, jobs[0].at)
    for job, work, due in zip(jobs, works, dues, strict=True):
        at = max(at, job.at) + work
        if at > due + 1e-9:
            return None
    return at - start
