"""A plan for jobs that come one by one: which of them share a node, when all of them are known beforehand.

What it costs can be had, so the optimum lies between it and the clairvoyant's bound: they say how loose that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from minimoto.core.simulation.workload import Job, Workload
from minimoto.core.simulation.world import mean_boot


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
