"""The documents of the jobs that a worker saw last.

A document may be stale: every write is guarded by its version, and what a message says is held against a fresh one
before the message is refused.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from minimoto.core.job import Job
from minimoto.core.task import TaskKey
from minimoto.errors import InvalidMessage, NotFound

if TYPE_CHECKING:
    from minimoto.ports import Jobs

MOST = 32


class KnownJobs:
    """A few job documents, the oldest forgotten first; safe for several threads."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._lock = threading.Lock()
        self._known: dict[str, Job] = {}

    def remember(self, job: Job) -> Job:
        """Keeps a document that was just read or written, and returns it."""
        with self._lock:
            before = self._known.pop(job.id, None)
            # What another thread wrote meanwhile is newer than what this one read.
            self._known[job.id] = job if before is None or before.version <= job.version else before
            if len(self._known) > MOST:
                self._known.pop(next(iter(self._known)))
        return job

    def forget(self, job: str) -> None:
        """The next look reads the document."""
        with self._lock:
            self._known.pop(job, None)

    def latest(self, job: Job) -> Job:
        """The newest document known of a job."""
        return self._known.get(job.id, job)

    def of(self, key: TaskKey) -> Job:
        """The document of a task's job: as it was last seen if the task fits that, else as it is.

        Raises:
            InvalidMessage: there is no such task.
        """
        job = self._known.get(key.job)
        if job is None or job.state.final or key.stage != job.stage or key.task >= job.stages[key.stage].tasks:
            try:
                job = self.remember(self._jobs.get(key.job))
            except NotFound:
                raise InvalidMessage(f"there is no job {key.job}") from None
        if key.stage >= len(job.stages) or (key.task >= job.stages[key.stage].tasks and not job.state.final):
            raise InvalidMessage(f"job {job.id} has no task {key.task} of stage {key.stage}")
        return job
