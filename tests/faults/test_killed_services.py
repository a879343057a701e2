"""A service is killed with SIGKILL at each boundary between receive and delete: nothing is lost, doubled or left."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from minimoto.core.task import TaskState
from tests.faults.conftest import ROOT, Node, outputs
from tests.submitting import photo, submit

pytestmark = pytest.mark.fault

BOUNDARIES = (
    "received",
    "claimed",
    "started",
    "loaded",
    "ran",
    "uploaded",
    "finished",
    "advanced",
    "deleted",
)
PHOTOS = {f"beach {number}.jpg": photo(number * 40, (160, 120)) for number in range(3)}


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, dict[str, bytes]]:
    """What each pipeline makes when nobody is killed, kept for the module."""
    return {}


def expected(node: Node, pipeline: str, steps: Any, kept: dict[str, dict[str, bytes]]) -> dict[str, bytes]:
    if pipeline not in kept:
        kept[pipeline] = outputs(node.cloud, node.finished(submit(node.cloud, pipeline, PHOTOS, steps)))
    return kept[pipeline]


def test_the_boundaries_are_all_there_are() -> None:
    sources = [(ROOT / "minimoto" / f"{name}.py").read_text() for name in ("worker", "attempt", "completions")]
    named = {name for source in sources for name in re.findall(r'checkpoint\("(\w+)"\)', source)}
    assert named == set(BOUNDARIES)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_photos_come_out_the_same(
    node: Node, steps: Any, undisturbed: dict[str, dict[str, bytes]], boundary: str
) -> None:
    pipeline = "fit:64x64"
    job = submit(node.cloud, pipeline, PHOTOS, steps, task_seconds=0.4)
    service = node.start(kill_at=boundary)
    assert service.wait(15) == -9
    done = node.finished(job)
    tasks = node.cloud.jobs.tasks(job.id, 0)
    assert [task.state for task in tasks] == [TaskState.DONE] * 3
    attempts = sum(task.attempt for task in tasks)
    # What was killed before it was recorded is done again; so may be the task that was begun meanwhile.
    assert attempts in {"received": (3,), "finished": (3, 4), "advanced": (3, 4), "deleted": (3, 4)}.get(
        boundary, (4, 5)
    )
    assert done.stages[0].outputs == 3
    assert outputs(node.cloud, done) == expected(node, pipeline, steps, undisturbed)
    node.check_clean()


def test_a_film_comes_out_the_same(make_node: Callable[..., Node], steps: Any, undisturbed: dict[str, Any]) -> None:
    pipeline = "video:size=64x64,seconds=0.2,transition=cut,fps=10"
    node = make_node(lease=3.0)
    wanted = expected(node, pipeline, steps, undisturbed)
    node.stop()
    job = submit(node.cloud, pipeline, PHOTOS, steps)
    assert node.start(kill_at="uploaded").wait(15) == -9
    assert outputs(node.cloud, node.finished(job)) == wanted
    node.check_clean()
