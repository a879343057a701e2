"""Documents survive the table: every field, every value."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.aws.documents import FORMAT, from_json, number, number_of, read_document, to_json, write_document
from minimoto.core.events import TaskDone, TaskFailed, UploadFinished
from minimoto.core.job import Entry, Job, JobState, Location, Stage
from minimoto.core.lease import finished
from minimoto.core.lifecycle import advance
from minimoto.core.manifest import MOST_PHOTOS
from minimoto.core.node import NodeReport
from minimoto.core.pipeline import MOST_STAGES
from minimoto.core.shards import MOST_TASKS, shard_bounds, shard_size, task_count
from minimoto.core.task import Skipped, Task, TaskKey, TaskResult, try_claim
from minimoto.errors import CloudError

TIMES = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)
STAGES = st.builds(
    Stage,
    step=TEXTS,
    params=st.dictionaries(TEXTS, TEXTS, max_size=3),
    done=st.frozensets(st.integers(0, 400), max_size=5),
    per=st.sampled_from(["photo", "folder"]),
    started=st.none() | TIMES,
    finished=st.none() | TIMES,
)
JOBS = st.builds(
    Job,
    id=TEXTS,
    name=TEXTS,
    owner=TEXTS,
    pipeline=TEXTS,
    error=TEXTS,
    stages=st.lists(STAGES, max_size=3).map(tuple),
    history=st.lists(st.builds(Entry, at=TIMES, what=TEXTS, detail=TEXTS), max_size=3).map(tuple),
    results=st.lists(TEXTS, max_size=3).map(tuple),
    attachments=st.lists(TEXTS, max_size=3).map(tuple),
    created=TIMES,
    updated=TIMES,
    upload_expires=TIMES,
    state=st.sampled_from(JobState),
)
JOB = Job("a", "a", "o", "video", (Stage("video"),), Location("in", "a/"), Location("out", ""), 1.5, 2.0, 3.0)


ENTRIES = st.lists(
    st.builds(Entry, at=TIMES, what=TEXTS, detail=TEXTS, task=st.none() | st.integers(0, 400)), max_size=3
)
TASKS = st.builds(
    Task,
    owner=TEXTS,
    lease_until=TIMES,
    progress=TIMES,
    seconds=TIMES,
    error=TEXTS,
    result=st.builds(
        TaskResult,
        outputs=st.lists(TEXTS, max_size=3).map(tuple),
        skipped=st.lists(st.builds(Skipped), max_size=3).map(tuple),
    ),
    events=ENTRIES.map(tuple),
)
NODES = st.builds(NodeReport, beat=TIMES, progressed=TIMES, task=TEXTS, failures=st.integers(0, 9))


@pytest.mark.parametrize(("kind", "documents"), [(Job, JOBS), (Task, TASKS), (NodeReport, NODES)])
def test_nothing_is_lost(kind: Any, documents: st.SearchStrategy[Any]) -> None:
    @given(documents)
    def check(document: Any) -> None:
        back = read_document(write_document(document), kind)
        assert back == document
        for field in fields(kind):
            assert type(getattr(back, field.name)) is type(getattr(document, field.name)), field.name

    check()


@given(TIMES)
def test_numbers_stay_the_same_float(value: float) -> None:
    assert number_of({"x": number(value)}, "x") == value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be stored"):
        number(value)
    with pytest.raises(ValueError):
        to_json(replace(JOB, created=value))


def test_equal_documents_are_the_same_text() -> None:
    stages = (Stage("fit", done=frozenset({9, 1, 5})),)
    assert to_json(replace(JOB, stages=stages)) == to_json(replace(JOB, stages=stages))
    assert '"done":[1,5,9]' in to_json(replace(JOB, stages=stages))


@dataclass(frozen=True)
class Before:
    name: str


@dataclass(frozen=True)
class After:
    name: str
    colour: str = "red"


def test_a_new_field_takes_its_default_from_an_old_document() -> None:
    assert from_json(to_json(Before("a")), After) == After("a", "red")


def test_a_field_that_is_not_known_is_refused_rather_than_lost() -> None:
    item = write_document(After("a", "blue"))
    with pytest.raises(CloudError, match=r"damaged.*colour"):
        read_document(item, Before)


def test_a_document_of_a_newer_minimoto_is_refused() -> None:
    item = {**write_document(JOB), "format": number(FORMAT + 1)}
    with pytest.raises(CloudError, match="newer minimoto"):
        read_document(item, Job)


@pytest.mark.parametrize(
    "body",
    ["", "[]", "null", "{}", '{"id": 3}', to_json(JOB).replace('"in"', "7"), to_json(JOB).replace("1.5", '"now"')],
)
def test_a_damaged_document_is_one_clear_line(body: str) -> None:
    item = {"pk": {"S": "JOB#a"}, **write_document(JOB), "body": {"S": body}}
    with pytest.raises(CloudError, match=r"^Job JOB#a: the document in the table is damaged: [^\n]+$"):
        read_document(item, Job)


def test_a_state_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="LATER"):
        from_json(to_json(JOB).replace("NOT_READY_TO_PROCESS", "LATER"), Job)
    with pytest.raises(ValueError, match="none of"):
        from_json(to_json(JOB).replace('"folder"', '"heap"'), Job)


def test_the_largest_job_fits_an_item() -> None:
    """One that cannot be saved could never end."""
    id = "x" * 69
    stages = tuple(Stage("fit", {"size": "640x480"}, "photo", 1) for _ in range(MOST_STAGES))
    job = Job(id, "ø" * 100, "ana@laptop", "fit|" * 20, stages, Location("in", f"{id}/"), Location("out", f"{id}/"),
              0.1, 0.1, 0.1)  # fmt: skip
    job, _ = advance(job, UploadFinished(MOST_PHOTOS), 0.1)
    each = MOST_PHOTOS // MOST_TASKS
    for stage in range(MOST_STAGES):
        for task in range(MOST_TASKS):
            for attempt in (1, 2, 3):
                job, _ = advance(job, TaskFailed(stage, task, "why " * 500, True, attempt, "i-0123456789abcdef0"), 1e9)
            names = (f"{task * each + number:06d}-{'y' * 100}.jpg" for number in range(each))
            results = tuple((job.outputs / name).key for name in names) if stage == MOST_STAGES - 1 else ()
            job, _ = advance(job, TaskDone(stage, task, each, results=results, node="i-0123456789abcdef0"), 1e9)
    assert job.state is JobState.PROCESSING_SUCCESSFUL
    assert job.stages[-1].outputs == MOST_PHOTOS
    assert job.results[0].endswith(f"/000000-{'y' * 100}.jpg")
    assert len(to_json(job)) < 380_000


def test_a_reason_of_any_length_fits_an_item() -> None:
    job, _ = advance(JOB, UploadFinished(1), 0.1)
    job, _ = advance(job, TaskFailed(0, 0, "x" * 1_000_000, retry=False), 0.2)
    assert job.state is JobState.PROCESSING_FAILED
    assert len(to_json(job)) < 10_000


@pytest.mark.parametrize("left_out", [False, True])
def test_the_record_of_a_task_with_very_many_inputs_fits_an_item(left_out: bool) -> None:
    """One that cannot be saved is done again for ever."""
    size = shard_size(0.001)
    tasks = task_count(MOST_PHOTOS, size)
    names = [f"{number:06d}-{'y' * 100}.jpg" for number in range(*shard_bounds(MOST_PHOTOS, tasks, 0))]
    skipped = tuple(Skipped(f"{'y' * 100}.jpg", "it is damaged, " * 1000) for _ in names)
    result = TaskResult(skipped=skipped) if left_out else TaskResult(tuple(names))
    claimed = try_claim(Task(TaskKey("x" * 69, 0, 0)), "i-1/0/x", 1.0, 60).task
    done = finished(claimed, "i-1/0/x", 2.0, 1.0, result)
    assert done is not None
    assert len(to_json(done)) < 300_000
