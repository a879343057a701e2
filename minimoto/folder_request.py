"""The older text message, ``transform?bucket_input_name=…``, becomes a job: make a film of that folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from minimoto.core import manifest
from minimoto.core.events import UploadFinished
from minimoto.core.job import Job, JobState, Location
from minimoto.core.manifest import Item
from minimoto.core.message import FolderRequest
from minimoto.core.new_job import DEFAULT_PIPELINE, job_id, new_job
from minimoto.errors import Conflict, InvalidMessage, NotFound
from minimoto.photos import CLIP_EXTENSIONS, EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minimoto.config import Config
    from minimoto.dispatch import Dispatcher
    from minimoto.ports import Clock, Jobs, Store, StoredObject
    from minimoto.steps.base import Step

FILMED = EXTENSIONS | CLIP_EXTENSIONS


class FolderRequests:
    """Turns folder requests into jobs, each message into one, however often it is delivered."""

    def __init__(
        self, jobs: Jobs, store: Store, dispatcher: Dispatcher, clock: Clock, config: Config, steps: Mapping[str, Step]
    ) -> None:
        self._jobs = jobs
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._config = config
        self._steps = steps

    def submit(self, request: FolderRequest, message_id: str, check: Callable[[], None]) -> Job:
        """Makes the job of a request, copies its photos, and starts it.

        Parameters:
            message_id: the queue's id of the message; the job's id follows from it.
            check: raises to stop; called between photos.

        Raises:
            InvalidMessage: a bucket that is not this deployment's, or a folder without photos.
        """
        for bucket in (request.inputs, request.outputs):
            if bucket not in self._config.buckets:
                raise InvalidMessage(f"the bucket {bucket} does not belong to this deployment")
        id = job_id(request.folder, hashlib.sha256(message_id.encode()).hexdigest()[:16])
        job = self._begun(id)
        if job is not None and job.state is not JobState.NOT_READY_TO_PROCESS:
            # Its photos may be gone by now; what followed from their copies may have been lost.
            return self._dispatcher.apply(job, UploadFinished(job.photos))
        photos = self._photos(Location(request.inputs, f"{request.folder}/"))
        job = job or self._create(request, id)
        if job.state is JobState.NOT_READY_TO_PROCESS:
            items = [self._copy(job, index, photo, check) for index, photo in enumerate(photos)]
            self._store.write(manifest.manifest(job), manifest.dump_items(items).encode())
        return self._dispatcher.apply(job, UploadFinished(len(photos)))

    def _begun(self, id: str) -> Job | None:
        """The job that an earlier delivery has made."""
        try:
            return self._jobs.get(id)
        except NotFound:
            return None

    def _photos(self, folder: Location) -> list[StoredObject]:
        from natsort import natsorted

        photos = []
        for found in self._store.list(folder):
            name = found.location.key.removeprefix(folder.key)
            if "/" not in name and not name.startswith(".") and os.path.splitext(name)[1].lower() in FILMED:
                photos.append(found)
            if len(photos) > manifest.MOST_PHOTOS:
                raise InvalidMessage(f"{folder} holds more than {manifest.MOST_PHOTOS} photos")
        if not photos:
            raise InvalidMessage(f"{folder} holds no photos")
        return natsorted(photos, key=lambda photo: photo.location.key)

    def _create(self, request: FolderRequest, id: str) -> Job:
        job = new_job(
            id=id,
            name=request.folder,
            owner="queue",
            pipeline=DEFAULT_PIPELINE,
            steps=self._steps,
            inputs=self._config.bucket_input,
            outputs=Location(request.outputs, ""),
            now=self._clock.now(),
            upload_seconds=self._config.upload_hours * 3600,
            task_seconds=self._config.task_seconds,
        )
        try:
            return self._jobs.create(job)
        except Conflict:
            return self._jobs.get(job.id)

    def _copy(self, job: Job, index: int, photo: StoredObject, check: Callable[[], None]) -> Item:
        check()
        original = photo.location.key.rpartition("/")[2]
        item = Item(manifest.object_name(index, original), original, photo.size)
        self._store.copy(photo.location, manifest.photo(job, item.name))
        return item
