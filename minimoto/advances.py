"""Advances jobs behind the worker's back: what was done in the meantime goes into one write of the job's document.

Only after that are the messages deleted. Whatever is lost with the process is repaired when they come back.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minimoto.core.events import TaskDone
from minimoto.core.job import Job
from minimoto.errors import MinimotoError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from minimoto.attempt import Checkpoint
    from minimoto.deliveries import Deliveries
    from minimoto.dispatch import Dispatcher
    from minimoto.known_jobs import KnownJobs
    from minimoto.ports import Message

MOST_WAITING = 50
"""Tasks that may be done without their job knowing; then the worker waits."""

AGAIN_SOON = 1.0
"""Seconds until a task whose job could not be advanced is looked at again."""


@dataclass(frozen=True)
class Done:
    """A task whose record says that it is done, and the message that may go once its job knows."""

    job: Job
    event: TaskDone
    message: Message


class Advances:
    """A thread that advances jobs, from :meth:`start` to :meth:`close`."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        known: KnownJobs,
        deliveries: Deliveries,
        checkpoint: Checkpoint,
        log: FilteringBoundLogger,
    ) -> None:
        self._dispatcher = dispatcher
        self._known = known
        self._deliveries = deliveries
        self._checkpoint = checkpoint
        self._log = log
        self._waiting: queue.Queue[Done | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="advances", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def close(self) -> None:
        """Advances what is waiting, and ends."""
        self._waiting.put(None)
        self._thread.join()

    def put(self, done: Done) -> None:
        """Advances the task's job soon, and then deletes the message."""
        self._waiting.put(done)

    def settle(self) -> None:
        """Waits until nothing is waiting."""
        self._waiting.join()

    def _run(self) -> None:
        going_on = True
        while going_on:
            taken = self._take()
            going_on = None not in taken
            by_job: dict[str, list[Done]] = {}
            for done in taken:
                if done is not None:
                    by_job.setdefault(done.job.id, []).append(done)
            for dones in by_job.values():
                self._advance(dones)
            for _ in taken:
                self._waiting.task_done()

    def _take(self) -> list[Done | None]:
        """What is waiting, one at least."""
        taken = [self._waiting.get()]
        while True:
            try:
                taken.append(self._waiting.get_nowait())
            except queue.Empty:
                return taken

    def _advance(self, dones: Sequence[Done]) -> None:
        try:
            job = self._known.latest(dones[0].job)
            self._known.remember(self._dispatcher.apply_all(job, [done.event for done in dones]))
            self._checkpoint("advanced")
        except MinimotoError as error:
            self._log.warning("tasks done, job not advanced yet", job=dones[0].job.id, error=str(error))
            for done in dones:
                self._deliveries.give_back(done.message, AGAIN_SOON)
            return
        except Exception:
            # Of our own making; without this thread no job would advance any more.
            self._log.exception("tasks done, job not advanced", job=dones[0].job.id)
            return
        for done in dones:
            self._deliveries.delete(done.message)
        self._checkpoint("deleted")
