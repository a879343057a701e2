"""Job documents and task records in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from minimoto.core import lease as rules
from minimoto.core.job import Job
from minimoto.core.task import Claim, ClaimOutcome, Task, TaskKey, TaskResult, try_claim
from minimoto.errors import Conflict, LeaseLost, NotFound


class MemoryJobs:
    """``minimoto.ports.Jobs`` in memory: every rule under one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[TaskKey, Task] = {}

    def create(self, job: Job) -> Job:
        with self._lock:
            if job.id in self._jobs:
                raise Conflict(f"job {job.id}: there is a job of that name already")
            self._jobs[job.id] = replace(job, version=1)
            return self._jobs[job.id]

    def get(self, job: str) -> Job:
        with self._lock:
            if job not in self._jobs:
                raise NotFound(f"job {job}: there is no such job")
            return self._jobs[job]

    def save(self, job: Job) -> Job:
        with self._lock:
            stored = self._jobs.get(job.id)
            if stored is None or stored.version != job.version:
                raise Conflict(f"job {job.id}: it changed since version {job.version} was read")
            self._jobs[job.id] = replace(job, version=job.version + 1)
            return self._jobs[job.id]

    def live(self) -> list[Job]:
        with self._lock:
            return sorted((job for job in self._jobs.values() if not job.state.final), key=lambda job: job.created)

    def unclosed(self) -> list[Job]:
        with self._lock:
            ended = [job for job in self._jobs.values() if job.state.final and not job.closed]
        return sorted(ended, key=lambda job: job.created)

    def recent(self, limit: int = 50, owner: str = "") -> list[Job]:
        with self._lock:
            wanted = [job for job in self._jobs.values() if owner in ("", job.owner)]
        return sorted(wanted, key=lambda job: job.created, reverse=True)[:limit]

    def claim(self, key: TaskKey, owner: str, now: float, lease: float) -> Claim:
        with self._lock:
            claim = try_claim(self._tasks.get(key, Task(key)), owner, now, lease)
            if claim.outcome is ClaimOutcome.OURS:
                self._tasks[key] = claim.task
            return claim

    def renew(self, key: TaskKey, owner: str, now: float, lease: float, progress: float, note: str) -> None:
        self._held(key, owner, lambda task: rules.renewed(task, owner, now, lease, progress, note))

    def finish(self, key: TaskKey, owner: str, now: float, seconds: float, result: TaskResult) -> Task:
        return self._held(key, owner, lambda task: rules.finished(task, owner, now, seconds, result))

    def fail(self, key: TaskKey, owner: str, now: float, reason: str, again: bool) -> Task:
        return self._held(key, owner, lambda task: rules.failed(task, owner, now, reason, again))

    def release(self, key: TaskKey, owner: str, now: float, reason: str) -> None:
        self._change(key, lambda task: rules.released(task, owner, now, reason))

    def break_lease(self, key: TaskKey, owner: str, now: float, reason: str) -> bool:
        return self._change(key, lambda task: rules.failed(task, owner, now, reason, True)) is not None

    def task(self, key: TaskKey) -> Task:
        with self._lock:
            return self._tasks.get(key, Task(key))

    def tasks(self, job: str, stage: int) -> list[Task]:
        with self._lock:
            return [self._tasks[key] for key in sorted(self._tasks) if (key.job, key.stage) == (job, stage)]

    def _held(self, key: TaskKey, owner: str, rule: Callable[[Task], Task | None]) -> Task:
        changed = self._change(key, rule)
        if changed is None:
            raise LeaseLost(f"task {key}: {owner or 'nobody'} does not hold its lease")
        return changed

    def _change(self, key: TaskKey, rule: Callable[[Task], Task | None]) -> Task | None:
        with self._lock:
            changed = rule(self._tasks.get(key, Task(key)))
            if changed is not None:
                self._tasks[key] = changed
            return changed
