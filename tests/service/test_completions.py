"""What is done is recorded behind the worker's back, however fast more of it comes."""

from __future__ import annotations

import io
from typing import Any

import pytest

from minimoto.completions import MOST_WAITING, Completed, Completions
from minimoto.core.job import JobState
from minimoto.core.task import Task, TaskKey, TaskResult
from minimoto.deliveries import Deliveries
from minimoto.known_jobs import KnownJobs
from minimoto.logs import open_log
from minimoto.memory import MemoryCloud
from minimoto.ports import Message
from tests.submitting import dispatcher, submit

TASKS = 4 * MOST_WAITING


def test_a_job_advances_while_more_and_more_is_done(
    clock_cloud: MemoryCloud, steps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each task that is recorded is followed by another at once, so that there is always one waiting."""
    cloud, log, passed = clock_cloud, open_log(stream=io.StringIO()), list[str]()
    deliveries = Deliveries(cloud.queue, cloud.config.receive_limit, log)
    completions = Completions(
        "i-0test", cloud.jobs, cloud.clock, dispatcher(cloud), KnownJobs(cloud.jobs), deliveries, passed.append
    )
    job = submit(cloud, "nothing", {f"{n}.jpg": b"A" for n in range(TASKS)}, steps, task_seconds=1e-3)
    assert job.stages[0].tasks == TASKS
    done = []
    for task in range(TASKS):
        key, owner = TaskKey(job.id, 0, task), f"i-0test/0/{task}"
        cloud.jobs.claim(key, owner, cloud.clock.now(), 120.0)
        done.append(Completed(Message(f"m{task}", "", "gone"), key, owner, job, 0.1, TaskResult(), log))
    later, finish = iter(done[MOST_WAITING:]), cloud.jobs.finish

    def finish_and_go_on(*arguments: Any) -> Task:
        if (following := next(later, None)) is not None:
            completions.put(following)
        return finish(*arguments)

    monkeypatch.setattr(cloud.jobs, "finish", finish_and_go_on)
    for completed in done[:MOST_WAITING]:
        completions.put(completed)
    assert completions.unfinished
    completions.start()
    completions.settle()
    assert not completions.unfinished
    completions.close()
    assert cloud.jobs.get(job.id).state is JobState.PROCESSING_SUCCESSFUL
    runs = " ".join(passed).split("advanced")
    assert max(run.count("finished") for run in runs) == MOST_WAITING
