"""Job documents and task records on DynamoDB.

The rules (:func:`minimoto.core.task.try_claim`, :mod:`minimoto.core.lease`) work on the record as it is known, and the
result is written only if the record is still that one; DynamoDB returns what it found instead, and the rule is asked
again. So the first claim, a renewal, a finish and a save are one request each, and no rule is told twice.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from minimoto.aws.documents import number, number_of, read_document, text, text_of, write_document
from minimoto.aws.items import WRITE, Items, Lost
from minimoto.aws.table import CREATED, EXPIRES, LIVE_INDEX, LIVE_KEY, NEWEST_INDEX, NEWEST_KEY, OWNER, PARTITION, SORT
from minimoto.config import Config
from minimoto.core import lease as rules
from minimoto.core.job import Job
from minimoto.core.task import Claim, ClaimOutcome, Task, TaskKey, TaskResult, TaskState, try_claim
from minimoto.errors import Conflict, LeaseLost, NotFound

if TYPE_CHECKING:
    import boto3

    from minimoto.aws.documents import Item

MOST_KNOWN = 256
"""Records remembered between a claim and its end."""

MOST_TRIES = 100

LIVE, ENDED = "LIVE", "ENDED"
"""What the index ``live`` says of a job; one that is closed is not in it."""


class _Record(NamedTuple):
    """A task's record, and the name of the write that it comes from (empty: there is none yet)."""

    task: Task
    write: str


class DynamoJobs:
    """``minimoto.ports.Jobs`` on DynamoDB."""

    def __init__(self, session: boto3.session.Session, config: Config) -> None:
        self._items = Items(session, config)
        self._kept = config.history_days
        # The tasks of a stage must outlive its inputs, however long a job goes on.
        self._kept_tasks = config.history_days + config.input_days
        self._known: dict[TaskKey, _Record] = {}
        self._lock = threading.Lock()

    # Jobs

    def create(self, job: Job) -> Job:
        """Writes a new document."""
        try:
            return self._save(replace(job, version=1), "attribute_not_exists(#pk)")
        except Lost as lost:
            raise Conflict(f"job {job.id}: there is a job of that name already") from lost

    def get(self, job: str) -> Job:
        """Reads a document."""
        item = self._items.get(_job_key(job))
        if item is None:
            raise NotFound(f"job {job}: there is no such job")
        return _job(item)

    def save(self, job: Job) -> Job:
        """Replaces a document if its version is still the one that was read."""
        try:
            return self._save(replace(job, version=job.version + 1), "#version = :version", version=number(job.version))
        except Lost as lost:
            raise Conflict(f"job {job.id}: it changed since version {job.version} was read") from lost

    def _save(self, job: Job, condition: str, **named: Any) -> Job:
        item = {
            **write_document(job),
            "version": number(job.version),
            NEWEST_KEY: text("JOB"),
            CREATED: number(job.created),
            **({OWNER: text(job.owner)} if job.owner else {}),
            **(_expires(job.updated, self._kept) if job.state.final and self._kept > 0 else {}),
            **({} if job.closed else {LIVE_KEY: text(ENDED if job.state.final else LIVE)}),
        }
        self._items.put(_job_key(job.id), item, condition, **named)
        return job

    def live(self) -> list[Job]:
        """Every job that has not ended, oldest first; a job created within the last second may be missing."""
        return [job for job in self._listed(LIVE) if not job.state.final]

    def unclosed(self) -> list[Job]:
        """Jobs that have ended and are not closed, oldest first; one that ended a second ago may be missing."""
        return [job for job in self._listed(ENDED) if job.state.final and not job.closed]

    def _listed(self, value: str) -> list[Job]:
        return [_job(item) for item in self._items.get_many(list(self._index(LIVE_INDEX, LIVE_KEY, value)))]

    def recent(self, limit: int = 50, owner: str = "") -> list[Job]:
        """The newest jobs, newest first; a job created within the last second may be missing."""
        only: dict[str, Any] = {"ScanIndexForward": False}
        if owner:
            only |= {"FilterExpression": "#owner = :owner"}
        keys = list(islice(self._index(NEWEST_INDEX, NEWEST_KEY, "JOB", owner, **only), limit))
        return [_job(item) for item in self._items.get_many(keys)]

    def _index(self, index: str, key: str, value: str, owner: str = "", **more: Any) -> Iterator[tuple[str, str]]:
        found = self._items.query(
            IndexName=index,
            KeyConditionExpression="#key = :key",
            ExpressionAttributeNames={"#key": key} | ({"#owner": OWNER} if owner else {}),
            ExpressionAttributeValues={":key": text(value)} | ({":owner": text(owner)} if owner else {}),
            **more,
        )
        for item in found:
            yield text_of(item, PARTITION), text_of(item, SORT)

    # Tasks

    def claim(self, key: TaskKey, owner: str, now: float, lease: float) -> Claim:
        """Takes the lease: one request for a task that nobody has claimed yet or that is not free, else two."""
        record = _Record(Task(key), "")
        for _ in range(MOST_TRIES):
            claim = try_claim(record.task, owner, now, lease)
            if claim.outcome is not ClaimOutcome.OURS:
                return claim
            # A renewal does not count as a write of the record: the lease itself must be the one that had ended.
            until = number(record.task.lease_until)
            try:
                write = self._write(claim.task, record, " AND #lease_until = :lease_until", lease_until=until)
            except Lost as lost:
                record = _found(key, lost.item)
                continue
            self._remember(_Record(claim.task, write))
            return claim
        raise Conflict(f"task {key}: its record kept changing while it was claimed")

    def renew(self, key: TaskKey, owner: str, now: float, lease: float, progress: float, note: str) -> None:
        """Prolongs the lease, in one request."""
        changes = {"lease_until": number(now + lease), "progress": number(progress), "note": text(note)}
        try:
            self._items.update(_task_key(key), changes, _HELD, state=text(TaskState.RUNNING), owner=text(owner))
        except Lost as lost:
            raise _lease_lost(key, owner) from lost

    def finish(self, key: TaskKey, owner: str, now: float, seconds: float, result: TaskResult) -> Task:
        """Marks the task done: one request by the worker that claimed it."""
        return self._end(key, owner, lambda task: rules.finished(task, owner, now, seconds, result))

    def fail(self, key: TaskKey, owner: str, now: float, reason: str, again: bool) -> Task:
        """Ends our try as failed."""
        return self._end(key, owner, lambda task: rules.failed(task, owner, now, reason, again))

    def release(self, key: TaskKey, owner: str, now: float, reason: str) -> None:
        """Gives the lease back without counting the try."""
        self._change(key, lambda task: rules.released(task, owner, now, reason))

    def break_lease(self, key: TaskKey, owner: str, now: float, reason: str) -> bool:
        """Ends the lease of a dead worker, the try counted."""
        return self._change(key, lambda task: rules.failed(task, owner, now, reason, True)) is not None

    def task(self, key: TaskKey) -> Task:
        """The record of a task."""
        return self._read(key).task

    def tasks(self, job: str, stage: int) -> list[Task]:
        """The records of a stage's tasks that have been claimed, in order."""
        return [_task(item) for item in self._items.below(f"JOB#{job}", f"TASK#{stage:03d}#")]

    def _end(self, key: TaskKey, owner: str, rule: Callable[[Task], Task | None]) -> Task:
        ended = self._change(key, rule)
        if ended is None:
            raise _lease_lost(key, owner)
        return ended

    def _change(self, key: TaskKey, rule: Callable[[Task], Task | None]) -> Task | None:
        """Applies a rule to the record until it is written; ``None`` once the rule refuses what the table holds."""
        with self._lock:
            known = self._known.pop(key, None)
        record = known or self._read(key)
        for _ in range(MOST_TRIES):
            changed = rule(record.task)
            if changed is None:
                if known is None:
                    return None
                record, known = self._read(key), None
                continue
            try:
                self._write(changed, record)
            except Lost as lost:
                record, known = _found(key, lost.item), None
                continue
            return changed
        raise Conflict(f"task {key}: its record kept changing while it was written")

    def _read(self, key: TaskKey) -> _Record:
        return _found(key, self._items.get(_task_key(key)))

    def _write(self, task: Task, record: _Record, also: str = "", **named: Any) -> str:
        """Writes a record where ``record`` was; returns the write's name, raises :class:`Lost`."""
        place, item = _task_key(task.key), _task_item(task)
        if self._kept > 0:
            item |= _expires(task.events[-1].at, self._kept_tasks)
        if not record.write:
            return self._items.put(place, item, "attribute_not_exists(#pk)")
        condition = f"#{WRITE} = :{WRITE}{also}"
        return self._items.put(place, item, condition, **{WRITE: text(record.write), **named})

    def _remember(self, record: _Record) -> None:
        with self._lock:
            self._known[record.task.key] = record
            if len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]


_HELD = "#state = :state AND #owner = :owner"


def _job_key(job: str) -> tuple[str, str]:
    return f"JOB#{job}", "JOB"


def _task_key(key: TaskKey) -> tuple[str, str]:
    return f"JOB#{key.job}", f"TASK#{key.stage:03d}#{key.task:05d}"


def _expires(at: float, days: int) -> Item:
    """Lets DynamoDB delete the item so many days after ``at``."""
    return {EXPIRES: number(math.ceil(at) + days * 86_400)}


def _job(item: Item) -> Job:
    return read_document(item, Job)


def _task_item(task: Task) -> Item:
    """The record; what conditions look at and renewals change stands beside the document."""
    return {
        **write_document(task),
        "state": text(task.state),
        "owner": text(task.owner),
        "lease_until": number(task.lease_until),
        "progress": number(task.progress),
        "note": text(task.note),
    }


def _task(item: Item) -> Task:
    return replace(
        read_document(item, Task),
        lease_until=number_of(item, "lease_until"),
        progress=number_of(item, "progress"),
        note=text_of(item, "note"),
    )


def _found(key: TaskKey, item: Item | None) -> _Record:
    if item is None:
        return _Record(Task(key), "")
    return _Record(_task(item), text_of(item, WRITE))


def _lease_lost(key: TaskKey, owner: str) -> LeaseLost:
    return LeaseLost(f"task {key}: {owner or 'nobody'} does not hold its lease")
