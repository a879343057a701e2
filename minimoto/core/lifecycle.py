"""The rule of a job's life: ``advance(job, event, now) -> (job, actions)``.

Pure: no I/O, no clock. The caller saves the returned document under the version it read, and only then acts.
Events may come in any order, twice, or never; what does not fit the document changes nothing. When a duplicate
shows that an action may have been lost between save and act, the action is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from minimoto.core.events import (
    Action,
    BudgetSpent,
    CancelRequested,
    Closed,
    Enqueue,
    Enqueued,
    Event,
    Limited,
    Notify,
    RemoveWork,
    TaskDone,
    TaskFailed,
    TasksLost,
    TaskStarted,
    UploadAbandoned,
    UploadFinished,
)
from minimoto.core.job import Entry, Job, JobState, Stage
from minimoto.core.lease import MOST_REASON
from minimoto.core.shards import task_count

MOST_HISTORY = 600
"""Entries kept: failed tries beyond it are counted by their tasks but no longer listed."""

MOST_RESULTS = 400
"""Results named in the document, the first by name; the records of the last stage's tasks name all of them.

These limits keep the whole document below the 400 KB that DynamoDB takes: it must never become too large to be saved.
"""

MOST_TRY_REASON = 200
"""Characters kept of why one try failed; the task's own record keeps more."""

Step = tuple[Job, tuple[Action, ...]]


def advance(job: Job, event: Event, now: float) -> Step:
    """The job after an event, and what must be done because of it.

    Parameters:
        job: the document as it was read.
        event: what happened.
        now: seconds since the epoch.

    Returns:
        The new document (the very same object when nothing changed) and the actions, in order. A final
        job only notes that it is closed.
    """
    if job.state.final:
        return replace(job, closed=True) if isinstance(event, Closed) and not job.closed else job, ()
    return _RULES[type(event)](job, event, now)


def closing(job: Job) -> tuple[Action, ...]:
    """What follows from the end of a job."""
    return RemoveWork(job.id), Notify(job.id)


def _upload_finished(job: Job, event: UploadFinished, now: float) -> Step:
    if job.state is not JobState.NOT_READY_TO_PROCESS:
        return job, _again(job)
    if event.photos < 1:
        return _end(job, JobState.PROCESSING_FAILED, now, Entry(now, "failed", "the folder holds no photo"))
    ready = replace(job, state=JobState.READY_TO_PROCESS, photos=event.photos)
    ready = _record(ready, Entry(now, "ready", f"{event.photos} photos"))
    return _start_stage(ready, 0, event.photos, now)


def _enqueued(job: Job, event: Enqueued, now: float) -> Step:
    stage = job.running
    if stage is None or event.stage != job.stage or stage.enqueued:
        return job, ()
    return replace(job.with_stage(event.stage, replace(stage, enqueued=True)), updated=now), ()


def _task_started(job: Job, event: TaskStarted, now: float) -> Step:
    if not _current(job, event.stage, event.task) or job.state is JobState.BEING_PROCESSED:
        return job, ()
    entry = Entry(now, "processing", "", event.stage, event.task, event.attempt, event.node)
    return _record(replace(job, state=JobState.BEING_PROCESSED), entry), ()


def _task_done(job: Job, event: TaskDone, now: float) -> Step:
    if not _current(job, event.stage, event.task):
        return job, _again(job)
    stage = job.stages[event.stage]
    if event.task in stage.done:
        return job, _again(job)
    if event.skipped and job.strict:
        reason = f"{event.reason or 'a photo could not be used'} (--strict)"
        return _fail(job, event.stage, event.task, reason, event.attempt, event.node, now)
    stage = replace(
        stage,
        done=stage.done | {event.task},
        outputs=stage.outputs + event.outputs,
        skipped=stage.skipped + event.skipped,
    )
    job = replace(job.with_stage(event.stage, stage), updated=now, state=JobState.BEING_PROCESSED)
    if event.stage == len(job.stages) - 1:
        job = replace(job, results=tuple(sorted({*job.results, *event.results})[:MOST_RESULTS]))
    if stage.missing:
        return job, ()
    return _finish_stage(job, event, now)


def _task_failed(job: Job, event: TaskFailed, now: float) -> Step:
    if not _current(job, event.stage, event.task) or event.task in job.stages[event.stage].done:
        return job, ()
    if not event.retry:
        return _fail(job, event.stage, event.task, event.reason, event.attempt, event.node, now)
    reason = event.reason[:MOST_TRY_REASON]
    entry = Entry(now, "task_failed", reason, event.stage, event.task, event.attempt, event.node)
    if len(job.history) >= MOST_HISTORY or _told(job, entry):
        return job, ()
    return _record(job, entry), ()


def _cancel_requested(job: Job, event: CancelRequested, now: float) -> Step:
    return _end(job, JobState.CANCELLED, now, Entry(now, "cancelled", f"by {event.by}" if event.by else ""))


def _upload_abandoned(job: Job, event: UploadAbandoned, now: float) -> Step:
    if job.state is not JobState.NOT_READY_TO_PROCESS or now < job.upload_expires:
        return job, ()
    return _end(job, JobState.CANCELLED, now, Entry(now, "abandoned", "the upload was not finished in its time"))


def _tasks_lost(job: Job, event: TasksLost, now: float) -> Step:
    stage = job.running
    if stage is None or event.stage != job.stage:
        return job, ()
    lost = tuple(task for task in event.tasks if task in stage.missing)
    if not lost:
        return job, ()
    if len(job.history) < MOST_HISTORY:
        reason = event.reason[:MOST_TRY_REASON]
        detail = f"{len(lost)} tasks: {reason}" if reason else f"{len(lost)} tasks"
        job = _record(job, Entry(now, "enqueued_again", detail, event.stage))
    return job, (Enqueue(job.id, event.stage, lost),)


def _limited(job: Job, event: Limited, now: float) -> Step:
    reason = event.reason[:MOST_TRY_REASON]
    if reason == job.limit:
        return job, ()
    job = replace(job, limit=reason, updated=now)
    told = not reason or any((entry.what, entry.detail) == ("limited", reason) for entry in job.history)
    return job if told or len(job.history) >= MOST_HISTORY else _record(job, Entry(now, "limited", reason)), ()


def _budget_spent(job: Job, event: BudgetSpent, now: float) -> Step:
    stage = job.running
    how_far = f", {len(stage.done)} of {stage.tasks} tasks of {stage.step} done" if stage else ""
    reason = f"its budget of ${event.budget:.2f} is spent (${event.spent:.2f}{how_far}): it needs a larger one"
    return _end(job, JobState.PROCESSING_FAILED, now, Entry(now, "failed", reason))


def _closed(job: Job, event: Closed, now: float) -> Step:
    """One that has not ended cannot be closed."""
    return job, ()


_RULES: dict[type, Callable[[Job, Any, float], Step]] = {
    UploadFinished: _upload_finished,
    Enqueued: _enqueued,
    TaskStarted: _task_started,
    TaskDone: _task_done,
    TaskFailed: _task_failed,
    CancelRequested: _cancel_requested,
    UploadAbandoned: _upload_abandoned,
    TasksLost: _tasks_lost,
    Limited: _limited,
    BudgetSpent: _budget_spent,
    Closed: _closed,
}


def _current(job: Job, stage: int, task: int) -> bool:
    running = job.running
    return running is not None and stage == job.stage and 0 <= task < running.tasks


def _again(job: Job) -> tuple[Action, ...]:
    """The messages of the running stage once more, while nobody has confirmed that they were all sent."""
    stage = job.running
    if stage is None or stage.enqueued or not stage.tasks:
        return ()
    return (Enqueue(job.id, job.stage, stage.missing),)


def _start_stage(job: Job, index: int, items: int, now: float) -> Step:
    stage = job.stages[index]
    tasks = task_count(items, stage.shard_size) if stage.per == "photo" else 1
    started: Stage = replace(stage, tasks=tasks, started=now)
    job = replace(job.with_stage(index, started), stage=index)
    job = _record(job, Entry(now, "stage_started", f"{stage.step}: {items} inputs in {tasks} tasks", index))
    return job, (Enqueue(job.id, index, tuple(range(tasks))),)


def _finish_stage(job: Job, event: TaskDone, now: float) -> Step:
    index = event.stage
    stage = replace(job.stages[index], finished=now)
    job = job.with_stage(index, stage)
    left_out = f", {stage.skipped} inputs left out" if stage.skipped else ""
    done = Entry(
        now,
        "stage_finished",
        f"{stage.outputs} files{left_out}",
        index,
        event.task,
        event.attempt,
        event.node,
    )
    job = _record(job, done)
    last = index == len(job.stages) - 1
    if not stage.outputs and (stage.skipped or not last):
        reason = f"{stage.step}: none of the inputs could be used" + (f": {event.reason}" if event.reason else "")
        return _end(job, JobState.PROCESSING_FAILED, now, Entry(now, "failed", reason, index))
    if last:
        return _end(job, JobState.PROCESSING_SUCCESSFUL, now, Entry(now, "successful", _many(job)))
    return _start_stage(job, index + 1, stage.outputs, now)


def _fail(job: Job, stage: int, task: int, reason: str, attempt: int, node: str, now: float) -> Step:
    text = f"{job.stages[stage].step}: {reason}"
    return _end(job, JobState.PROCESSING_FAILED, now, Entry(now, "failed", text, stage, task, attempt, node))


def _end(job: Job, state: JobState, now: float, entry: Entry) -> Step:
    entry = replace(entry, detail=entry.detail[:MOST_REASON])
    error = entry.detail or entry.what if state is not JobState.PROCESSING_SUCCESSFUL else ""
    job = _record(replace(job, state=state, error=error), entry)
    return job, closing(job)


def _record(job: Job, entry: Entry) -> Job:
    return replace(job, history=(*job.history, entry), updated=entry.at)


def _told(job: Job, entry: Entry) -> bool:
    return any(
        (e.what, e.stage, e.task, e.attempt) == (entry.what, entry.stage, entry.task, entry.attempt)
        for e in job.history
    )


def _many(job: Job) -> str:
    return f"{job.stages[-1].outputs} results" if len(job.results) != 1 else job.results[0]
