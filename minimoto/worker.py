"""One message, all the way: claim, heartbeat, run, upload, done, advance, delete, in this order.

A crash between any two of these is repaired by the message's redelivery: unfinished work is begun anew once the
lease has ended, finished work is only advanced and deleted.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from minimoto.core import manifest, message
from minimoto.core.events import TaskDone, TaskFailed, TaskStarted
from minimoto.core.job import Job, JobState
from minimoto.core.retry import backoff, may_retry
from minimoto.core.task import Claim, ClaimOutcome, Skipped, Task, TaskKey, TaskResult, TaskState
from minimoto.errors import CloudError, Conflict, InvalidMessage, LeaseLost, NotFound, StepFailed
from minimoto.heartbeat import Heartbeat, Held, Stopped, Why
from minimoto.sandbox import Answer, Limits, Request, Sandbox, empty
from minimoto.task_files import DiskFull, Local, TaskFiles

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from minimoto.deletions import Deletions
    from minimoto.dispatch import Dispatcher
    from minimoto.folder_request import FolderRequests
    from minimoto.ports import Clock, Jobs, Message, Queue
    from minimoto.steps.base import Step

BUSY_EXTRA = 1.0
"""Seconds beyond the end of another's lease until a message is looked at again."""

MOST_HIDDEN = 900.0
"""SQS's longest delay."""

Checkpoint = Callable[[str], None]
"""Called with the name of each boundary that has been passed; for tests that kill there."""


class Outcome(StrEnum):
    """What became of a message.

    ``DONE``: worked on to the end. ``DROPPED``: there was nothing to do, it is deleted. ``BURIED``: no worker may act
    on it. ``BUSY``: somebody else works on it. ``FAILED``: the try failed, which may be the node's fault.
    ``REFUSED``: the try failed, and the node is not to blame. ``GIVEN_BACK``: it was not this node's to finish.
    """

    DONE = "DONE"
    DROPPED = "DROPPED"
    BURIED = "BURIED"
    BUSY = "BUSY"
    FAILED = "FAILED"
    REFUSED = "REFUSED"
    GIVEN_BACK = "GIVEN_BACK"


@dataclass(frozen=True)
class Terms:
    """What a worker works by.

    Parameters:
        node, slot: who it is.
        folder: where the files of a task lie; emptied after each.
        lease: seconds.
        receive_limit: deliveries after which SQS gives a message up.
    """

    node: str
    slot: int
    folder: Path
    lease: float
    receive_limit: int


@dataclass(frozen=True)
class _Try:
    """A claimed task."""

    message: Message
    key: TaskKey
    owner: str
    job: Job
    attempt: int
    started: float
    log: FilteringBoundLogger


@dataclass(frozen=True)
class Worker:
    """Works on one message at a time."""

    terms: Terms
    queue: Queue
    jobs: Jobs
    clock: Clock
    dispatcher: Dispatcher
    heartbeat: Heartbeat
    sandbox: Sandbox
    files: TaskFiles
    deletions: Deletions
    folder_requests: FolderRequests
    steps: Mapping[str, Step]
    log: FilteringBoundLogger
    checkpoint: Checkpoint
    known: dict[str, Job]

    def work(self, received: Message) -> Outcome:
        """Takes a message through all of its way.

        Raises:
            CloudError: AWS failed before the task was ours; the message comes back by itself.
        """
        self.checkpoint("received")
        try:
            wanted = message.decode(received.body)
            if isinstance(wanted, TaskKey):
                return self._task(received, wanted)
            return self._folder(received, wanted)
        except InvalidMessage as error:
            self.queue.bury(received, str(error))
            self.log.warning("message buried", reason=str(error), message_id=received.id)
            return Outcome.BURIED

    def _folder(self, received: Message, wanted: message.FolderRequest) -> Outcome:
        self.heartbeat.hold(Held(received.receipt))
        try:
            job = self.folder_requests.submit(wanted, received.id, self.heartbeat.check)
        except Stopped as stopped:
            self.heartbeat.drop()
            self.log.warning("folder request given back", reason=str(stopped))
            return self._give_back(received, 0.0)
        finally:
            self.heartbeat.drop()
        self.deletions.delete(received.receipt)
        self.log.info("folder request became a job", job=job.id, folder=wanted.folder)
        return Outcome.DONE

    def _task(self, received: Message, key: TaskKey) -> Outcome:
        job = self._job_for(key)
        if job.state.final:
            self._delete(received)
            return Outcome.DROPPED
        if key.stage < job.stage or key.task in job.stages[key.stage].done:
            return self._repair(received, self.jobs.task(key))
        owner = f"{self.terms.node}/{self.terms.slot}/{secrets.token_hex(4)}"
        claim = self.jobs.claim(key, owner, self.clock.now(), self.terms.lease)
        self.checkpoint("claimed")
        if claim.outcome is ClaimOutcome.BUSY:
            wait = max(0.0, claim.task.lease_until - self.clock.now()) + BUSY_EXTRA
            self._hide(received, wait)
            return Outcome.BUSY
        if claim.outcome is not ClaimOutcome.OURS:
            return self._repair(received, claim.task)
        return self._attempt(received, job, claim, owner)

    def _job_for(self, key: TaskKey) -> Job:
        """The job's document, as it was last seen if the message fits that; else as it is.

        Raises:
            InvalidMessage: the message names no task of a job.
        """
        job = self.known.get(key.job)
        if job is None or job.state.final or key.stage != job.stage or key.task >= job.stages[key.stage].tasks:
            try:
                job = self.jobs.get(key.job)
            except NotFound:
                raise InvalidMessage(f"there is no job {key.job}") from None
            self._remember(job)
        if key.stage >= len(job.stages) or (key.task >= job.stages[key.stage].tasks and not job.state.final):
            raise InvalidMessage(f"job {job.id} has no task {key.task} of stage {key.stage}")
        return job

    def _remember(self, job: Job) -> None:
        self.known.pop(job.id, None)
        self.known[job.id] = job
        while len(self.known) > 32:
            self.known.pop(next(iter(self.known)))

    def _repair(self, received: Message, task: Task) -> Outcome:
        """A task that ended before: what should have followed may have been lost with its worker."""
        job = self.jobs.get(task.key.job)
        if task.state is TaskState.FAILED:
            event: TaskDone | TaskFailed = TaskFailed(
                task.key.stage, task.key.task, task.error, retry=False, attempt=task.attempt
            )
        else:
            event = self._done(job, task)
        self._remember(self.dispatcher.apply(job, event))
        self._delete(received)
        return Outcome.DROPPED

    def _attempt(self, received: Message, job: Job, claim: Claim, owner: str) -> Outcome:
        task = claim.task
        log = self.log.bind(job=job.id, stage=task.key.stage, task=task.key.task, attempt=task.attempt)
        held = _Try(received, task.key, owner, job, task.attempt, self.clock.monotonic(), log)
        self.heartbeat.hold(Held(received.receipt, task.key, owner))
        log.debug("task claimed")
        try:
            result = self._run(held)
            return self._finish(held, result)
        except StepFailed as error:
            return self._failed(held, str(error), error.retry)
        except DiskFull as error:
            return self._release(held, str(error), backoff(received.received, random.random()))
        except Stopped as stopped:
            return self._stopped(held, stopped)
        except LeaseLost as error:
            log.warning("lease lost; nothing is recorded", reason=str(error))
            return Outcome.GIVEN_BACK
        except (CloudError, Conflict, NotFound) as error:
            return self._release(held, str(error), backoff(received.received, random.random()))
        finally:
            self.heartbeat.drop()
            empty(self.terms.folder)

    def _run(self, held: _Try) -> TaskResult:
        job, stage = held.job, held.job.stages[held.key.stage]
        if job.state is not JobState.BEING_PROCESSED:
            event = TaskStarted(held.key.stage, held.key.task, held.attempt, self.terms.node)
            job = self.dispatcher.apply(job, event)
            self._remember(job)
            if job.state.final:
                raise Stopped(Why.JOB_ENDED, f"the job is {job.state}")
        self.checkpoint("started")
        step = self.steps.get(stage.step)
        if step is None:
            raise StepFailed(f"this node knows no step {stage.step!r}", retry=True)
        local = self.files.load(job, held.key, step, self.terms.folder, self.heartbeat.check)
        self.checkpoint("loaded")
        limits = Limits(step.memory_limit, step.hang_seconds)
        try:
            answer = self.sandbox.run(self._request(held, local), limits, self.heartbeat.check, self.heartbeat.progress)
        except StepFailed as error:
            if error.retry:
                # A machine that shuts down tells all processes at once: the step may have died of the same signal.
                self.heartbeat.check_settled()
            raise
        self.checkpoint("ran")
        skipped = tuple(Skipped(local.originals.get(name, name), reason) for name, reason in answer.skipped)
        if skipped and job.strict:
            raise StepFailed(f"{skipped[0].name}: {skipped[0].reason} (--strict)", retry=False)
        return self._upload(held, answer, skipped)

    def _request(self, held: _Try, local: Local) -> Request:
        stage = held.job.stages[held.key.stage]
        return Request(
            step=stage.step,
            params=dict(stage.params),
            inputs=tuple(map(str, local.inputs)),
            attachments={name: str(path) for name, path in local.attachments.items()},
            out=str(self.terms.folder / "out"),
            name=held.job.name,
            first=local.first,
        )

    def _upload(self, held: _Try, answer: Answer, skipped: tuple[Skipped, ...]) -> TaskResult:
        self.heartbeat.check()
        prefix = manifest.work(held.job, held.key.stage)
        names = self.files.save(answer.outputs, self.terms.folder, prefix, self.heartbeat.check)
        self.checkpoint("uploaded")
        return TaskResult(names, skipped)

    def _finish(self, held: _Try, result: TaskResult) -> Outcome:
        seconds = self.clock.monotonic() - held.started
        task = self.jobs.finish(held.key, held.owner, self.clock.now(), seconds, result)
        self.checkpoint("finished")
        # From here on the record says done: whatever fails, the message's redelivery goes on from there.
        self.heartbeat.drop()
        try:
            job = self.known.get(held.job.id, held.job)
            self._remember(self.dispatcher.apply(job, self._done(job, task)))
        except (CloudError, Conflict, NotFound) as error:
            held.log.warning("task done, job not advanced yet", error=str(error))
            self._hide(held.message, BUSY_EXTRA)
            return Outcome.GIVEN_BACK
        self.checkpoint("advanced")
        self._delete(held.message)
        self.checkpoint("deleted")
        held.log.info("task done", seconds=round(seconds, 3), outputs=len(result.outputs), skipped=len(result.skipped))
        return Outcome.DONE

    def _done(self, job: Job, task: Task) -> TaskDone:
        result, last = task.result, task.key.stage == len(job.stages) - 1
        return TaskDone(
            task.key.stage,
            task.key.task,
            outputs=len(result.outputs),
            skipped=len(result.skipped),
            reason=f"{result.skipped[0].name}: {result.skipped[0].reason}" if result.skipped else "",
            results=tuple((job.outputs / name).key for name in result.outputs) if last else (),
            attempt=task.attempt,
            node=self.terms.node,
        )

    def _failed(self, held: _Try, reason: str, wanted: bool) -> Outcome:
        self.heartbeat.drop()
        again = may_retry(held.attempt, wanted)
        held.log.warning("task failed", reason=reason, again=again)
        blame = Outcome.FAILED if wanted else Outcome.REFUSED
        try:
            self.jobs.fail(held.key, held.owner, self.clock.now(), reason, again)
            event = TaskFailed(held.key.stage, held.key.task, reason, again, held.attempt, self.terms.node)
            self._remember(self.dispatcher.apply(held.job.id, event))
            if again:
                self._hide(held.message, backoff(held.attempt, random.random()))
            else:
                self._delete(held.message)
        except LeaseLost:
            held.log.warning("lease lost; nothing is recorded")
        except (CloudError, Conflict, NotFound) as error:
            # The lease ends by itself, and the message comes back.
            held.log.warning("the failure could not be recorded", error=str(error))
        return blame

    def _stopped(self, held: _Try, stopped: Stopped) -> Outcome:
        if stopped.why is Why.JOB_ENDED:
            self.heartbeat.drop()
            held.log.info("task dropped", reason=str(stopped))
            self.known.pop(held.job.id, None)
            self._delete(held.message)
            return Outcome.DROPPED
        if stopped.why is Why.LEASE_LOST:
            held.log.warning("lease lost; nothing is recorded")
            return Outcome.GIVEN_BACK
        return self._release(held, str(stopped), 0.0)

    def _release(self, held: _Try, reason: str, wait: float) -> Outcome:
        """Gives a task back without counting the try."""
        self.heartbeat.drop()
        held.log.warning("task given back", reason=reason)
        try:
            self.jobs.release(held.key, held.owner, self.clock.now(), reason)
        except CloudError as error:
            # The lease ends by itself.
            held.log.warning("the lease could not be given back", error=str(error))
        return self._give_back(held.message, wait)

    def _give_back(self, received: Message, wait: float) -> Outcome:
        try:
            self._hide(received, wait)
        except CloudError as error:
            self.log.warning("the message could not be given back; it comes back by itself", error=str(error))
        return Outcome.GIVEN_BACK

    def _hide(self, received: Message, seconds: float) -> None:
        """Hides a message for a while; one that SQS would soon give up, through no fault of its own, is sent anew."""
        seconds = min(seconds, MOST_HIDDEN)
        if received.received + 1 >= self.terms.receive_limit:
            self.queue.send([received.body], delay=seconds)
            self.queue.delete([received.receipt])
        else:
            self.queue.extend(received.receipt, seconds)

    def _delete(self, received: Message) -> None:
        self.deletions.delete(received.receipt)
