"""A job told to a script (a JSON document) and to a person (photos left out, its history)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minimoto.client.submit import output
from minimoto.core.job import Entry, Job, Location
from minimoto.core.progress import JobProgress
from minimoto.core.readable import duration_text
from minimoto.core.task import Skipped, TaskState

if TYPE_CHECKING:
    from minimoto.wiring import Cloud

_SAME = {"failed": "task_failed"}
"""What a task's record and the job's history call the same thing."""


def skipped(cloud: Cloud, job: Job) -> tuple[Skipped, ...]:
    """The inputs that the stages so far left out, with the reasons."""
    return tuple(
        each
        for index, stage in enumerate(job.stages)
        if stage.skipped
        for task in cloud.jobs.tasks(job.id, index)
        for each in task.result.skipped
    )


def results(cloud: Cloud, job: Job) -> tuple[Location, ...]:
    """The objects that the job made: as its document names them, or its last tasks' records where that names some."""
    if len(job.results) >= job.stages[-1].outputs:
        return tuple(Location(job.outputs.bucket, key) for key in job.results)
    tasks = cloud.jobs.tasks(job.id, len(job.stages) - 1)
    names = sorted({name for task in tasks if task.state is TaskState.DONE for name in task.result.outputs})
    return tuple(job.outputs / name for name in names)


@dataclass(frozen=True)
class Cost:
    """What a job's finished tasks took.

    Parameters:
        seconds: of a node, slots side by side counted once.
        dollars: for these; ``None`` where the price of a node is unknown.
    """

    seconds: float
    dollars: float | None

    def text(self, photos: int) -> str:
        """For a person, a photo's share included."""
        time = f"{duration_text(self.seconds)} of a node"
        if not self.dollars:
            # Unknown, or the embedded AWS, which costs nothing.
            return time
        return f"about ${self.dollars:.2f}, ${self.dollars / max(1, photos):.4f} a photo: {time}"


def cost(cloud: Cloud, job: Job) -> Cost:
    """What the work on a job cost so far: the time of its finished tasks, without boots, idle nodes and lost tries."""
    from minimoto.wiring import price_per_hour

    tasks = [task for index, s in enumerate(job.stages) if s.tasks for task in cloud.jobs.tasks(job.id, index)]
    seconds = sum(task.seconds for task in tasks if task.state is TaskState.DONE) / max(1, cloud.config.slots)
    price = price_per_hour(cloud.config)
    return Cost(seconds, None if price is None else seconds / 3600 * price)


def job_document(job: Job, progress: JobProgress | None = None, left_out: tuple[Skipped, ...] = ()) -> dict[str, Any]:
    """A job as JSON; times are seconds since the epoch. Of very many results ``results`` names the first.

    Parameters:
        left_out: photos that could not be used.
    """
    document: dict[str, Any] = {
        "job": job.id,
        "name": job.name,
        "owner": job.owner,
        "pipeline": job.pipeline,
        "state": job.state.value,
        "photos": job.photos,
        "output": str(output(job)),
        "results": [str(Location(job.outputs.bucket, key)) for key in job.results],
        "result_count": job.stages[-1].outputs,
        "error": job.error,
        "skipped": [{"name": each.name, "reason": each.reason} for each in left_out],
        "created": job.created,
        "updated": job.updated,
        "deadline": job.deadline,
        "budget": job.budget,
        "limit": job.limit,
    }
    if progress is not None:
        document["fraction"] = round(progress.fraction, 4)
        document["eta_seconds"] = None if progress.eta is None else round(progress.eta, 1)
        document["stages"] = [
            {
                "step": stage.step,
                "state": stage.state,
                "inputs": stage.items,
                "done": stage.done,
                "fraction": round(stage.fraction, 4),
                "seconds": None if stage.seconds is None else round(stage.seconds, 1),
                "workers": stage.workers,
            }
            for stage in progress.stages
        ]
    return document


def history(cloud: Cloud, job: Job) -> tuple[Entry, ...]:
    """What happened to a job and to its tasks, oldest first; what both tell is told once, in the job's words."""
    entries = list(job.history)
    told = {(entry.what, entry.stage, entry.task, entry.attempt) for entry in entries}
    for index, stage in enumerate(job.stages):
        for task in cloud.jobs.tasks(job.id, index) if stage.tasks else ():
            entries += [
                event
                for event in task.events
                if (_SAME.get(event.what, event.what), event.stage, event.task, event.attempt) not in told
            ]
    return tuple(sorted(entries, key=lambda entry: entry.at))


def entry_document(entry: Entry) -> dict[str, Any]:
    """A line of the history as JSON."""
    return {
        "at": entry.at,
        "what": entry.what,
        "detail": entry.detail,
        "stage": entry.stage,
        "task": entry.task,
        "attempt": entry.attempt,
        "node": entry.node,
    }
