"""The thin shell around ``advance``: read, decide, save under the version read, then act.

Used by client, service and watchdog alike, so that there is one way in which a job changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minimoto.core import message
from minimoto.core.events import Action, Closed, Enqueue, Enqueued, Event, Notify, RemoveWork
from minimoto.core.job import Job, JobState, Location
from minimoto.core.lifecycle import advance, closing
from minimoto.core.task import TaskKey
from minimoto.errors import Conflict
from minimoto.ports import Clock, Jobs, Queue, Store, Topic

MOST_CONFLICTS = 50


@dataclass(frozen=True)
class Dispatcher:
    """Applies events to jobs and carries out what follows from them."""

    jobs: Jobs
    queue: Queue
    store: Store
    topic: Topic
    clock: Clock

    def apply(self, job: str | Job, event: Event) -> Job:
        """Applies one event and carries out its actions.

        Parameters:
            job: a job's id, or its document if it was read lately (a stale one costs one more read).

        Raises:
            NotFound: there is no such job.
            Conflict: the document kept changing under us.
        """
        return self.apply_all(job, (event,))

    def apply_all(self, job: str | Job, events: Sequence[Event]) -> Job:
        """Applies events in their order by one write of the document; else as :meth:`apply`."""
        document = self.jobs.get(job) if isinstance(job, str) else job
        for _ in range(MOST_CONFLICTS):
            changed, actions = _advance_all(document, events, self.clock.now())
            if changed is not document:
                try:
                    changed = self.jobs.save(changed)
                except Conflict:
                    document = self.jobs.get(document.id)
                    continue
            return self._act_all(changed, actions)
        names = ", ".join(sorted({type(event).__name__ for event in events}))
        raise Conflict(f"job {document.id}: it kept changing while {names} was recorded")

    def close(self, job: Job) -> Job:
        """Carries out once more what follows from a job's end, where whoever ended it could not; else as :meth:`apply`.

        Whoever listens may be told twice, but is told.
        """
        return self._act_all(job, closing(job))

    def _act_all(self, job: Job, actions: Sequence[Action]) -> Job:
        for action in actions:
            job = self._act(job, action)
        return job

    def _act(self, job: Job, action: Action) -> Job:
        if isinstance(action, Enqueue):
            bodies = [message.encode(TaskKey(action.job, action.stage, task)) for task in action.tasks]
            self.queue.send(bodies, owner=job.owner)
            return self.apply(job, Enqueued(action.stage))
        if isinstance(action, RemoveWork):
            self.store.remove(job.inputs / "work/")
        elif isinstance(action, Notify):
            self._notify(job)
            return self.apply(job, Closed())
        return job

    def _notify(self, job: Job) -> None:
        if job.state is JobState.PROCESSING_SUCCESSFUL:
            text = "\n".join(str(Location(job.outputs.bucket, key)) for key in job.results)
            more = job.stages[-1].outputs - len(job.results)
            text += f"\nand {more} more" if more > 0 else ""
        else:
            text = job.error
        self.topic.announce(f"minimoto: {job.name} {job.state}"[:100], f"{job.id}: {job.state}\n{text}\n")


def _advance_all(job: Job, events: Sequence[Event], now: float) -> tuple[Job, list[Action]]:
    actions: list[Action] = []
    for event in events:
        job, more = advance(job, event, now)
        actions += more
    return job, actions
