"""How far a job has come, and when it will be done: from its document and the records of the running stage's tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from minimoto.core.job import Job, JobState, Stage
from minimoto.core.shards import shard_bounds
from minimoto.core.task import Task, TaskState

LEAST_FRACTION = 0.02
"""A stage that has done less than this tells nothing about its pace yet."""

StageState = Literal["waiting", "running", "done"]


@dataclass(frozen=True)
class StageProgress:
    """How far one stage has come.

    Parameters:
        step: the step's name.
        state: ``waiting`` also while no worker has begun it.
        items: its inputs, as far as they are known.
        done: inputs worked on, those left out included.
        fraction: 0..1.
        seconds: how long it has run, or took; ``None`` before it began.
        workers: tasks that are worked on right now.
        note: what the running tasks say about themselves, for a person.
    """

    step: str
    state: StageState
    items: int
    done: int
    fraction: float
    seconds: float | None = None
    workers: int = 0
    note: str = ""


@dataclass(frozen=True)
class JobProgress:
    """How far a job has come.

    Parameters:
        fraction: 0..1, the stages weighted by the time that their steps are expected to take.
        eta: seconds until it is done, or ``None`` while that cannot be said.
    """

    stages: tuple[StageProgress, ...]
    fraction: float
    eta: float | None


def job_progress(job: Job, tasks: Sequence[Task], now: float, seconds_per_item: Sequence[float]) -> JobProgress:
    """How far ``job`` has come at ``now``.

    Parameters:
        tasks: the records of the running stage; may be empty, then only finished tasks count.
        now: seconds since the epoch.
        seconds_per_item: for each stage, what its step is expected to take for one input.
    """
    stages: list[StageProgress] = []
    items = job.photos
    now = job.updated if job.state.final else now
    for index, stage in enumerate(job.stages):
        running = job.running is not None and index == job.stage
        shown = _stage(stage, items, tasks if running else (), now, _began(job, index, tasks if running else ()))
        stages.append(shown)
        items = stage.outputs if stage.finished is not None else max(0, items - stage.skipped)
    weights = [max(1e-6, each * max(1, s.items)) for each, s in zip(seconds_per_item, stages, strict=True)]
    whole = sum(weights)
    fraction = sum(weight * s.fraction for weight, s in zip(weights, stages, strict=True)) / whole
    if job.state is JobState.PROCESSING_SUCCESSFUL:
        return JobProgress(tuple(stages), 1.0, 0.0)
    return JobProgress(tuple(stages), min(fraction, 1.0), _eta(job, stages, weights))


def _stage(stage: Stage, items: int, tasks: Sequence[Task], now: float, began: float | None) -> StageProgress:
    if stage.finished is not None:
        return StageProgress(stage.step, "done", items, items, 1.0, stage.finished - (began or stage.finished))
    if not stage.tasks:
        return StageProgress(stage.step, "waiting", items, 0, 0.0)
    at_work = [t for t in tasks if t.state is TaskState.RUNNING and t.key.task not in stage.done]
    partly = {t.key.task: min(1.0, max(0.0, t.progress)) for t in at_work}
    sizes = [_shard_length(items, stage.tasks, task) for task in range(stage.tasks)]
    worked = sum(size * (1.0 if t in stage.done else partly.get(t, 0.0)) for t, size in enumerate(sizes))
    return StageProgress(
        step=stage.step,
        state="running" if began is not None or stage.done else "waiting",
        items=items,
        # The epsilon undoes what 3 * (1 / 3) loses.
        done=int(worked + 1e-6),
        fraction=worked / max(1, sum(sizes)),
        seconds=None if began is None else max(0.0, now - began),
        workers=len(at_work),
        note=next((t.note for t in at_work if t.note), "") if len(at_work) == 1 else "",
    )


def _shard_length(items: int, tasks: int, task: int) -> int:
    if not 0 < tasks <= items:
        return 1
    start, stop = shard_bounds(items, tasks, task)
    return stop - start


def _began(job: Job, index: int, tasks: Sequence[Task]) -> float | None:
    """When work on a stage began: before that it waited in the queue, which tells nothing about its pace."""
    claimed = [entry.at for task in tasks for entry in task.events if entry.what == "claimed"]
    if claimed:
        return min(claimed)
    # Of a stage whose tasks were not asked for, the history tells it for the first one, where most of the waiting is.
    first = [entry.at for entry in job.history if entry.what == "processing" and entry.stage == index]
    return first[0] if first else job.stages[index].started if job.stages[index].finished is not None else None


def _eta(job: Job, stages: Sequence[StageProgress], weights: Sequence[float]) -> float | None:
    """The running stage goes on at its pace; later ones at the pace of those of their kind, else as expected."""
    if job.running is None:
        return None
    now = stages[job.stage]
    if now.seconds is None or now.fraction < LEAST_FRACTION:
        return None
    pace: dict[str, float] = {}
    for stage, shown, weight in zip(job.stages, stages, weights, strict=True):
        if shown.seconds is not None and shown.fraction >= LEAST_FRACTION:
            pace[stage.per] = shown.seconds / (weight * shown.fraction)
    left = now.seconds * (1 - now.fraction) / now.fraction
    for index in range(job.stage + 1, len(stages)):
        left += weights[index] * pace.get(job.stages[index].per, 1.0)
    return left
