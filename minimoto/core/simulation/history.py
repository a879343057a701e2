"""What a deployment has done, as a load: its jobs at the times at which they came, with the times that tasks took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from minimoto.core import job as documents
from minimoto.core.simulation.workload import Job, Stage, Workload
from minimoto.core.simulation.world import World


@dataclass(frozen=True)
class Past:
    """One job of the past.

    Parameters:
        job: its document.
        seconds: of each stage, what its tasks that are done took, as far as that is still known.
        expected: of each stage, what a task was expected to take.
    """

    job: documents.Job
    seconds: Sequence[Sequence[float]]
    expected: Sequence[float]


def from_history(past: Iterable[Past], name: str, world: World) -> Workload:
    """The load that they were. A task whose time is not known took as long as others of its stage, else of its step.

    Jobs that no task was sent of, or of whose step nothing is known, are left out.
    """
    known = list(past)
    usual = _usual(known)
    jobs = [(one.job.stages[0].started, one, stages) for one in known if (stages := _stages(one, usual))]
    first = min((at for at, *_ in jobs if at is not None), default=0.0)
    made = [_job(one, stages, at - first, first) for at, one, stages in jobs if at is not None]
    made.sort(key=lambda job: job.at)
    return Workload(name, tuple(made), made[-1].at if made else 0.0, world)


def _usual(past: Iterable[Past]) -> dict[str, float]:
    """What a task of each step takes on average."""
    found: dict[str, list[float]] = defaultdict(list)
    for one in past:
        for stage, seconds in zip(one.job.stages, one.seconds, strict=True):
            found[stage.step] += seconds
    return {step: fmean(seconds) for step, seconds in found.items() if seconds}


def _stages(one: Past, usual: dict[str, float]) -> tuple[Stage, ...]:
    """The stages that were begun, or none if nothing can be said of one of them."""
    made = []
    for stage, seconds, expected in zip(one.job.stages, one.seconds, one.expected, strict=True):
        if not stage.tasks:
            break
        each = fmean(seconds) if seconds else usual.get(stage.step)
        if each is None:
            return ()
        made.append(Stage((*seconds, *[each] * (stage.tasks - len(seconds))), expected))
    return tuple(made)


def _job(one: Past, stages: tuple[Stage, ...], at: float, first: float) -> Job:
    deadline = None if one.job.deadline is None else one.job.deadline - first
    return Job(at, stages[0].tasks, one.job.owner, deadline, stages[0].expected, stages[1:])
