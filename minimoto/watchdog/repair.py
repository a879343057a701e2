"""Moves the jobs that nobody would move otherwise. Every repair can be repeated, and doubles no work.

A task whose message is sent again while the first still comes back later is claimed by one of the two; the other
delivery is dropped. Counts of the queue are approximate, so what they alone suggest is believed at the second look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from minimoto.core.events import Closed, Enqueued, Event, TaskFailed, TasksLost, UploadAbandoned
from minimoto.core.fleet_memory import Memory
from minimoto.core.fleet_view import View
from minimoto.core.job import Job, JobState, Stage
from minimoto.core.readable import counted
from minimoto.core.retry import may_retry
from minimoto.core.task import Task, TaskKey, TaskState
from minimoto.dispatch import Dispatcher
from minimoto.watchdog.problems import Problems

if TYPE_CHECKING:
    from minimoto.wiring import Cloud

CLOSING_SECONDS = 60.0
"""Whoever ended a job is given so long to remove its work and announce its end."""

MOST_CLOSED = 50
"""Jobs closed in one pass at most: it must stay short."""

UNANNOUNCED_SECONDS = 86_400.0
"""An end that nobody could be told of for so long is told to nobody."""

UNSENT_SECONDS = 60.0
"""A stage not known to have reached the queue after so long is sent again."""


@dataclass(frozen=True)
class Repairs:
    """What all repairs of a pass share.

    Parameters:
        jobs: the live jobs as this pass read them.
        done: what was repaired, for people.
        moved: ids of jobs that were.
    """

    cloud: Cloud
    problems: Problems
    jobs: tuple[Job, ...]
    now: float
    done: list[str] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)

    @property
    def running(self) -> list[tuple[Job, Stage]]:
        """The jobs with a stage under way that this pass has not moved yet: what was read of the others is old."""
        return [(job, stage) for job in self.jobs if job.id not in self.moved and (stage := job.running) is not None]

    @property
    def dispatcher(self) -> Dispatcher:
        """The one way in which a job changes."""
        return Dispatcher(self.cloud.jobs, self.cloud.queue, self.cloud.store, self.cloud.topic, self.cloud.clock)

    def apply(self, job: Job, event: Event, done: str) -> bool:
        """Applies an event to a job; ``False`` if that failed."""
        if not self.problems.did(lambda: self.dispatcher.apply(job.id, event)):
            return False
        self.moved.add(job.id)
        self.done.append(f"{job.id}: {done}")
        return True

    def records(self, job: Job) -> dict[int, Task] | None:
        """The records of the running stage's tasks; ``None`` if they could not be read."""
        tasks = self.problems.attempt(lambda: self.cloud.jobs.tasks(job.id, job.stage), None)
        return None if tasks is None else {task.key.task: task for task in tasks}

    def leased(self, task: Task) -> bool:
        """Whether a worker holds the task."""
        return task.state is TaskState.RUNNING and task.lease_until > self.now

    def again(self, job: Job, tasks: Sequence[Task], reason: str) -> bool:
        """Sends tasks again, unless one of them has been tried too often: that ends the job, with the task's error.

        A task that is done is sent too, whichever try did it: a delivery makes the worker say what it made.
        """
        for task in tasks:
            given_up = task.state is TaskState.FAILED
            tried_out = task.state is not TaskState.DONE and not may_retry(task.attempt, wanted=True)
            if given_up or tried_out:
                why = f"{task.error or reason} ({counted(task.attempt, 'try', 'tries')})"
                failed = TaskFailed(task.key.stage, task.key.task, why, retry=False, attempt=task.attempt)
                return self.apply(job, failed, f"failed: {why}")
        lost = TasksLost(job.stage, tuple(task.key.task for task in tasks), reason)
        return self.apply(job, lost, f"{counted(len(tasks), 'task')} sent again: {reason}")


def expire_uploads(repairs: Repairs) -> None:
    """Ends jobs whose upload was not finished in its time."""
    for job in repairs.jobs:
        if job.state is JobState.NOT_READY_TO_PROCESS and job.upload_expires <= repairs.now:
            repairs.apply(job, UploadAbandoned(), "the upload was abandoned")


def close_ended(repairs: Repairs) -> None:
    """Removes the work and announces the end of jobs whose end was saved by one that died then, or was refused."""
    none: list[Job] = []
    unclosed = repairs.problems.attempt(repairs.cloud.jobs.unclosed, none)
    for job in [job for job in unclosed if repairs.now - job.updated >= CLOSING_SECONDS][:MOST_CLOSED]:
        if repairs.problems.did(partial(repairs.dispatcher.close, job)):
            repairs.done.append(f"{job.id}: its end was announced, late")
        elif repairs.now - job.updated >= UNANNOUNCED_SECONDS:
            repairs.apply(job, Closed(), "its end could not be announced for a day and is told to nobody")


def send_unsent(repairs: Repairs) -> None:
    """Sends the messages of stages whose sender died between saving the job and sending them all."""
    for job, stage in repairs.running:
        if stage.enqueued or not stage.tasks or repairs.now - (stage.started or 0.0) < UNSENT_SECONDS:
            continue
        records = repairs.records(job)
        if records is None:
            continue
        unsent = _waiting(repairs, job, stage, records)
        if unsent:
            repairs.again(job, unsent, "their messages may never have been sent")
        else:
            repairs.apply(job, Enqueued(job.stage), "every task is being worked on, so every message was sent")


def find_lost(repairs: Repairs, view: View, memory: Memory, strike_seconds: float) -> Memory:
    """Sends tasks again that wait while the queue is empty, once it has been seen so for ``strike_seconds``."""
    empty = (view.visible, view.in_flight, view.delayed) == (0, 0, 0)
    settled = repairs.now - 2 * strike_seconds
    waiting = [
        (job, stage)
        for job, stage in repairs.running
        if stage.enqueued and stage.missing and max(job.updated, stage.started or 0.0) <= settled
    ]
    if not empty or not waiting:
        return replace(memory, empty_since=None)
    if memory.empty_since is None:
        return replace(memory, empty_since=repairs.now)
    if repairs.now - memory.empty_since < strike_seconds:
        return memory
    for job, stage in waiting:
        records = repairs.records(job)
        lost = _waiting(repairs, job, stage, records) if records is not None else []
        if lost:
            repairs.again(job, lost, "their messages were lost: the queue is empty")
    return replace(memory, empty_since=None)


def _waiting(repairs: Repairs, job: Job, stage: Stage, records: dict[int, Task]) -> list[Task]:
    """The tasks of the running stage that are not done and that no worker holds."""
    tasks = [records.get(index, Task(TaskKey(job.id, job.stage, index))) for index in stage.missing]
    return [task for task in tasks if not repairs.leased(task)]
