"""Finding a job again, waiting for it, what is told of it, and fetching its results."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from minimoto.client.fetch import fetch
from minimoto.client.find import find_job, owner
from minimoto.client.report import history, job_document, skipped
from minimoto.client.submit import Request, prepare, submit
from minimoto.client.watch import MOST_UNREACHABLE, look, wait
from minimoto.core.events import CancelRequested, Limited
from minimoto.core.job import Job, JobState, Location
from minimoto.core.task import Skipped
from minimoto.dispatch import Dispatcher
from minimoto.errors import CloudError, InvalidInput, JobFailed, NotFound, TimedOut, UsageError
from minimoto.memory import FakeClock, MemoryCloud, memory_cloud
from minimoto.memory.cloud import SETTINGS
from tests.client.conftest import Heard, MakeFolder, Worker

SMALL_TASKS = replace(SETTINGS, task_seconds=0.8)
"""Two photos a task for ``fit``."""


def transfer(title: str, size: int, files: int):  # type: ignore[no-untyped-def]
    return nullcontext(lambda moved: None)


@pytest.fixture
def cloud() -> MemoryCloud:
    return memory_cloud(SMALL_TASKS)


@pytest.fixture
def job(cloud: MemoryCloud, folder: MakeFolder, records: Path) -> Job:
    """Six photos on their way, in three tasks and a film."""
    request = Request(folder=folder(6), pipeline="fit | video", owner="ana@laptop")
    return submit(prepare(request, cloud), cloud, Heard(), records=records).job


class Clock(FakeClock):
    """Does something each time it is slept on."""

    def __init__(self, *steps: object) -> None:
        super().__init__()
        self.steps = list(steps)
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        super().sleep(seconds)
        if self.steps:
            self.steps.pop(0)()  # type: ignore[operator]


def test_a_job_is_found_by_its_id_or_the_beginning_of_its_id_or_name(cloud: MemoryCloud, job: Job) -> None:
    for text in (job.id, job.id[:-2], "tr", f" {job.id} "):
        assert find_job(cloud.jobs, text).id == job.id


def test_a_job_that_is_not_there_is_one_line_with_what_comes_near(cloud: MemoryCloud, job: Job) -> None:
    with pytest.raises(NotFound, match="there is no job tirp; did you mean trip"):
        find_job(cloud.jobs, "tirp")
    with pytest.raises(NotFound, match="minimoto list shows"):
        find_job(cloud.jobs, "zzzzzzzzzz")
    for text in ("", "  ", "a/b", "\x1b[31m"):
        with pytest.raises(NotFound) as error:
            find_job(cloud.jobs, text)
        assert str(error.value).isprintable()


def test_several_jobs_of_one_name_must_be_told_apart(cloud: MemoryCloud, job: Job) -> None:
    cloud.jobs.create(replace(job, id="trip-zz"))
    with pytest.raises(UsageError, match=rf"2 jobs begin with trip: .*{job.id}"):
        find_job(cloud.jobs, "trip")
    assert find_job(cloud.jobs, "trip-zz").id == "trip-zz"
    cloud.jobs.create(replace(job, id="trip"))
    assert find_job(cloud.jobs, "trip").id == "trip"  # a whole id is never unclear


def test_the_owner_is_the_setting_or_who_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert owner(replace(SETTINGS, owner="team")) == "team"
    monkeypatch.setattr("getpass.getuser", lambda: "ana")
    monkeypatch.setattr("socket.gethostname", lambda: "laptop.home.arpa")
    assert owner(SETTINGS) == "ana@laptop"


def test_waiting_shows_every_step_and_ends_with_the_job(cloud: MemoryCloud, job: Job) -> None:
    worker, seen = Worker(cloud), []
    clock = Clock(*[lambda: worker.work(1)] * 4)
    ended = wait(replace(cloud, clock=clock), job.id, lambda j, p: seen.append((j.state, p)), note=pytest.fail)
    assert ended.state is JobState.PROCESSING_SUCCESSFUL
    assert [state for state, _ in seen] == [
        JobState.READY_TO_PROCESS,
        *[JobState.BEING_PROCESSED] * 3,
        JobState.PROCESSING_SUCCESSFUL,
    ]
    fractions = [progress.fraction for _, progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert [s.done for s in seen[1][1].stages] == [2, 0]


def test_looks_become_rarer_and_stop_at_the_deadline(cloud: MemoryCloud, job: Job) -> None:
    clock = Clock()
    start = clock.now()
    with pytest.raises(TimedOut, match="the deadline has passed; the job goes on"):
        wait(replace(cloud, clock=clock), job.id, lambda j, p: None, deadline=start + 100, note=pytest.fail)
    assert clock.now() == pytest.approx(start + 100)
    growing = clock.slept[:-1]
    assert growing == sorted(growing)
    assert (growing[0], growing[-1]) == (0.25, 3.0)
    assert cloud.jobs.get(job.id).state is JobState.READY_TO_PROCESS


def test_what_keeps_machines_from_a_job_is_told_once(cloud: MemoryCloud, job: Job) -> None:
    apply = Dispatcher(cloud.jobs, cloud.queue, cloud.store, cloud.topic, cloud.clock).apply
    reasons = ["max_nodes", "max_nodes", ""]
    steps = [lambda reason=reason: apply(job.id, Limited(reason)) for reason in reasons]
    notes: list[str] = []
    ended = wait(replace(cloud, clock=Clock(*steps, lambda: apply(job.id, CancelRequested()))), job.id,
                 lambda j, p: None, note=notes.append)  # fmt: skip
    assert notes == ["held back: max_nodes", "no longer held back"]
    assert job_document(ended)["limit"] == ""


def test_a_budget_goes_with_the_job(cloud: MemoryCloud, folder: MakeFolder, records: Path) -> None:
    request = Request(folder=folder(2), pipeline="fit", owner="ana@laptop", budget=2.5)
    sent = submit(prepare(request, cloud), cloud, Heard(), records=records).job
    assert job_document(cloud.jobs.get(sent.id))["budget"] == 2.5


def test_a_lost_connection_is_told_once_and_outlived(
    cloud: MemoryCloud, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    get = cloud.jobs.get

    def refuse(id: str) -> Job:
        raise CloudError("table jobs: could not connect")

    def lose() -> None:
        monkeypatch.setattr(cloud.jobs, "get", refuse)

    def find() -> None:
        monkeypatch.setattr(cloud.jobs, "get", get)

    def end() -> None:
        find()
        Worker(cloud).work()

    lose()
    clock = Clock(lambda: None, lambda: None, find, lose, lambda: None, end)
    ended = wait(replace(cloud, clock=clock), job.id, lambda j, p: None, note=notes.append)
    assert ended.state is JobState.PROCESSING_SUCCESSFUL
    # Once each time that it was lost.
    assert notes == ["table jobs: could not connect; the job goes on, and so does this wait"] * 2


def test_a_connection_lost_for_too_long_and_a_refusal_end_the_wait(
    cloud: MemoryCloud, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = CloudError("table jobs: could not connect")

    def refuse(id: str) -> Job:
        raise error

    monkeypatch.setattr(cloud.jobs, "get", refuse)
    clock = Clock()
    with pytest.raises(CloudError, match="could not connect"):
        wait(replace(cloud, clock=clock), job.id, lambda j, p: None, note=lambda text: None)
    assert MOST_UNREACHABLE < clock.monotonic() < MOST_UNREACHABLE + 10
    error = CloudError("table jobs: not allowed", code="AccessDenied")
    clock = Clock()
    with pytest.raises(CloudError, match="not allowed"):
        wait(replace(cloud, clock=clock), job.id, lambda j, p: None, note=lambda text: None)
    assert clock.monotonic() == 0


def test_photos_left_out_are_told_with_their_reasons(cloud: MemoryCloud, job: Job) -> None:
    Worker(cloud, broken=("photo 2.jpg", "photo 5.jpg")).work()
    ended = cloud.jobs.get(job.id)
    left_out = skipped(cloud, ended)
    assert left_out == tuple(Skipped(f"photo {n}.jpg", "the file is cut short") for n in (2, 5))
    document = job_document(ended, look(cloud, ended), left_out)
    assert document["skipped"][0] == {"name": "photo 2.jpg", "reason": "the file is cut short"}
    assert document["results"] == [document["output"]] == [f"s3://memory-out/{job.id}/trip.mp4"]
    assert (document["fraction"], document["state"]) == (1.0, "PROCESSING_SUCCESSFUL")


def test_history_is_the_jobs_and_the_tasks_in_one(cloud: MemoryCloud, job: Job) -> None:
    worker = Worker(cloud)
    worker.fail("the disk is full", retry=True)
    cloud.clock.advance(5)  # type: ignore[attr-defined]
    worker.work()
    entries = history(cloud, cloud.jobs.get(job.id))
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    told = [(e.what, e.stage, e.task, e.attempt) for e in entries]
    assert len(told) == len(set(told))
    assert ("task_failed", 0, 0, 1) in told
    assert ("failed", 0, 0, 1) not in told  # the same, as the task's record tells it
    assert ("claimed", 0, 0, 2) in told
    assert ("done", 1, 0, 1) in told
    assert told[0][0] == "created"
    assert "successful" in {what for what, *_ in told}


def test_fetching_makes_whole_files_and_leaves_those_that_are_there(
    cloud: MemoryCloud, job: Job, tmp_path: Path
) -> None:
    Worker(cloud).work()
    ended, out = cloud.jobs.get(job.id), tmp_path / "new" / "out"
    mask = os.umask(0o022)
    try:
        (film,) = fetch(cloud, ended, out, transfer)
    finally:
        os.umask(mask)
    assert film == out / "trip.mp4"
    assert film.read_bytes() == b"made of trip.mp4"
    assert film.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in out.iterdir()] == ["trip.mp4"]
    os.utime(film, (1, 1))
    assert fetch(cloud, ended, out, transfer) == (film,)
    assert film.stat().st_mtime == 1


def test_of_very_many_results_all_are_fetched(
    cloud: MemoryCloud, folder: MakeFolder, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minimoto.core.lifecycle.MOST_RESULTS", 4)
    request = Request(folder=folder(6), pipeline="fit", owner="ana@laptop")
    job = submit(prepare(request, cloud), cloud, Heard(), records=records).job
    Worker(cloud).work()
    ended = cloud.jobs.get(job.id)
    document = job_document(ended)
    assert (len(document["results"]), document["result_count"]) == (4, 6)
    assert cloud.topic.announced[0][1].endswith("and 2 more\n")
    fetched = fetch(cloud, ended, tmp_path / "out", transfer)
    assert [path.name[:6] for path in fetched] == [f"{number:06d}" for number in range(6)]


def test_a_different_file_is_not_overwritten_unless_told_to(cloud: MemoryCloud, job: Job, tmp_path: Path) -> None:
    Worker(cloud).work()
    ended, film = cloud.jobs.get(job.id), tmp_path / "out" / "trip.mp4"
    film.parent.mkdir()
    film.write_bytes(b"mine")
    with pytest.raises(InvalidInput, match="a different file is there; use --force"):
        fetch(cloud, ended, film.parent, transfer)
    assert film.read_bytes() == b"mine"
    assert [path.name for path in film.parent.iterdir()] == ["trip.mp4"]
    fetch(cloud, ended, film.parent, transfer, force=True)
    assert film.read_bytes() == b"made of trip.mp4"


def test_what_is_there_with_the_same_digest_is_not_fetched_again(
    cloud: MemoryCloud, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Worker(cloud).work()
    ended = cloud.jobs.get(job.id)
    (film,) = fetch(cloud, ended, tmp_path / "out", transfer)
    cloud.store.upload(film, Location("memory-out", ended.results[0]), _sha256(film.read_bytes()))
    monkeypatch.setattr(cloud.store, "download", lambda *_: pytest.fail("fetched again"))
    moved: list[int] = []
    fetch(cloud, ended, film.parent, lambda *_: nullcontext(moved.append))
    assert sum(moved) == film.stat().st_size


@pytest.mark.parametrize(("broken", "says"), [("short", r"5 of 16 bytes arrived"), ("other", "not what was stored")])
def test_what_arrives_damaged_is_thrown_away(
    cloud: MemoryCloud, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, says: str
) -> None:
    Worker(cloud).work()
    ended = cloud.jobs.get(job.id)
    stored = tmp_path / "stored"
    stored.write_bytes(b"made of trip.mp4")
    cloud.store.upload(stored, Location("memory-out", ended.results[0]), _sha256(stored.read_bytes()))
    data = b"short" if broken == "short" else b"made of trip.mp3"
    monkeypatch.setattr(cloud.store, "download", lambda source, path, moved: path.write_bytes(data))
    with pytest.raises(CloudError, match=says):
        fetch(cloud, ended, tmp_path / "out", transfer)
    assert list((tmp_path / "out").iterdir()) == []


def test_there_is_nothing_to_fetch_before_the_end_or_after_a_failure(
    cloud: MemoryCloud, job: Job, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match=rf"no result yet .* minimoto status {job.id} --wait"):
        fetch(cloud, job, tmp_path, transfer)
    Worker(cloud).fail("no space left")
    with pytest.raises(JobFailed, match="no space left"):
        fetch(cloud, cloud.jobs.get(job.id), tmp_path, transfer)


def test_results_that_have_expired_are_said(cloud: MemoryCloud, job: Job, tmp_path: Path) -> None:
    Worker(cloud).work()
    cloud.store.remove(job.outputs)
    with pytest.raises(NotFound, match="not there any more"):
        fetch(cloud, cloud.jobs.get(job.id), tmp_path, transfer)


@pytest.mark.parametrize("name", ["../evil.mp4", "/etc/passwd", ".bashrc", "a//b"])
def test_no_result_leaves_the_folder(cloud: MemoryCloud, job: Job, tmp_path: Path, name: str) -> None:
    Worker(cloud).work()
    key = job.outputs.key + name
    cloud.store.write(Location("memory-out", f"{job.outputs.key}x"), b"evil")
    cloud.store.stat = lambda location: cloud.store.__class__.stat(  # type: ignore[method-assign]
        cloud.store, Location("memory-out", f"{job.outputs.key}x")
    )
    with pytest.raises(CloudError, match="unusable name"):
        fetch(cloud, replace(cloud.jobs.get(job.id), results=(key,)), tmp_path / "out", transfer)
    assert not (tmp_path / "evil.mp4").exists()


def test_a_cancelled_job_has_no_result(cloud: MemoryCloud, job: Job, tmp_path: Path) -> None:
    dispatcher = Dispatcher(cloud.jobs, cloud.queue, cloud.store, cloud.topic, cloud.clock)
    ended = dispatcher.apply(job.id, CancelRequested("ana@laptop"))
    with pytest.raises(JobFailed, match="cancelled, so there is no result: by ana"):
        fetch(cloud, ended, tmp_path, transfer)


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()
