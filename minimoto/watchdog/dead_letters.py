"""Messages that died: their jobs are failed with the last error, so that nobody waits for ever."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from minimoto.core import message
from minimoto.core.events import TaskFailed, TasksLost
from minimoto.core.fleet_memory import Memory
from minimoto.core.job import Job
from minimoto.core.task import Task, TaskKey, TaskState
from minimoto.errors import InvalidMessage, NotFound
from minimoto.ports import Message
from minimoto.watchdog.repair import Repairs

KEPT_SECONDS = 900.0
"""A message left for people is hidden after each look; one not seen again for so long was taken away."""


def clear_dead(repairs: Repairs, memory: Memory) -> Memory:
    """Reads the dead-letter queue: tasks fail their jobs, the rest is left for people, remembered with its reason."""
    none: list[tuple[Message, str]] = []
    left = {id: (why, at) for id, (why, at) in memory.dead_letters.items() if repairs.now - at < KEPT_SECONDS}
    for letter, reason in repairs.problems.attempt(repairs.cloud.queue.dead, none):
        why = repairs.problems.attempt(partial(_settle, repairs, letter, reason), "")
        if why:
            left[letter.id] = (why, repairs.now)
        else:
            left.pop(letter.id, None)
    return replace(memory, dead_letters=left)


def _settle(repairs: Repairs, letter: Message, reason: str) -> str:
    """Acts on one message and forgets it; why it is left for people, if it is. What is worked on comes up again."""
    try:
        key = message.decode(letter.body)
    except InvalidMessage as error:
        return reason or str(error)
    if not isinstance(key, TaskKey):
        return reason or f"the folder {key.folder} was received too often"
    try:
        settled = _settle_task(repairs, key, reason)
    except NotFound:
        return reason or f"there is no job {key.job}"
    if settled:
        repairs.problems.did(lambda: repairs.cloud.queue.forget_dead([letter.receipt]))
    return ""


def _settle_task(repairs: Repairs, key: TaskKey, reason: str) -> bool:
    """Whether the message of a task is done with.

    Raises:
        NotFound: there is no such job.
    """
    jobs = repairs.cloud.jobs
    job = jobs.get(key.job)
    stage = job.running
    if stage is None or key.stage != job.stage or key.task not in stage.missing:
        return True
    task = jobs.task(key)
    if repairs.leased(task):
        return False
    if task.state is TaskState.DONE:
        # The worker died between its last two writes; a delivery makes another one say what was done.
        return repairs.apply(job, TasksLost(key.stage, (key.task,), "done, but never said so"), f"{key} sent again")
    return _fail(repairs, job, task, reason)


def _fail(repairs: Repairs, job: Job, task: Task, reason: str) -> bool:
    why = task.error or reason or "its message was received too often without a word from the worker"
    failed = TaskFailed(task.key.stage, task.key.task, f"{why} (the message died)", retry=False, attempt=task.attempt)
    return repairs.apply(job, failed, f"failed, the message of task {task.key.task} died: {why}")
