"""One try of a task that is ours: load, run, upload, and hand over what is done; or how it ends instead."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from minimoto.completions import Checkpoint, Completed, Completions
from minimoto.core import manifest
from minimoto.core.events import TaskFailed, TaskStarted
from minimoto.core.job import Job, JobState
from minimoto.core.retry import backoff, lasts, may_retry
from minimoto.core.task import Skipped, TaskKey, TaskResult
from minimoto.errors import CloudError, Conflict, LeaseLost, NotFound, StepFailed
from minimoto.heartbeat import Heartbeat, Held, Stopped, Why
from minimoto.sandbox import Answer, Limits, Request, Sandbox
from minimoto.task_files import PARTS, DiskFull, Local, TaskFiles
from minimoto.work_folder import clear

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from minimoto.deliveries import Deliveries
    from minimoto.dispatch import Dispatcher
    from minimoto.known_jobs import KnownJobs
    from minimoto.ports import Clock, Jobs, Message
    from minimoto.steps.base import Step


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
class Try:
    """A claimed task; ``owner`` holds its lease."""

    message: Message
    key: TaskKey
    owner: str
    job: Job
    number: int
    started: float
    log: FilteringBoundLogger


@dataclass(frozen=True)
class Attempts:
    """Makes one try at a time.

    Parameters:
        node: who this is, for the job's history.
        folder: where the files of a task lie, in the folders ``PARTS``; emptied after each.
    """

    node: str
    folder: Path
    jobs: Jobs
    clock: Clock
    dispatcher: Dispatcher
    known: KnownJobs
    heartbeat: Heartbeat
    sandbox: Sandbox
    files: TaskFiles
    deliveries: Deliveries
    completions: Completions
    steps: Mapping[str, Step]
    checkpoint: Checkpoint

    def make(self, held: Try) -> Outcome:
        """Makes a try, and records how it ended. Whatever happens, no file of it stays."""
        self.heartbeat.hold(Held(held.message.receipt, held.key, held.owner))
        try:
            return self._finish(held, *self._run(held))
        except StepFailed as error:
            return self._failed(held, str(error), error.retry)
        except Stopped as stopped:
            return self._stopped(held, stopped)
        except LeaseLost as error:
            held.log.warning("lease lost; nothing is recorded", reason=str(error))
            return Outcome.GIVEN_BACK
        except (DiskFull, CloudError, Conflict, NotFound) as error:
            if isinstance(error, DiskFull) or lasts(error):
                # It counts against the task alone: one job's bucket must not take out node after node.
                self._failed(held, str(error), wanted=True)
                return Outcome.REFUSED
            return self._release(held, str(error), backoff(held.message.received, random.random()))
        finally:
            self.heartbeat.drop()
            clear(self.folder, PARTS)

    def give_up(self, held: Try, reason: str) -> Outcome:
        """Fails a task, and with it the job, without another try."""
        return self._failed(held, reason, wanted=False)

    def _run(self, held: Try) -> tuple[TaskResult, int]:
        """What the task made, and of how many inputs."""
        job = self._begin(held)
        step = self.steps.get(job.stages[held.key.stage].step)
        if step is None:
            raise StepFailed(f"this node knows no step {job.stages[held.key.stage].step!r}", retry=True)
        local = self.files.load(job, held.key, step, self.folder, self.heartbeat.check)
        self.checkpoint("loaded")
        answer = self._step(self._request(job, held.key, local), Limits(step.memory_limit, step.hang_seconds))
        self.checkpoint("ran")
        _check_counts(step, local, answer)
        skipped = tuple(Skipped(local.originals.get(name, name), reason) for name, reason in answer.skipped)
        if skipped and job.strict:
            raise StepFailed(f"{skipped[0].name}: {skipped[0].reason} (--strict)", retry=False)
        return self._upload(job, held.key, answer, skipped), len(local.inputs)

    def _begin(self, held: Try) -> Job:
        """Tells the job that work on it has begun, unless it knows."""
        job = held.job
        if job.state is not JobState.BEING_PROCESSED:
            event = TaskStarted(held.key.stage, held.key.task, held.number, self.node)
            job = self.known.remember(self.dispatcher.apply(job, event))
            if job.state.final:
                raise Stopped(Why.JOB_ENDED, f"the job is {job.state}")
        self.checkpoint("started")
        return job

    def _request(self, job: Job, key: TaskKey, local: Local) -> Request:
        stage = job.stages[key.stage]
        return Request(
            step=stage.step,
            params=dict(stage.params),
            inputs=tuple(map(str, local.inputs)),
            attachments={name: str(path) for name, path in local.attachments.items()},
            out=str(self.folder / "out"),
            name=job.name,
            first=local.first,
        )

    def _step(self, request: Request, limits: Limits) -> Answer:
        try:
            return self.sandbox.run(request, limits, self.heartbeat.check, self.heartbeat.progress)
        except StepFailed as error:
            if error.retry:
                # A machine that shuts down tells all processes at once: the step may have died of the same signal.
                self.heartbeat.check_settled()
            raise

    def _upload(self, job: Job, key: TaskKey, answer: Answer, skipped: tuple[Skipped, ...]) -> TaskResult:
        self.heartbeat.check()
        prefix = manifest.work(job, key.stage)
        names = self.files.save(answer.outputs, self.folder, prefix, self.heartbeat.check)
        self.checkpoint("uploaded")
        return TaskResult(names, skipped)

    def _finish(self, held: Try, result: TaskResult, inputs: int) -> Outcome:
        """Hands over what is left to do. Should the process die first, the lease ends and the task is done again."""
        seconds = self.clock.monotonic() - held.started
        self.heartbeat.worked(held.job.stages[held.key.stage].step, inputs, seconds)
        self.heartbeat.drop()
        self.completions.put(Completed(held.message, held.key, held.owner, held.job, seconds, result, held.log))
        return Outcome.DONE

    def _failed(self, held: Try, reason: str, wanted: bool) -> Outcome:
        self.heartbeat.drop()
        again = may_retry(held.number, wanted)
        held.log.warning("task failed", reason=reason, again=again)
        try:
            self.jobs.fail(held.key, held.owner, self.clock.now(), reason, again)
            event = TaskFailed(held.key.stage, held.key.task, reason, again, held.number, self.node)
            self.known.remember(self.dispatcher.apply(held.job.id, event))
            if again:
                self.deliveries.hide(held.message, backoff(held.number, random.random()))
            else:
                self.deliveries.delete(held.message)
        except LeaseLost:
            held.log.warning("lease lost; nothing is recorded")
        except (CloudError, Conflict, NotFound) as error:
            # The lease ends by itself, and the message comes back.
            held.log.warning("the failure could not be recorded", error=str(error))
        return Outcome.FAILED if wanted else Outcome.REFUSED

    def _stopped(self, held: Try, stopped: Stopped) -> Outcome:
        if stopped.why is Why.INTERRUPTED:
            return self._release(held, str(stopped), 0.0)
        self.heartbeat.drop()
        held.log.warning("task dropped", reason=str(stopped))
        if stopped.why is Why.LEASE_LOST:
            return Outcome.GIVEN_BACK
        self.known.forget(held.job.id)
        self.deliveries.delete(held.message)
        return Outcome.DROPPED

    def _release(self, held: Try, reason: str, wait: float) -> Outcome:
        """Gives a task back without counting the try."""
        self.heartbeat.drop()
        held.log.warning("task given back", reason=reason)
        try:
            self.jobs.release(held.key, held.owner, self.clock.now(), reason)
        except (CloudError, Conflict) as error:
            # The lease ends by itself.
            held.log.warning("the lease could not be given back", error=str(error))
        self.deliveries.give_back(held.message, wait)
        return Outcome.GIVEN_BACK


def _check_counts(step: Step, local: Local, answer: Answer) -> None:
    """Of each photo at most one file is made: the process that says more may be in the hands of a photo."""
    made, left_out, given = len(answer.outputs), len(answer.skipped), len(local.inputs)
    if step.per == "photo" and max(made, left_out) > given:
        raise StepFailed(f"it answered with {made} files and {left_out} photos left out, of {given}", retry=True)
