"""A job told to a script (a JSON document) and to a person (photos left out, its history)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minimoto.client.submit import output
from minimoto.core.job import Entry, Job, Location
from minimoto.core.progress import JobProgress
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
