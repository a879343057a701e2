"""Sending a folder: check all that can be checked, make the job, upload, and only then hand it to the fleet.

A job whose inputs are not complete stays ``NOT_READY_TO_PROCESS``: it has no message, so no worker can pick it up.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from minimoto.client.resume import UploadRecord, upload_record
from minimoto.client.upload import Sending, Sent, upload
from minimoto.core import manifest
from minimoto.core.events import UploadFinished
from minimoto.core.job import Job, JobState, Location
from minimoto.core.manifest import Item
from minimoto.core.new_job import job_id, new_job
from minimoto.core.pipeline import attachments, parse_pipeline, pipeline_text, plan
from minimoto.dispatch import Dispatcher
from minimoto.errors import CloudError, ConfigError, Conflict, InvalidInput, JobFailed, NotFound, UsageError
from minimoto.photos import Found, LeftOut, Order, Photo, exif_order, find_attachments, find_photos, given_order
from minimoto.ports import Transferred
from minimoto.steps import STEPS
from minimoto.steps.base import safe_stem

if TYPE_CHECKING:
    from minimoto.config import Config
    from minimoto.wiring import Cloud


@dataclass(frozen=True)
class Request:
    """What was asked for.

    Parameters:
        folder: holds the photos and the files that the pipeline names.
        pipeline: its text.
        owner: who asks.
        name: of the job and of the film; the folder's name if empty.
        inputs, outputs: buckets, as ``name`` or ``s3://name``; the deployment's own if empty.
        deadline: seconds since the epoch, or ``None``.
        budget: US dollars, or ``None``.
        listed: the names to send, in their order, for the order ``given``; ``source`` is what the list is called.
    """

    folder: Path
    pipeline: str
    owner: str
    name: str = ""
    inputs: str = ""
    outputs: str = ""
    deadline: float | None = None
    budget: float | None = None
    strict: bool = False
    order: Order = "natural"
    recursive: bool = False
    listed: Sequence[str] = ()
    source: str = ""


@dataclass(frozen=True)
class Prepared:
    """A request that passed every check; buckets are names, ``pipeline`` is canonical."""

    request: Request
    photos: tuple[Photo, ...]
    attached: Mapping[str, Path]
    left_out: LeftOut


@dataclass(frozen=True)
class Submitted:
    """A job that is on its way, and what its upload did."""

    job: Job
    upload: Sent
    left_out: LeftOut


class Listener(Protocol):
    """What the one who submits wants to hear."""

    def note(self, text: str) -> None:
        """Something a person should know; one line."""

    def transfer(self, title: str, size: int, files: int) -> AbstractContextManager[Transferred]:
        """An upload begins; gives the function to call with bytes moved."""


def prepare(request: Request, cloud: Cloud) -> Prepared:
    """Checks a request before anything is made or sent.

    Raises:
        InvalidPipeline: the pipeline's text cannot be run.
        InvalidInput: the folder, a photo, an attachment or a bucket cannot be used.
        NotFound, CloudError: a bucket is not there, or may not be used.
    """
    stages = plan(parse_pipeline(request.pipeline), STEPS, cloud.config.task_seconds)
    names = attachments(stages, STEPS)
    clips = STEPS[stages[0].step].takes_clips
    found = find_photos(request.folder, recursive=request.recursive, besides=names, clips=clips)
    if request.strict and found.left_out.mislabelled:
        raise InvalidInput(f"{request.folder}: {found.left_out} (--strict)")
    attached = find_attachments(request.folder, names)
    settled = replace(
        request,
        pipeline=pipeline_text(stages),
        name=job_name(request.name or request.folder.resolve().name),
        inputs=_bucket(request.inputs, cloud.config.bucket_input, cloud.config),
        outputs=_bucket(request.outputs, cloud.config.bucket_output, cloud.config),
    )
    photos = _ordered(found, request)
    if len(manifest.dump_items(_items(photos)).encode()) > manifest.MOST_BYTES:
        raise InvalidInput(f"{request.folder}: the photos' names are too long together; send them as several folders")
    for bucket in dict.fromkeys((settled.inputs, settled.outputs)):
        cloud.store.check(bucket)
    return Prepared(settled, photos, attached, found.left_out)


def submit(prepared: Prepared, cloud: Cloud, listener: Listener, *, records: Path | None = None) -> Submitted:
    """Makes the job (or continues an earlier upload of it), sends its files and hands it to the fleet.

    Parameters:
        records: where records of unfinished uploads are kept, if not in the usual place.

    Raises:
        CloudError: an upload or a call failed; the same request continues where this one stopped.
        JobFailed: the job was called off meanwhile.
    """
    with upload_record(_identity(prepared.request, cloud.config), records) as record:
        if record.problem:
            listener.note(record.problem)
        items = tuple(_items(prepared.photos))
        job, there = _earlier(prepared, record, items, cloud) or (None, None)
        if job is None:
            job = _create(prepared, record, cloud)
        elif job.state is JobState.NOT_READY_TO_PROCESS:
            listener.note(f"continuing the unfinished upload of {job.id}")
        sent = Sent(0, len(items) + len(prepared.attached))
        if job.state is JobState.NOT_READY_TO_PROCESS:
            sent = _send(prepared, job, items, there, cloud, listener, resumable=not record.problem)
        job = dispatcher(cloud).apply(job, UploadFinished(len(items)))
        record.forget()
    if job.state is JobState.CANCELLED:
        raise JobFailed(f"{job.id}: called off while its photos were sent ({job.error})")
    return Submitted(job, sent, prepared.left_out)


def output(job: Job) -> Location:
    """Where the result will be: the film's object for a per-folder last step, else the prefix of the pictures."""
    suffix = STEPS[job.stages[-1].step].result_suffix if job.stages[-1].step in STEPS else None
    return job.outputs / f"{job.name}{suffix}" if suffix else job.outputs


def job_name(text: str) -> str:
    """``text`` as a job's name: one that a film's file can be called without any change."""
    name = text
    while (safe := safe_stem(name, "photos")) != name:
        name = safe
    return name


def dispatcher(cloud: Cloud) -> Dispatcher:
    """The one way in which a job changes."""
    return Dispatcher(cloud.jobs, cloud.queue, cloud.store, cloud.topic, cloud.clock)


def _bucket(text: str, default: str, config: Config) -> str:
    name = text.removeprefix("s3://").rstrip("/") or default
    if not name:
        raise ConfigError("[S3] names no bucket: run minimoto_setup.py first, or name its file with --config")
    if name not in config.buckets:
        raise InvalidInput(
            f"bucket {name}: this deployment uses {', '.join(sorted(config.buckets))} only;"
            f" to allow it, add it to more_buckets in [S3] of configure.ini and run minimoto setup again"
        )
    return name


def _ordered(found: Found, request: Request) -> tuple[Photo, ...]:
    if request.order == "given":
        return given_order(found.photos, request.listed, request.source)
    if request.listed:
        raise UsageError("a list of photos goes with --order given only")
    return exif_order(found.photos) if request.order == "exif" else found.photos


def _identity(request: Request, config: Config) -> tuple[str, ...]:
    """What must be equal for an upload to be continued; photos may have been added or changed."""
    return (
        config.name,
        config.endpoint_url,
        config.region,
        request.inputs,
        request.outputs,
        str(request.folder.resolve()),
        request.pipeline,
        request.owner,
        request.name,
        str(request.strict),
        str(request.budget),
    )


def _items(photos: Sequence[Photo]) -> list[Item]:
    return [Item(manifest.object_name(n, photo.original), photo.original, photo.size) for n, photo in enumerate(photos)]


def _earlier(
    prepared: Prepared, record: UploadRecord, items: Sequence[Item], cloud: Cloud
) -> tuple[Job, Location] | None:
    """The job of an upload that an earlier run did not finish, if it can still be continued."""
    if not record.job:
        return None
    try:
        job = cloud.jobs.get(record.job)
    except NotFound:
        return None
    now = cloud.clock.now()
    if job.state is JobState.NOT_READY_TO_PROCESS and now < job.upload_expires:
        wanted = replace(
            job, deadline=prepared.request.deadline, upload_expires=now + cloud.config.upload_hours * 3600, updated=now
        )
        try:
            return cloud.jobs.save(wanted), job.inputs / "in/"
        except Conflict:  # it was called off at this moment
            return None
    # The earlier run died after its last file, before it could tell: the job is on its way, with these photos or not.
    if job.running is not None and _same_manifest(job, items, cloud):
        return job, job.inputs / "in/"
    return None


def _same_manifest(job: Job, items: Sequence[Item], cloud: Cloud) -> bool:
    try:
        return cloud.store.read(manifest.manifest(job)) == manifest.dump_items(items).encode()
    except NotFound:
        return False


def _create(prepared: Prepared, record: UploadRecord, cloud: Cloud) -> Job:
    request = prepared.request
    id = job_id(request.name, secrets.token_hex(4))
    record.keep(id)
    return cloud.jobs.create(
        new_job(
            id=id,
            name=request.name,
            owner=request.owner,
            pipeline=request.pipeline,
            steps=STEPS,
            inputs=request.inputs,
            outputs=Location(request.outputs, f"{id}/"),
            now=cloud.clock.now(),
            upload_seconds=cloud.config.upload_hours * 3600,
            deadline=request.deadline,
            budget=request.budget,
            strict=request.strict,
            task_seconds=cloud.config.task_seconds,
        )
    )


def _send(
    prepared: Prepared,
    job: Job,
    items: Sequence[Item],
    there: Location | None,
    cloud: Cloud,
    listener: Listener,
    *,
    resumable: bool,
) -> Sent:
    files = [
        Sending(photo.path, manifest.photo(job, item.name), photo.size)
        for photo, item in zip(prepared.photos, items, strict=True)
    ]
    for name, path in prepared.attached.items():
        files.append(Sending(path, manifest.attachment(job, name), path.stat().st_size))
    try:
        with listener.transfer("uploading", sum(file.size for file in files), len(files)) as moved:
            sent = upload(files, cloud.store, there=there, side_by_side=cloud.config.uploads, moved=moved)
        cloud.store.write(manifest.manifest(job), manifest.dump_items(items).encode())
    except CloudError as error:
        hint = "; the same command again continues where this one stopped" if resumable else ""
        raise CloudError(f"{error}{hint}", code=error.code) from error
    return sent
