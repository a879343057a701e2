"""Records what is done, behind the worker's back, while it begins the next task: done, advance, delete, in this order.

Tasks that are done within a moment go into one write of their job's document. Whatever is lost with the process is
repaired when the messages come back.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minimoto.core.events import TaskDone
from minimoto.core.job import Job
from minimoto.core.retry import lasts
from minimoto.core.task import Task, TaskKey, TaskResult
from minimoto.errors import CloudError, Conflict, LeaseLost, MinimotoError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from minimoto.deliveries import Deliveries
    from minimoto.dispatch import Dispatcher
    from minimoto.known_jobs import KnownJobs
    from minimoto.ports import Clock, Jobs, Message

Checkpoint = Callable[[str], None]
"""Called with the name of each boundary that has been passed; for tests that kill there."""

MOST_WAITING = 50
"""Tasks that may be done without their records saying so; then the worker waits."""

EVERY = 0.05
"""Seconds between two writes of a job's document. The first of a row is not held up."""

AGAIN_SOON = 1.0
"""Seconds until a task that could not be recorded, or whose job could not be advanced, is looked at again."""


@dataclass(frozen=True)
class Completed:
    """A task whose outputs are in their bucket.

    Parameters:
        owner: holds its lease.
        seconds: how long it took.
    """

    message: Message
    key: TaskKey
    owner: str
    job: Job
    seconds: float
    result: TaskResult
    log: FilteringBoundLogger


class Completions:
    """A thread that records, from :meth:`start` to :meth:`close`.

    Parameters:
        node: who this is, for the job's history.
        checkpoint: called with the name of each boundary that has been passed.
    """

    def __init__(
        self,
        node: str,
        jobs: Jobs,
        clock: Clock,
        dispatcher: Dispatcher,
        known: KnownJobs,
        deliveries: Deliveries,
        checkpoint: Checkpoint,
    ) -> None:
        self._node = node
        self._jobs = jobs
        self._clock = clock
        self._dispatcher = dispatcher
        self._known = known
        self._deliveries = deliveries
        self._checkpoint = checkpoint
        self._waiting: queue.Queue[Completed | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="completions", daemon=True)
        self._next_write = 0.0

    @property
    def unfinished(self) -> bool:
        """Whether something is waiting, or being recorded."""
        return self._waiting.unfinished_tasks > 0

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def close(self) -> None:
        """Records what is waiting, and ends."""
        self._waiting.put(None)
        self._thread.join()

    def put(self, completed: Completed) -> None:
        """Records the task as done soon, advances its job, and then deletes the message."""
        self._waiting.put(completed)

    def settle(self) -> None:
        """Waits until nothing is waiting."""
        self._waiting.join()

    def _run(self) -> None:
        going_on = True
        while going_on:
            taken = 0
            by_job: dict[str, list[tuple[Completed, TaskDone]]] = {}
            for completed in self._take():
                taken += 1
                if completed is None:
                    going_on = False
                    break
                event = self._finish(completed)
                if event is not None:
                    by_job.setdefault(completed.key.job, []).append((completed, event))
                if taken == MOST_WAITING:
                    # More may come for as long as the service lives: what is recorded must be told to its job.
                    break
            for done in by_job.values():
                self._advance(done)
            self._next_write = self._clock.monotonic() + EVERY
            for _ in range(taken):
                self._waiting.task_done()

    def _take(self) -> Iterator[Completed | None]:
        """What is waiting, one at least, and what comes until the next write of a document is due."""
        yield self._waiting.get()
        while True:
            try:
                yield self._waiting.get(timeout=max(0.0, self._next_write - self._clock.monotonic()))
            except queue.Empty:
                return

    def _finish(self, completed: Completed) -> TaskDone | None:
        """Marks the task done; ``None`` if that could not be."""
        log = completed.log
        try:
            task = self._jobs.finish(
                completed.key, completed.owner, self._clock.now(), completed.seconds, completed.result
            )
        except LeaseLost:
            log.warning("lease lost; nothing is recorded")
            return None
        except (CloudError, Conflict) as error:
            # It may have been recorded all the same. The message comes back, and the lease ends by itself.
            log.warning("the task could not be recorded as done", error=str(error))
            if not lasts(error):
                self._deliveries.give_back(completed.message, AGAIN_SOON)
            return None
        except Exception:
            log.exception("the task could not be recorded as done")
            return None
        self._checkpoint("finished")
        result = completed.result
        log.info(
            "task done", seconds=round(completed.seconds, 3), outputs=len(result.outputs), skipped=len(result.skipped)
        )
        return done_event(completed.job, task, self._node)

    def _advance(self, done: Sequence[tuple[Completed, TaskDone]]) -> None:
        first = done[0][0]
        try:
            job = self._dispatcher.apply_all(self._known.latest(first.job), [event for _, event in done])
            self._known.remember(job)
            self._checkpoint("advanced")
        except MinimotoError as error:
            first.log.warning("tasks done, job not advanced yet", tasks=len(done), error=str(error))
            for completed, _ in done:
                self._deliveries.give_back(completed.message, AGAIN_SOON)
            return
        except Exception:
            # Of our own making; without this thread no job would advance any more.
            first.log.exception("tasks done, job not advanced", tasks=len(done))
            return
        for completed, _ in done:
            self._deliveries.delete(completed.message)
        self._checkpoint("deleted")


def done_event(job: Job, task: Task, node: str) -> TaskDone:
    """What a finished task's record means for its job."""
    result, last = task.result, task.key.stage == len(job.stages) - 1
    return TaskDone(
        task.key.stage,
        task.key.task,
        outputs=len(result.outputs),
        skipped=len(result.skipped),
        reason=f"{result.skipped[0].name}: {result.skipped[0].reason}" if result.skipped else "",
        results=tuple((job.outputs / name).key for name in result.outputs) if last else (),
        attempt=task.attempt,
        node=node,
    )
