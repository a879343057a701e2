"""How the lease of a task is kept and how it ends: pure rules beside :func:`minimoto.core.task.try_claim`.

Every rule takes the record as it is and who asks, and returns the record as it becomes, or ``None`` when ``owner``
does not hold the lease. A lease whose time is over still belongs to its owner until somebody else claims the task.
"""

from __future__ import annotations

from dataclasses import replace

from minimoto.core.job import Entry
from minimoto.core.readable import shortened
from minimoto.core.task import Task, TaskResult, TaskState

MOST_EVENTS = 200
"""Events kept of one task, the newest: a task may be interrupted any number of times."""

MOST_REASON = 1000
"""Characters kept of a reason."""

MOST_SKIP_REASON = 200
"""Characters kept of why an input was left out: a task may leave out hundreds, and its record must fit an item."""


def renewed(task: Task, owner: str, now: float, lease: float, progress: float, note: str) -> Task | None:
    """The lease lasts ``lease`` seconds from now; progress (0..1) and note are what the try does."""
    if not _held(task, owner):
        return None
    return replace(task, lease_until=now + lease, progress=progress, note=note)


def finished(task: Task, owner: str, now: float, seconds: float, result: TaskResult) -> Task | None:
    """The task is done; the try took ``seconds``."""
    if not _held(task, owner):
        return None
    done = _ended(task, TaskState.DONE, now, "done", "")
    skipped = tuple(replace(each, reason=shortened(each.reason, MOST_SKIP_REASON)) for each in result.skipped)
    return replace(done, progress=1.0, seconds=seconds, result=replace(result, skipped=skipped))


def failed(task: Task, owner: str, now: float, reason: str, again: bool) -> Task | None:
    """The try failed: the task is pending again, or given up. The try counts."""
    if not _held(task, owner):
        return None
    ended = _ended(task, TaskState.PENDING if again else TaskState.FAILED, now, "failed", reason)
    return replace(ended, error=reason[:MOST_REASON])


def released(task: Task, owner: str, now: float, reason: str) -> Task | None:
    """The lease is given back; the try does not count."""
    if not _held(task, owner):
        return None
    return replace(_ended(task, TaskState.PENDING, now, "released", reason), attempt=max(0, task.attempt - 1))


def _held(task: Task, owner: str) -> bool:
    return task.state is TaskState.RUNNING and task.owner == owner


def _ended(task: Task, state: TaskState, now: float, what: str, reason: str) -> Task:
    node = task.owner.split("/", 1)[0]
    entry = Entry(now, what, reason[:MOST_REASON], task.key.stage, task.key.task, task.attempt, node)
    events = (*task.events, entry)[-MOST_EVENTS:]
    return replace(task, state=state, owner="", lease_until=0.0, progress=0.0, note="", events=events)
