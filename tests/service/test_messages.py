"""Whatever lies in the queue: no message makes a worker read or write outside, or die."""

from __future__ import annotations

import errno
import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minimoto.attempt import Attempts, Outcome
from minimoto.completions import AGAIN_SOON, Completions
from minimoto.core.job import JobState, Location
from minimoto.core.retry import MOST_ATTEMPTS, MOST_SECONDS
from minimoto.core.task import TaskKey, TaskState
from minimoto.deliveries import Deliveries
from minimoto.errors import CloudError, NotFound
from minimoto.folder_request import FolderRequests
from minimoto.heartbeat import Heartbeat, Pulse
from minimoto.interruption import Stop
from minimoto.known_jobs import KnownJobs
from minimoto.logs import open_log
from minimoto.memory import MemoryCloud, MemoryStore
from minimoto.ports import Message
from minimoto.sandbox import Answer, Request
from minimoto.task_files import PARTS, TaskFiles
from minimoto.work_folder import clear
from minimoto.worker import Worker
from tests.submitting import create, dispatcher, message, photo, submit


class SpyStore(MemoryStore):
    """Notes every object that is read or written."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.touched: list[str] = []

    def _get(self, source: Location) -> Any:
        self.touched.append(str(source))
        return super()._get(source)

    def _put(self, to: Location, *more: Any) -> None:
        self.touched.append(str(to))
        super()._put(to, *more)

    def list(self, prefix: Location) -> Any:
        self.touched.append(str(prefix))
        return super().list(prefix)


@dataclass
class CopyingSandbox:
    """Stands in for the child process: copies inputs to outputs."""

    asked: list[Request] = field(default_factory=list)

    def run(self, request: Request, *_: Any) -> Answer:
        self.asked.append(request)
        outputs = []
        for path in map(Path, request.inputs):
            output = Path(request.out) / f"{request.first:06d}-{path.name}"
            output.write_bytes(path.read_bytes())
            outputs.append(output)
        return Answer(tuple(outputs))


@dataclass
class Bench:
    """A worker on ports in memory whose clock stands still."""

    cloud: MemoryCloud
    worker: Worker
    sandbox: CopyingSandbox
    store: SpyStore

    def work(self, body: str) -> Outcome:
        self.cloud.queue.send([body])
        return self.work_next()

    def work_next(self) -> Outcome:
        (received,) = self.cloud.queue.receive()
        outcome = self.worker.work(received)
        self.worker.attempts.completions.settle()
        return outcome

    def buried(self) -> list[str]:
        dead = self.cloud.queue.dead()
        self.cloud.queue.forget_dead([each.receipt for each, _ in dead])
        return [reason for _, reason in dead]


@pytest.fixture
def bench(clock_cloud: MemoryCloud, steps: Any, tmp_path: Path) -> Iterator[Bench]:
    store = SpyStore(clock_cloud.config, clock_cloud.clock)
    cloud = replace(clock_cloud, store=store)
    log, stop = open_log(stream=io.StringIO()), Stop()
    before = set(threading.enumerate())
    files = TaskFiles(cloud.jobs, store)
    deliveries = Deliveries(cloud.queue, cloud.config.receive_limit, log)
    deliveries.start()
    known = KnownJobs(cloud.jobs)
    completions = Completions(
        "i-0test", cloud.jobs, cloud.clock, dispatcher(cloud), known, deliveries, lambda name: None
    )
    completions.start()
    sandbox = CopyingSandbox()
    folder = tmp_path / "work"
    folder.mkdir()
    clear(folder, PARTS)
    attempts = Attempts(
        node="i-0test",
        folder=folder,
        jobs=cloud.jobs,
        clock=cloud.clock,
        dispatcher=dispatcher(cloud),
        known=known,
        heartbeat=Heartbeat(
            cloud.queue, cloud.jobs, cloud.nodes, cloud.clock, Pulse("i-0test", 0, 20.0, 120.0), stop, log
        ),
        sandbox=sandbox,  # type: ignore[arg-type]
        files=files,
        deliveries=deliveries,
        completions=completions,
        steps=steps,
        checkpoint=lambda name: None,
    )
    requests = FolderRequests(cloud.jobs, store, dispatcher(cloud), cloud.clock, cloud.config, steps)
    yield Bench(cloud, Worker("i-0test/0", 120.0, attempts, requests, log), sandbox, store)
    completions.close()
    deliveries.close()
    files.close()
    assert set(threading.enumerate()) - before == set()


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


def test_a_message_that_was_often_in_the_way_is_sent_anew(bench: Bench, steps: Any) -> None:
    """Deliveries that were no fault of the message must not end in the dead-letter queue."""
    job = submit(bench.cloud, "fit", {"a.jpg": photo()}, steps)
    key = TaskKey(job.id, 0, 0)
    for _ in range(3 * bench.cloud.config.receive_limit):
        bench.cloud.jobs.break_lease(key, "other/0/1", bench.cloud.clock.now(), "so that it can be claimed")
        claim = bench.cloud.jobs.claim(key, "other/0/1", bench.cloud.clock.now(), 100.0)
        assert claim.task.owner == "other/0/1"
        assert bench.work_next() is Outcome.BUSY
        bench.cloud.clock.sleep(102.0)
    assert bench.buried() == []
    counts = bench.cloud.queue.counts()
    assert counts.visible == 1


def _full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _refusing(error: Exception) -> Callable[..., None]:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    return refuse


DENIED = CloudError("s3://memory-out/x: uploading: not allowed (AccessDenied)", code="AccessDenied")
LASTING = {
    "a bucket's policy": ("upload", _refusing(DENIED), "not allowed"),
    "no such bucket": ("upload", _refusing(NotFound("bucket memory-out: there is no such bucket")), "no such bucket"),
    "a disk that is too small": ("download", _full, "the disk is full: No space left on device"),
}


@pytest.mark.parametrize("what", LASTING)
def test_what_is_refused_each_time_fails_the_job_and_fences_no_node(
    bench: Bench, steps: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    call, refuse, reason = LASTING[what]
    monkeypatch.setattr(bench.store, call, refuse)
    job = submit(bench.cloud, "faulty:copy", {"a.jpg": b"A"}, steps)
    for _ in range(MOST_ATTEMPTS):
        assert bench.work_next() is Outcome.REFUSED
        bench.cloud.clock.sleep(MOST_SECONDS)
    job = bench.cloud.jobs.get(job.id)
    assert job.state is JobState.PROCESSING_FAILED
    assert reason in job.error
    assert bench.cloud.jobs.task(TaskKey(job.id, 0, 0)).attempt == MOST_ATTEMPTS


def test_what_AWS_refuses_for_a_moment_is_not_counted(
    bench: Bench, steps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        bench.store, "upload", _refusing(CloudError("uploading: throttled (SlowDown)", code="SlowDown"))
    )
    job = submit(bench.cloud, "faulty:copy", {"a.jpg": b"A"}, steps)
    for _ in range(2 * bench.cloud.config.receive_limit):
        assert bench.work_next() is Outcome.GIVEN_BACK
        bench.cloud.clock.sleep(MOST_SECONDS)
    assert bench.cloud.jobs.task(TaskKey(job.id, 0, 0)).attempt == 0


@pytest.mark.parametrize(("code", "visible"), [("ValidationException", 0), ("ThrottlingException", 1)])
def test_a_result_that_is_refused_each_time_is_not_sent_anew(
    bench: Bench, steps: Any, monkeypatch: pytest.MonkeyPatch, code: str, visible: int
) -> None:
    """Its message keeps its count of deliveries, and ends in the dead-letter queue."""
    monkeypatch.setattr(bench.cloud.jobs, "finish", _refusing(CloudError(f"writing: refused ({code})", code=code)))
    submit(bench.cloud, "faulty:copy", {"a.jpg": b"A"}, steps)
    assert bench.work_next() is Outcome.DONE
    bench.cloud.clock.sleep(AGAIN_SOON)
    counts = bench.cloud.queue.counts()
    assert counts.visible == visible
    assert counts.in_flight == 1 - visible


@pytest.mark.parametrize("said", [True, False], ids=["the watchdog said why", "nobody saw it"])
def test_a_task_whose_worker_dies_each_time_is_given_up(bench: Bench, steps: Any, said: bool) -> None:
    job = submit(bench.cloud, "faulty:copy", {"a.jpg": b"A"}, steps)
    key, clock = TaskKey(job.id, 0, 0), bench.cloud.clock
    for _ in range(MOST_ATTEMPTS):
        bench.cloud.queue.receive()
        bench.cloud.jobs.claim(key, "i-0dead/0/x", clock.now(), 120.0)
        if said:
            bench.cloud.jobs.break_lease(key, "i-0dead/0/x", clock.now(), "the node is gone")
        clock.sleep(120.0)
    assert bench.work_next() is Outcome.REFUSED
    assert bench.sandbox.asked == []
    job = bench.cloud.jobs.get(job.id)
    assert job.state is JobState.PROCESSING_FAILED
    assert ("the node is gone" if said else "its worker died each time") in job.error
    assert bench.cloud.jobs.task(key).state is TaskState.FAILED


@pytest.mark.parametrize("answer", [Answer((Path("a"), Path("b"))), Answer((), (("a.jpg", "why"), ("b.jpg", "why")))])
def test_a_step_answers_for_no_more_photos_than_it_was_given(
    bench: Bench, steps: Any, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    job = submit(bench.cloud, "faulty:copy", {"a.jpg": b"A"}, steps)
    monkeypatch.setattr(bench.sandbox, "run", lambda *_: answer)
    assert bench.work_next() is Outcome.FAILED
    error = bench.cloud.jobs.task(TaskKey(job.id, 0, 0)).error
    assert error == f"it answered with {len(answer.outputs)} files and {len(answer.skipped)} photos left out, of 1"
