"""What can happen to a job, and what :func:`minimoto.core.lifecycle.advance` may ask for in return."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class UploadFinished:
    """Every input, and the manifest that lists them, is in the input bucket.

    Parameters:
        photos: number of inputs in the manifest.
    """

    photos: int


@dataclass(frozen=True)
class Enqueued:
    """Every message of a stage has reached the queue."""

    stage: int


@dataclass(frozen=True)
class TaskStarted:
    """A worker holds the lease of a task and begins."""

    stage: int
    task: int
    attempt: int = 1
    node: str = ""


@dataclass(frozen=True)
class TaskDone:
    """A task is finished and its outputs are in their bucket.

    Parameters:
        outputs: number of files made.
        skipped: number of inputs left out.
        reason: why the first of those was left out.
        results: keys of the files made, where the stage is the job's last (else empty).
    """

    stage: int
    task: int
    outputs: int
    skipped: int = 0
    reason: str = ""
    results: tuple[str, ...] = ()
    attempt: int = 1
    node: str = ""


@dataclass(frozen=True)
class TaskFailed:
    """A try failed.

    Parameters:
        retry: whether another try may help and is still allowed.
    """

    stage: int
    task: int
    reason: str
    retry: bool
    attempt: int = 1
    node: str = ""


@dataclass(frozen=True)
class CancelRequested:
    """Somebody called the job off."""

    by: str = ""


@dataclass(frozen=True)
class UploadAbandoned:
    """The upload was not finished in its time."""


@dataclass(frozen=True)
class TasksLost:
    """Tasks of the running stage have neither a lease nor a message (a crash between two writes, a dead node).

    Parameters:
        tasks: their indices.
    """

    stage: int
    tasks: tuple[int, ...]
    reason: str = ""


@dataclass(frozen=True)
class Limited:
    """What keeps the fleet from giving the job more machines; an empty text: nothing does any more."""

    reason: str


@dataclass(frozen=True)
class BudgetSpent:
    """The job has cost what it may. Both are US dollars."""

    spent: float
    budget: float


@dataclass(frozen=True)
class Closed:
    """What follows from the job's end has been done: :class:`RemoveWork` and :class:`Notify`."""


Event = (
    UploadFinished
    | Enqueued
    | TaskStarted
    | TaskDone
    | TaskFailed
    | CancelRequested
    | UploadAbandoned
    | TasksLost
    | Limited
    | BudgetSpent
    | Closed
)


@dataclass(frozen=True)
class Enqueue:
    """Send one message for each of these tasks, then report :class:`Enqueued`."""

    job: str
    stage: int
    tasks: tuple[int, ...]


@dataclass(frozen=True)
class Notify:
    """Tell whoever listens that the job has ended, then report :class:`Closed`."""

    job: str


@dataclass(frozen=True)
class RemoveWork:
    """Delete what the stages left between them; the result does not need it."""

    job: str


Action = Enqueue | Notify | RemoveWork
