"""A task: one stage over one shard of its inputs. One queue message, one lease."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from minimoto.core.job import Entry


class TaskState(StrEnum):
    """``PENDING`` also stands for a task that nobody has claimed yet and that has no record."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, order=True)
class TaskKey:
    """Which task: a job's id, the index of the stage and the index of the task in it, both from 0."""

    job: str
    stage: int
    task: int

    def __str__(self) -> str:
        return f"{self.job}/{self.stage}/{self.task}"


@dataclass(frozen=True)
class Skipped:
    """An input that was left out, and why, for a person."""

    name: str
    reason: str


@dataclass(frozen=True)
class TaskResult:
    """What a finished task made: file names below the stage's prefix, in order, and the inputs it left out."""

    outputs: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class Task:
    """The record of a task.

    Parameters:
        owner: who holds the lease: ``<node>/<slot>/<nonce>``; empty when nobody does.
        lease_until: when the lease ends unless it is renewed.
        attempt: tries begun, those that were interrupted not counted.
        failures: tries that failed or whose worker died.
        progress: 0..1 of the running try.
        note: what the running try does, for a person.
        seconds: how long the successful try took.
        error: why the last try failed.
        events: claimed, released, failed, done: oldest first.
    """

    key: TaskKey
    state: TaskState = TaskState.PENDING
    owner: str = ""
    lease_until: float = 0.0
    attempt: int = 0
    progress: float = 0.0
    note: str = ""
    seconds: float = 0.0
    error: str = ""
    result: TaskResult = TaskResult()
    events: tuple[Entry, ...] = ()


class ClaimOutcome(StrEnum):
    """How a claim ended.

    ``OURS``: the task is ours until the lease ends. ``BUSY``: somebody else's lease is running.
    ``DONE``: the task was finished before. ``FAILED``: it was given up.
    """

    OURS = "OURS"
    BUSY = "BUSY"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Claim:
    """The outcome of a claim, and the record as it now is."""

    outcome: ClaimOutcome
    task: Task


def try_claim(task: Task, owner: str, now: float, lease_seconds: float) -> Claim:
    """The rule of a claim: free, or its lease has ended. An ended lease means that its worker died: that try counts.

    Parameters:
        task: the record as it is (a fresh one for a task that nobody has claimed yet).
        owner: who claims.
    """
    if task.state is TaskState.DONE:
        return Claim(ClaimOutcome.DONE, task)
    if task.state is TaskState.FAILED:
        return Claim(ClaimOutcome.FAILED, task)
    if task.state is TaskState.RUNNING and task.lease_until > now:
        return Claim(ClaimOutcome.BUSY, task)
    attempt = task.attempt + 1
    node = owner.split("/", 1)[0]
    entry = Entry(now, "claimed", stage=task.key.stage, task=task.key.task, attempt=attempt, node=node)
    return Claim(
        ClaimOutcome.OURS,
        Task(
            key=task.key,
            state=TaskState.RUNNING,
            owner=owner,
            lease_until=now + lease_seconds,
            attempt=attempt,
            error=task.error,
            events=(*task.events, entry),
        ),
    )
