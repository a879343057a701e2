"""One message, all the way: claim, heartbeat, run, upload, done, advance, delete, in this order.

A crash between any two of these is repaired by the message's redelivery: unfinished work is begun anew once the
lease has ended, finished work is only advanced and deleted.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minimoto.attempt import Attempts, Outcome, Try
from minimoto.completions import done_event
from minimoto.core import message
from minimoto.core.events import Event, TaskFailed
from minimoto.core.job import Job
from minimoto.core.retry import MOST_ATTEMPTS
from minimoto.core.task import Claim, ClaimOutcome, Task, TaskKey, TaskState
from minimoto.errors import InvalidMessage, NotFound
from minimoto.heartbeat import Held, Stopped

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from minimoto.folder_request import FolderRequests
    from minimoto.ports import Message

BUSY_EXTRA = 1.0
"""Seconds beyond the end of another's lease until a message is looked at again."""


@dataclass(frozen=True)
class Worker:
    """Works on one message at a time.

    Parameters:
        name: ``<node>/<slot>``; the owner of its leases, with a nonce for each.
        lease: seconds.
    """

    name: str
    lease: float
    attempts: Attempts
    folder_requests: FolderRequests
    log: FilteringBoundLogger

    def work(self, received: Message) -> Outcome:
        """Takes a message through all of its way.

        Raises:
            CloudError: AWS failed before or after the try; the message comes back by itself.
        """
        self.attempts.checkpoint("received")
        try:
            wanted = message.decode(received.body)
            if isinstance(wanted, TaskKey):
                return self._task(received, wanted)
            return self._folder(received, wanted)
        except InvalidMessage as error:
            self.attempts.deliveries.bury(received, str(error))
            self.log.warning("message buried", reason=str(error), message_id=received.id)
            return Outcome.BURIED

    def _folder(self, received: Message, wanted: message.FolderRequest) -> Outcome:
        heartbeat = self.attempts.heartbeat
        heartbeat.hold(Held(received.receipt))
        try:
            job = self.folder_requests.submit(wanted, received.id, heartbeat.check)
        except NotFound as error:
            raise InvalidMessage(str(error)) from error
        except Stopped as stopped:
            heartbeat.drop()
            self.log.warning("folder request given back", reason=str(stopped))
            self.attempts.deliveries.give_back(received, 0.0)
            return Outcome.GIVEN_BACK
        finally:
            heartbeat.drop()
        self.attempts.deliveries.delete(received)
        self.log.info("folder request became a job", job=job.id, folder=wanted.folder)
        return Outcome.DONE

    def _task(self, received: Message, key: TaskKey) -> Outcome:
        job = self.attempts.known.of(key)
        if job.state.final:
            self.attempts.deliveries.delete(received)
            return Outcome.DROPPED
        if key.stage < job.stage or key.task in job.stages[key.stage].done:
            return self._repair(received, self.attempts.jobs.task(key))
        return self._claim(received, key, job)

    def _claim(self, received: Message, key: TaskKey, job: Job) -> Outcome:
        clock, owner = self.attempts.clock, f"{self.name}/{secrets.token_hex(4)}"
        claim: Claim = self.attempts.jobs.claim(key, owner, clock.now(), self.lease)
        self.attempts.checkpoint("claimed")
        if claim.outcome is ClaimOutcome.BUSY:
            # Whoever holds it may die: its message, which may be this one, must come back then.
            self.attempts.deliveries.hide(received, max(0.0, claim.task.lease_until - clock.now()) + BUSY_EXTRA)
            return Outcome.BUSY
        if claim.outcome is not ClaimOutcome.OURS:
            return self._repair(received, claim.task)
        log = self.log.bind(job=job.id, stage=key.stage, task=key.task, attempt=claim.task.attempt)
        held = Try(received, key, owner, job, claim.task.attempt, clock.monotonic(), log)
        if claim.task.attempt > MOST_ATTEMPTS:
            # Nobody lived to say that the last of them failed.
            why = "its worker died each time, or could not record what it had done"
            return self.attempts.give_up(held, claim.task.error or why)
        return self.attempts.make(held)

    def _repair(self, received: Message, task: Task) -> Outcome:
        """A task that ended before: what should have followed may have been lost with its worker."""
        attempts = self.attempts
        try:
            job = attempts.jobs.get(task.key.job)
        except NotFound:
            raise InvalidMessage(f"there is no job {task.key.job}") from None
        event: Event = done_event(job, task, attempts.node)
        if task.state is TaskState.FAILED:
            event = TaskFailed(task.key.stage, task.key.task, task.error, retry=False, attempt=task.attempt)
        attempts.known.remember(attempts.dispatcher.apply(job, event))
        attempts.deliveries.delete(received)
        return Outcome.DROPPED
