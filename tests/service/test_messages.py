"""Whatever lies in the queue: no message makes a worker read or write outside, or die."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import Bench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minimoto.attempt import Outcome
from minimoto.core.job import JobState, Location
from minimoto.ports import Message
from tests.submitting import create, message, photo, submit


def transform(inputs: str, outputs: str, folder: str) -> str:
    return f"transform?bucket_input_name={inputs}:bucket_output_name={outputs}:folder_name={folder}"


BAD = [
    "",
    "{",
    "null",
    "[1, 2]",
    "\x00\x01",
    "[" * 4000,
    "x" * 200_000,
    json.dumps({"v": 2, "job": "trip", "stage": 0, "task": 0}),
    json.dumps({"v": 1}),
    json.dumps({"v": 1, "job": "../../etc", "stage": 0, "task": 0}),
    json.dumps({"v": 1, "job": "unknown-job", "stage": 0, "task": 0}),
    json.dumps({"v": 1, "job": "trip", "stage": -1, "task": 0}),
    json.dumps({"v": 1, "job": "trip", "stage": 0, "task": 10**30}),
    json.dumps({"v": 1, "job": ["trip"], "stage": 0, "task": 0}),
    json.dumps({"v": True, "job": "trip", "stage": 0, "task": 0}),
    "transform?",
    "transform?bucket_input_name=memory-in",
    transform("another-deployment", "memory-out", "trip"),
    transform("memory-in", "another-deployment", "trip"),
    transform("memory-in", "memory-out", "../../secret"),
    transform("memory-in", "memory-out", ".."),
    transform("memory-in", "memory-out", "a/b"),
    transform("memory-in", "memory-out", ""),
    transform("memory-in", "memory-out", "no-such-folder"),
    transform("MEMORY IN", "memory-out", "trip"),
]


@pytest.mark.parametrize("body", BAD, ids=lambda body: repr(body[:60]))
def test_what_no_worker_may_act_on_is_buried_with_a_reason(bench: Bench, body: str) -> None:
    # As from a queue that takes anything; SQS itself refuses the empty and the unprintable.
    assert bench.worker.work(Message("m", body, "gone")) is Outcome.BURIED
    (reason,) = bench.buried()
    assert len(reason) > 15
    assert bench.store.touched in ([], ["s3://memory-in/no-such-folder/"])
    assert bench.sandbox.asked == []


@pytest.mark.parametrize("change", [{"stage": 1}, {"stage": 99}, {"task": 1}, {"task": 399}])
def test_tasks_that_a_job_does_not_have(bench: Bench, steps: Any, change: dict[str, int]) -> None:
    job = submit(bench.cloud, "fit | video", {"a.jpg": photo()}, steps)
    before = bench.cloud.jobs.get(job.id)
    bench.store.touched.clear()
    bench.cloud.queue.receive()
    assert bench.work(message(job.id, **change)) is Outcome.BURIED
    assert "has no task" in bench.buried()[0]
    assert bench.cloud.jobs.get(job.id) == before
    assert bench.store.touched == []


def test_a_job_whose_inputs_are_missing_is_never_begun(bench: Bench, steps: Any) -> None:
    job = create(bench.cloud, "fit", steps)
    assert bench.work(message(job.id)) is Outcome.BURIED
    assert bench.cloud.jobs.get(job.id).state is JobState.NOT_READY_TO_PROCESS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
bodies = st.one_of(
    st.text(min_size=1, max_size=200),
    json_values.map(json.dumps),
    st.fixed_dictionaries(
        {"v": st.just(1) | json_values, "job": json_values, "stage": json_values, "task": json_values}
    ).map(json.dumps),
    st.builds(transform, st.text(max_size=30), st.text(max_size=30), st.text(max_size=30)),
    st.builds(transform, st.just("memory-in"), st.just("memory-out"), st.text(max_size=30)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
def test_anything_else_is_buried_too(bench: Bench, body: str) -> None:
    bench.store.touched.clear()
    assert bench.worker.work(Message("m", body, "gone")) is Outcome.BURIED
    (reason,) = bench.buried()
    assert reason
    assert "\n" not in reason
    for touched in bench.store.touched:
        assert touched.startswith("s3://memory-in/")
        assert ".." not in touched


EVIL_NAMES = ["../../evil.jpg", "/etc/passwd", "..", ".hidden", "a\x00b.jpg", "a/b.jpg", "x" * 300, ""]


@pytest.mark.parametrize("name", EVIL_NAMES, ids=repr)
def test_a_forged_manifest_fails_the_job_and_reads_nothing(bench: Bench, steps: Any, name: str) -> None:
    job = submit(bench.cloud, "fit", {"a.jpg": photo()}, steps)
    forged = json.dumps({"v": 1, "photos": [[name, "a.jpg", 1]]}).encode()
    bench.store.write(job.inputs / "in/manifest.json", forged)
    bench.store.touched.clear()
    assert bench.work_next() is Outcome.REFUSED
    assert "is not allowed" in bench.cloud.jobs.get(job.id).error
    assert bench.store.touched == [f"s3://memory-in/{job.id}/in/manifest.json"]
    assert bench.sandbox.asked == []


def test_a_manifest_for_another_number_of_photos(bench: Bench, steps: Any) -> None:
    job = submit(bench.cloud, "fit", {"a.jpg": photo(), "b.jpg": photo()}, steps, task_seconds=0.4)
    bench.store.write(job.inputs / "in/manifest.json", b'{"v": 1, "photos": []}')
    assert bench.work_next() is Outcome.REFUSED
    assert "not those it was planned for" in bench.cloud.jobs.get(job.id).error


def test_files_keep_their_names_for_people(bench: Bench, steps: Any) -> None:
    photos = {"beach 1.JPG": b"1", "Größe.png": b"2", "a/beach_1.jpg": b"3"}
    job = submit(bench.cloud, "faulty:copy", photos, steps, task_seconds=3000)
    assert bench.work_next() is Outcome.DONE
    names = [Path(path).name for path in bench.sandbox.asked[0].inputs]
    assert names == ["beach_1.JPG", "Größe.png", "a_beach_1.jpg"]
    assert bench.sandbox.asked[0].name == "trip"
    same = submit(bench.cloud, "faulty:copy", {"b 1.jpg": b"1", "b_1.jpg": b"2"}, steps, task_seconds=3000)
    assert bench.work_next() is Outcome.DONE
    assert [Path(path).name for path in bench.sandbox.asked[1].inputs] == ["000000-b_1.jpg", "000001-b_1.jpg"]
    assert {bench.cloud.jobs.get(each.id).state for each in (job, same)} == {JobState.PROCESSING_SUCCESSFUL}


def test_the_old_text_form_makes_a_film_of_a_folder(bench: Bench, steps: Any) -> None:
    for name in ("10.jpg", "9.jpg", ".hidden.jpg", "notes.txt", "deeper/1.jpg"):
        bench.store.write(Location("memory-in", f"trip/{name}"), photo())
    body = transform("memory-in", "memory-out", "trip")
    assert bench.work(body) is Outcome.DONE
    (job,) = bench.cloud.jobs.recent()
    assert (job.pipeline, job.photos, job.state) == ("video", 2, JobState.READY_TO_PROCESS)
    copied = [stored.location.key.partition("/in/")[2] for stored in bench.store.list(job.inputs / "in/")]
    assert copied == ["000000-9.jpg", "000001-10.jpg", "manifest.json"]
    assert (str(job.outputs), job.name) == ("s3://memory-out/", "trip")
    assert job.id.startswith("trip-")


def test_the_old_text_form_delivered_twice_is_one_job(bench: Bench) -> None:
    bench.store.write(Location("memory-in", "trip/1.jpg"), photo())
    once = Message("m-1", transform("memory-in", "memory-out", "trip"), "gone")
    assert [bench.worker.work(once), bench.worker.work(once)] == [Outcome.DONE, Outcome.DONE]
    assert len(bench.cloud.jobs.recent()) == 1
    counts = bench.cloud.queue.counts()
    assert counts.visible == 1


def test_the_old_text_form_delivered_once_more_needs_no_photos(bench: Bench) -> None:
    """Its film may be made, and its folder removed, before a message whose deletion was lost comes back."""
    bench.store.write(Location("memory-in", "trip/1.jpg"), photo())
    once = Message("m-1", transform("memory-in", "memory-out", "trip"), "gone")
    assert bench.worker.work(once) is Outcome.DONE
    bench.store.remove(Location("memory-in", "trip/"))
    assert bench.worker.work(once) is Outcome.DONE
    assert bench.buried() == []
    assert [job.photos for job in bench.cloud.jobs.recent()] == [1]


def test_a_copy_that_was_cut_short_goes_on_at_redelivery(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.write(Location("memory-in", "trip/1.jpg"), photo())
    again: Callable[..., None] = bench.store.write
    once = Message("m-1", transform("memory-in", "memory-out", "trip"), "gone")
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bench.worker.work(once)
    assert bench.cloud.jobs.recent()[0].state is JobState.NOT_READY_TO_PROCESS
    assert bench.store.write == again
    assert bench.worker.work(once) is Outcome.DONE
    assert bench.cloud.jobs.recent()[0].state is JobState.READY_TO_PROCESS
