"""The job document: what somebody asked for, and how far it has come.

All documents are frozen and evolve by copy (:func:`dataclasses.replace`). Times are seconds since the epoch, UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

Per = Literal["photo", "folder"]

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
"""What a job's id may look like: it becomes part of object keys and paths, so no dots and no slashes."""


class JobState(StrEnum):
    """The states of a job (deepstyle's, plus ``CANCELLED``)."""

    NOT_READY_TO_PROCESS = "NOT_READY_TO_PROCESS"
    READY_TO_PROCESS = "READY_TO_PROCESS"
    BEING_PROCESSED = "BEING_PROCESSED"
    PROCESSING_SUCCESSFUL = "PROCESSING_SUCCESSFUL"
    PROCESSING_FAILED = "PROCESSING_FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """Whether no event can change a job in this state."""
        return self in FINAL


FINAL = frozenset({JobState.PROCESSING_SUCCESSFUL, JobState.PROCESSING_FAILED, JobState.CANCELLED})


@dataclass(frozen=True, order=True)
class Location:
    """An object, or a prefix that ends in ``/`` (or is empty), in a bucket."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def __truediv__(self, name: str) -> Location:
        """The object (or prefix) ``name`` below this prefix."""
        return Location(self.bucket, self.key + name)


@dataclass(frozen=True)
class Entry:
    """One line of a job's history.

    Parameters:
        at: seconds since the epoch.
        what: the event's name, such as ``task_failed``.
        detail: for a person, such as the reason; one line.
        stage, task, attempt, node: where it happened; ``None`` or empty where that means nothing.
    """

    at: float
    what: str
    detail: str = ""
    stage: int | None = None
    task: int | None = None
    attempt: int | None = None
    node: str = ""


@dataclass(frozen=True)
class Stage:
    """One step of one job.

    Parameters:
        step: key of ``minimoto.steps.STEPS``.
        params: the step's parameters as text, as the pipeline gave them.
        per: whether the step takes photos one by one (and can be sharded) or the whole folder.
        shard_size: inputs of one task, at most.
        tasks: number of tasks; 0 until the stage has started.
        done: the tasks that are done.
        outputs: files made by the tasks that are done.
        skipped: inputs left out, with a reason, by the tasks that are done.
        enqueued: every message of the stage is known to have reached the queue.
    """

    step: str
    params: Mapping[str, str] = field(default_factory=dict)
    per: Per = "folder"
    shard_size: int = 1
    tasks: int = 0
    done: frozenset[int] = frozenset()
    outputs: int = 0
    skipped: int = 0
    enqueued: bool = False
    started: float | None = None
    finished: float | None = None

    @property
    def missing(self) -> tuple[int, ...]:
        """The tasks of a started stage that are not done."""
        return tuple(task for task in range(self.tasks) if task not in self.done)


@dataclass(frozen=True)
class Job:
    """What somebody asked for. One document; the photos themselves are listed in the manifest beside them.

    Parameters:
        id: matches :data:`JOB_ID`; also the name of its folder in both buckets.
        name: the folder's name, for people and for the film's file name.
        owner: who asked, such as ``ana@laptop``.
        pipeline: its canonical text, such as ``fit | video:music=song.mp3``.
        stages: the pipeline's steps, in order.
        inputs: where the inputs, the manifest and the work of the stages lie (a prefix that ends in ``/``).
        outputs: where the result goes (a prefix that ends in ``/``, or is empty).
        created, updated: when.
        upload_expires: an upload not finished by then is abandoned.
        deadline: when the result is wanted, or ``None``.
        budget: US dollars that it may cost, or ``None``.
        limit: what keeps the fleet from giving it more machines, for its owner; empty: nothing.
        photos: number of input photos.
        attachments: names of the files beside the photos that the pipeline's parameters name.
        strict: whether one broken photo fails the job.
        stage: index of the stage that runs (the last one once the job has ended).
        results: keys of results in the output bucket; of very many the first, by name
            (:data:`minimoto.core.lifecycle.MOST_RESULTS`): the last stage's ``outputs`` is how many there are.
        error: why the job failed, one line.
        closed: what follows from the end is done as well: intermediate files removed, whoever listens told.
        history: what happened, oldest first: every event that changed the state or a stage, and every failed try.
        version: how often the document was written; guards each write.
    """

    id: str
    name: str
    owner: str
    pipeline: str
    stages: tuple[Stage, ...]
    inputs: Location
    outputs: Location
    created: float
    updated: float
    upload_expires: float
    state: JobState = JobState.NOT_READY_TO_PROCESS
    deadline: float | None = None
    photos: int = 0
    attachments: tuple[str, ...] = ()
    strict: bool = False
    stage: int = 0
    results: tuple[str, ...] = ()
    error: str = ""
    closed: bool = False
    history: tuple[Entry, ...] = ()
    version: int = 0
    budget: float | None = None
    limit: str = ""

    @property
    def running(self) -> Stage | None:
        """The stage whose tasks may be worked on, or ``None``."""
        if self.state in (JobState.READY_TO_PROCESS, JobState.BEING_PROCESSED):
            return self.stages[self.stage]
        return None

    def with_stage(self, index: int, stage: Stage) -> Job:
        """A copy with one stage replaced."""
        return replace(self, stages=(*self.stages[:index], stage, *self.stages[index + 1 :]))
