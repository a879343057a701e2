"""What a job's work cost."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from minimoto.client.report import Cost, cost
from minimoto.core.job import Job, Location
from minimoto.core.new_job import new_job
from minimoto.core.task import Task, TaskKey, TaskState
from minimoto.memory.cloud import SETTINGS
from minimoto.steps import STEPS


def job() -> Job:
    made = new_job(id="trip-1", name="trip", owner="me", pipeline="fit | video", steps=STEPS, inputs="in",
                   outputs=Location("out", ""), now=0.0, upload_seconds=60.0)  # fmt: skip
    return replace(made, photos=10, stages=(replace(made.stages[0], tasks=2), replace(made.stages[1], tasks=1)))


def records(id: str, stage: int) -> list[Task]:
    done = Task(TaskKey(id, stage, 0), state=TaskState.DONE, seconds=90.0)
    return [done, replace(done, state=TaskState.RUNNING, seconds=0.0)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"price_per_hour": 2.0}, Cost(180.0, 0.1)),
        ({"price_per_hour": 2.0, "slots": 3}, Cost(60.0, 1 / 30)),
        ({"service_type": "no.such", "endpoint_url": ""}, Cost(180.0, None)),
    ],
)
def test_the_time_of_finished_tasks_is_paid(changes: dict[str, Any], expected: Cost) -> None:
    cloud = SimpleNamespace(config=replace(SETTINGS, **changes), jobs=SimpleNamespace(tasks=records))
    found = cost(cloud, job())  # type: ignore[arg-type]
    assert found.seconds == expected.seconds
    assert found.dollars == (None if expected.dollars is None else pytest.approx(expected.dollars))


def test_it_is_told_with_a_photos_share() -> None:
    assert Cost(180.0, 0.1).text(10) == "about $0.10, $0.0100 a photo: 3 min of a node"
    assert Cost(180.0, None).text(10) == "3 min of a node"
    assert Cost(180.0, 0.0).text(10) == "3 min of a node"
