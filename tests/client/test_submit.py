"""Sending a folder: what is checked first, what is made, and how an upload that stopped goes on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread

import pytest

from minimoto.client.resume import upload_record
from minimoto.client.submit import Request, job_name, output, prepare, submit
from minimoto.core import manifest, message
from minimoto.core.events import CancelRequested, UploadAbandoned
from minimoto.core.job import JobState, Location
from minimoto.core.task import TaskKey
from minimoto.dispatch import Dispatcher
from minimoto.errors import CloudError, ConfigError, InvalidInput, InvalidPipeline, JobFailed, NotFound, UsageError
from minimoto.memory import MemoryCloud, memory_cloud
from minimoto.memory.cloud import SETTINGS
from tests.client.conftest import Heard, MakeFolder


@pytest.fixture
def cloud() -> MemoryCloud:
    return memory_cloud()


def ask(folder: Path, pipeline: str = "fit | video", **more: object) -> Request:
    return Request(folder=folder, pipeline=pipeline, owner="ana@laptop", **more)  # type: ignore[arg-type]


def send(folder: Path, cloud: MemoryCloud, heard: Heard, records: Path, pipeline: str = "fit | video", **more: object):  # type: ignore[no-untyped-def]
    return submit(prepare(ask(folder, pipeline, **more), cloud), cloud, heard, records=records)


def stored(cloud: MemoryCloud, job_inputs: Location) -> dict[str, bytes]:
    found = cloud.store.list(job_inputs)
    return {each.location.key.removeprefix(job_inputs.key): cloud.store.read(each.location) for each in found}


class Breaking:
    """Makes the store fail at the n-th upload, until it is mended."""

    def __init__(self, cloud: MemoryCloud, at: int, error: BaseException | None = None) -> None:
        self.uploads: list[str] = []
        self.at: int | None = at
        self._error = error or CloudError("s3: the connection was lost")
        self._upload = cloud.store.upload
        cloud.store.upload = self  # type: ignore[method-assign,assignment]

    def __call__(self, path: Path, to: Location, sha256: str = "", moved: object = None) -> None:
        if self.at is not None and len(self.uploads) >= self.at:
            raise self._error
        self._upload(path, to, sha256, moved)  # type: ignore[arg-type]
        self.uploads.append(path.name)


def one_at_a_time(**more: object) -> MemoryCloud:
    return memory_cloud(replace(SETTINGS, uploads=1, **more))


def test_a_folder_becomes_a_job_with_its_photos_in_order(
    cloud: MemoryCloud, folder: MakeFolder, heard: Heard, records: Path
) -> None:
    photos = folder(11)
    (photos / "notes.txt").write_text("no photo")
    sent = send(photos, cloud, heard, records)
    job = cloud.jobs.get(sent.job.id)
    assert (job.state, job.photos, job.owner, job.name) == (JobState.READY_TO_PROCESS, 11, "ana@laptop", "trip")
    assert job.pipeline == "fit | video"
    assert (sent.upload.sent, sent.upload.kept, sent.left_out.others) == (11, 0, 1)
    items = manifest.load_items(cloud.store.read(manifest.manifest(job)).decode())
    assert [item.original for item in items] == [f"photo {n}.jpg" for n in range(1, 12)]
    for item in items:
        data = (photos / item.original).read_bytes()
        found = cloud.store.stat(manifest.photo(job, item.name))
        assert found is not None
        assert (found.size, found.sha256) == (item.size, hashlib.sha256(data).hexdigest())
        assert cloud.store.read(found.location) == data
    assert heard.moved == heard.size == sum(item.size for item in items)
    (received,) = cloud.queue.receive(10)
    assert message.decode(received.body) == TaskKey(job.id, 0, 0)
    assert str(output(job)) == f"s3://memory-out/{job.id}/trip.mp4"
    assert not any(path.suffix != ".lock" for path in records.iterdir())


def test_names_that_no_worker_could_read_are_refused_before_anything_is_sent(
    cloud: MemoryCloud, folder: MakeFolder, heard: Heard, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "MOST_BYTES", 100)
    with pytest.raises(InvalidInput, match="names are too long together; send them as several folders"):
        send(folder(4), cloud, heard, records)
    assert cloud.jobs.recent() == []


def test_a_pipeline_of_pictures_has_a_folder_as_its_output(
    cloud: MemoryCloud, folder: MakeFolder, heard: Heard, records: Path
) -> None:
    job = send(folder(), cloud, heard, records, "fit").job
    assert str(output(job)) == f"s3://memory-out/{job.id}/"


def test_attachments_go_beside_the_photos(cloud: MemoryCloud, folder: MakeFolder, heard: Heard, records: Path) -> None:
    photos = folder(2)
    (photos / "song.mp3").write_bytes(b"ID3 music")
    sent = send(photos, cloud, heard, records, "video:music=song.mp3")
    assert sent.left_out.count == 0
    assert sent.job.attachments == ("song.mp3",)
    assert cloud.store.read(manifest.attachment(sent.job, "song.mp3")) == b"ID3 music"


def test_buckets_may_be_named_where_the_settings_allow_it(folder: MakeFolder, heard: Heard, records: Path) -> None:
    cloud = memory_cloud(replace(SETTINGS, more_buckets=("holiday", "gone")))
    cloud.store.make_bucket("holiday")
    job = send(folder(), cloud, heard, records, inputs="s3://holiday/", outputs="holiday").job
    assert (job.inputs.bucket, job.outputs.bucket) == ("holiday", "holiday")
    with pytest.raises(NotFound, match="gone"):
        prepare(ask(folder(), inputs="holiday", outputs="gone"), cloud)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"pipeline": "vidoe"}, InvalidPipeline, "did you mean video"),
        ({"pipeline": "video:fps=0"}, InvalidPipeline, "fps must be"),
        ({"pipeline": "video | fit"}, InvalidPipeline, "cannot follow"),
        ({"pipeline": "video:music=song.mp3"}, InvalidInput, r"names song\.mp3, which is not there"),
        ({"inputs": "theirs", "outputs": "theirs"}, InvalidInput, r"bucket theirs: .* more_buckets in \[S3\]"),
        ({"order": "given", "listed": ["nobody.jpg"], "source": "list.txt"}, InvalidInput, "no photo nobody"),
        ({"listed": ["a.jpg"]}, UsageError, "--order given"),
        ({"strict": True}, InvalidInput, r"only called like a photo \(bad\.jpg\) \(--strict\)"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_made(
    cloud: MemoryCloud, folder: MakeFolder, change: dict[str, object], error: type[Exception], says: str
) -> None:
    photos = folder()
    if "strict" in change:
        (photos / "bad.jpg").write_text("text")
    with pytest.raises(error, match=says) as raised:
        prepare(ask(photos, **change), cloud)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    assert cloud.jobs.recent() == []
    assert list(cloud.store.list(Location("memory-in", ""))) == []


def test_without_a_setup_there_is_no_bucket(folder: MakeFolder) -> None:
    with pytest.raises(ConfigError, match="run minimoto_setup"):
        prepare(ask(folder()), memory_cloud(replace(SETTINGS, bucket_input="")))


@pytest.mark.parametrize(
    "stop", [CloudError("s3: the connection was lost"), KeyboardInterrupt()], ids=["error", "ctrl-c"]
)
def test_an_upload_that_stops_goes_on_where_it_stopped(
    folder: MakeFolder, heard: Heard, records: Path, stop: BaseException
) -> None:
    cloud, photos = one_at_a_time(), folder(6)
    store = Breaking(cloud, 4, stop)
    with pytest.raises(type(stop)) as raised:
        send(photos, cloud, heard, records)
    if isinstance(stop, CloudError):
        assert "the same command again continues" in str(raised.value)
    (job,) = cloud.jobs.recent()
    assert job.state is JobState.NOT_READY_TO_PROCESS
    assert cloud.queue.receive() == []  # nothing that a worker could pick up
    assert cloud.store.stat(manifest.manifest(job)) is None

    store.at = None
    cloud.clock.advance(3600)  # type: ignore[attr-defined]
    sent = send(photos, cloud, heard, records)
    assert sent.job.id == job.id
    assert (sent.upload.sent, sent.upload.kept) == (2, 4)
    assert store.uploads == [f"photo {n}.jpg" for n in range(1, 7)]  # each was sent once
    assert heard.notes[-1] == f"continuing the unfinished upload of {job.id}"
    assert heard.moved == heard.size
    after = cloud.jobs.get(job.id)
    assert (after.state, after.photos) == (JobState.READY_TO_PROCESS, 6)
    assert after.upload_expires == job.upload_expires + 3600
    assert send(photos, cloud, heard, records).job.id != job.id  # a finished upload is not continued


def test_a_photo_that_changed_or_came_new_is_sent_when_the_upload_goes_on(
    folder: MakeFolder, heard: Heard, records: Path
) -> None:
    cloud, photos = one_at_a_time(), folder(4)
    store = Breaking(cloud, 3)
    with pytest.raises(CloudError):
        send(photos, cloud, heard, records)
    store.at = None
    changed = photos / "photo 2.jpg"
    data = bytearray(changed.read_bytes())
    data[-5] ^= 1  # another content of the same length
    changed.write_bytes(data)
    folder(5)
    changed.write_bytes(data)
    sent = send(photos, cloud, heard, records)
    assert store.uploads[3:] == ["photo 2.jpg", "photo 4.jpg", "photo 5.jpg"]
    items = manifest.load_items(cloud.store.read(manifest.manifest(sent.job)).decode())
    for item in items:
        assert cloud.store.read(manifest.photo(sent.job, item.name)) == (photos / item.original).read_bytes()


@pytest.mark.parametrize(
    "other",
    [{"pipeline": "video"}, {"name": "other"}, {"strict": True}],
    ids=["pipeline", "name", "strict"],
)
def test_another_request_for_the_same_folder_is_a_job_of_its_own(
    folder: MakeFolder, heard: Heard, records: Path, other: dict[str, object]
) -> None:
    cloud, photos = one_at_a_time(), folder(3)
    store = Breaking(cloud, 1)
    with pytest.raises(CloudError):
        send(photos, cloud, heard, records)
    store.at = None
    assert send(photos, cloud, heard, records, **other).upload.kept == 0  # type: ignore[arg-type]
    assert len(cloud.jobs.recent()) == 2


@pytest.mark.parametrize("end", ["cancelled", "expired", "gone"])
def test_an_upload_that_cannot_go_on_begins_anew(folder: MakeFolder, heard: Heard, records: Path, end: str) -> None:
    cloud, photos = one_at_a_time(), folder(3)
    store = Breaking(cloud, 1)
    with pytest.raises(CloudError):
        send(photos, cloud, heard, records)
    (job,) = cloud.jobs.recent()
    if end == "cancelled":
        _dispatcher(cloud).apply(job.id, CancelRequested())
    elif end == "expired":
        cloud.clock.advance(25 * 3600)  # type: ignore[attr-defined]
    else:
        cloud = one_at_a_time()
        store = Breaking(cloud, 1)
    store.at = None
    sent = send(photos, cloud, heard, records)
    assert sent.job.id != job.id
    assert sent.upload.sent == 3


def test_a_job_called_off_while_its_photos_are_sent_is_said(folder: MakeFolder, heard: Heard, records: Path) -> None:
    cloud = one_at_a_time()
    write = cloud.store.write

    def write_then_abandon(to: Location, data: bytes) -> None:
        write(to, data)
        (job,) = cloud.jobs.recent()
        cloud.clock.advance(25 * 3600)  # type: ignore[attr-defined]
        _dispatcher(cloud).apply(job.id, UploadAbandoned())

    cloud.store.write = write_then_abandon  # type: ignore[method-assign]
    with pytest.raises(JobFailed, match="called off while its photos were sent"):
        send(folder(2), cloud, heard, records)
    assert cloud.queue.receive() == []


@pytest.mark.parametrize("boundary", ["after the manifest", "before the messages", "after the messages"])
def test_a_run_that_died_just_before_it_could_tell_is_repaired_by_the_next(
    folder: MakeFolder, heard: Heard, records: Path, boundary: str
) -> None:
    cloud, photos = one_at_a_time(), folder(3)
    port, name = {
        "after the manifest": (cloud.jobs, "save"),
        "before the messages": (cloud.queue, "send"),
        "after the messages": (cloud.jobs, "save"),
    }[boundary]
    whole = getattr(port, name)
    calls = 2 if boundary == "after the messages" else 1

    def die(*args: object, **more: object) -> object:
        nonlocal calls
        calls -= 1
        if not calls:
            raise SystemExit(9)
        return whole(*args, **more)

    setattr(port, name, die)
    with pytest.raises(SystemExit):
        send(photos, cloud, heard, records)
    setattr(port, name, whole)
    (job,) = cloud.jobs.recent()
    again = send(photos, cloud, heard, records)
    assert again.job.id == job.id
    assert (again.upload.sent, again.upload.kept) == (0, 3)
    assert cloud.jobs.get(job.id).stages[0].enqueued
    messages = cloud.queue.receive(10)
    assert {message.decode(m.body) for m in messages} == {TaskKey(job.id, 0, 0)}
    assert send(photos, cloud, heard, records).job.id != job.id


def test_two_runs_at_once_do_not_share_a_job(cloud: MemoryCloud, folder: MakeFolder, records: Path) -> None:
    photos, both_inside, jobs = folder(3), Barrier(2), []
    upload = cloud.store.upload

    def meet(path: Path, to: Location, sha256: str = "", moved: object = None) -> None:
        if path.name == "photo 1.jpg":
            both_inside.wait(10)
        upload(path, to, sha256, moved)  # type: ignore[arg-type]

    cloud.store.upload = meet  # type: ignore[method-assign,assignment]
    listeners = [Heard(), Heard()]
    threads = [Thread(target=lambda h=h: jobs.append(send(photos, cloud, h, records).job.id)) for h in listeners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    assert len(set(jobs)) == 2
    assert sorted(note for h in listeners for note in h.notes) == [
        "another run is sending this folder; this run makes a job of its own"
    ]


def test_where_no_record_can_be_kept_the_upload_works_and_says_so(
    cloud: MemoryCloud, folder: MakeFolder, heard: Heard, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    sent = send(folder(2), cloud, heard, tmp_path / "file")
    assert cloud.jobs.get(sent.job.id).state is JobState.READY_TO_PROCESS
    assert heard.notes[0].startswith("this upload cannot be continued if it stops: ")


def test_a_damaged_record_is_no_job(records: Path) -> None:
    with upload_record(["a"], records) as record:
        record.keep("trip-1")
        (file,) = (path for path in records.iterdir() if path.suffix != ".lock")
        file.write_bytes(b"../../etc\xff")
        assert record.job == ""


def test_a_photo_that_grows_while_it_is_sent_stops_the_upload(folder: MakeFolder, heard: Heard, records: Path) -> None:
    cloud, photos = one_at_a_time(), folder(2)
    upload = cloud.store.upload

    def grow(path: Path, to: Location, sha256: str = "", moved: object = None) -> None:
        upload(path, to, sha256, moved)  # type: ignore[arg-type]
        with path.open("ab") as file:
            file.write(b"more")

    cloud.store.upload = grow  # type: ignore[method-assign,assignment]
    with pytest.raises(InvalidInput, match=r"photo 1\.jpg: changed while it was sent"):
        send(photos, cloud, heard, records)
    assert cloud.queue.receive() == []


@pytest.mark.parametrize("name", ["trip", "a/../b", "  dots . ", "x" * 300, "日本" * 60, "", "...", "a\nb"])
def test_a_jobs_name_is_what_its_film_will_be_called(name: str) -> None:
    from minimoto.steps.base import safe_stem

    assert safe_stem(job_name(name), "film") == job_name(name)


def _dispatcher(cloud: MemoryCloud) -> Dispatcher:
    return Dispatcher(cloud.jobs, cloud.queue, cloud.store, cloud.topic, cloud.clock)
