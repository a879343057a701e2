"""Jobs for tests of the service: submitted as a client would, without one."""

from __future__ import annotations

import io
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from minimoto.core import manifest
from minimoto.core.events import UploadFinished
from minimoto.core.job import Job, Location
from minimoto.core.manifest import Item
from minimoto.core.new_job import job_id, new_job
from minimoto.core.pipeline import StepRules
from minimoto.dispatch import Dispatcher


def dispatcher(cloud: Any) -> Dispatcher:
    return Dispatcher(cloud.jobs, cloud.queue, cloud.store, cloud.topic, cloud.clock)


def create(cloud: Any, pipeline: str, steps: Mapping[str, StepRules], **settings: Any) -> Job:
    """A job's document, its inputs still missing."""
    id = job_id("trip", secrets.token_hex(4))
    job = new_job(
        id=id,
        name="trip",
        owner="ana@laptop",
        pipeline=pipeline,
        steps=steps,
        inputs=cloud.config.bucket_input,
        outputs=Location(cloud.config.bucket_output, f"{id}/"),
        now=cloud.clock.now(),
        upload_seconds=3600,
        **settings,
    )
    return cloud.jobs.create(job)


def submit(
    cloud: Any, pipeline: str, photos: Mapping[str, bytes], steps: Mapping[str, StepRules], **settings: Any
) -> Job:
    """A job that is ready, its photos uploaded and its first messages sent."""
    job = create(cloud, pipeline, steps, **settings)
    items = []
    for index, (name, data) in enumerate(photos.items()):
        items.append(Item(manifest.object_name(index, name), name, len(data)))
        cloud.store.write(manifest.photo(job, items[-1].name), data)
    cloud.store.write(manifest.manifest(job), manifest.dump_items(items).encode())
    return dispatcher(cloud).apply(job, UploadFinished(len(items)))


def message(job: str, stage: int = 0, task: int = 0) -> str:
    return json.dumps({"v": 1, "job": job, "stage": stage, "task": task})


def photo(shade: int = 128, size: tuple[int, int] = (64, 48)) -> bytes:
    """A small JPEG."""
    from PIL import Image

    data = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").point(lambda value: (value + shade) % 256).save(data, "JPEG")
    return data.getvalue()


def results(cloud: Any, job: Job) -> dict[str, bytes]:
    """The job's results by their keys, as the job's document lists them."""
    return {key: cloud.store.read(Location(job.outputs.bucket, key)) for key in cloud.jobs.get(job.id).results}


def wait_for(what: Callable[[], Any], seconds: float = 15.0, why: str = "") -> Any:
    """Polls until ``what`` is true, and returns it."""
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, f"waited {seconds} s in vain {why}"
        time.sleep(0.02)
    return found
