"""The files of a task: which they are, from the buckets to the slot's folder, and back."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from minimoto.core import manifest
from minimoto.core.job import Job, Location
from minimoto.core.pipeline import files_of
from minimoto.core.shards import shard_bounds
from minimoto.core.task import TaskKey, TaskState
from minimoto.errors import InvalidMessage, MinimotoError, NotFound, StepFailed

if TYPE_CHECKING:
    from minimoto.ports import Jobs, Store
    from minimoto.steps.base import Step

SIDE_BY_SIDE = 8
"""Files moved at the same time."""

PARTS = ("in", "attached", "out", "tmp")
"""The folders of a task: inputs, attachments, outputs, and what the step throws away."""

LOOK_EVERY = 0.2
_PLACE = re.compile(r"^\d{6}-(?=.)")

Check = Callable[[], None]


@dataclass(frozen=True)
class Source:
    """An input: its object, and what a person calls it."""

    location: Location
    original: str


@dataclass(frozen=True)
class Local:
    """The inputs of a task in the slot's folder.

    Parameters:
        inputs: in the job's order.
        attachments: a parameter's file name to the file.
        originals: local file name to what a person calls the input.
        first: index in the job of the first input.
    """

    inputs: tuple[Path, ...]
    attachments: dict[str, Path]
    originals: dict[str, str]
    first: int


class DiskFull(MinimotoError):
    """The node's disk is full. Another node's may be larger."""


class TaskFiles:
    """Finds, loads and stores the files of tasks."""

    def __init__(self, jobs: Jobs, store: Store) -> None:
        self._jobs = jobs
        self._store = store
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE, "files")
        # The inputs of a stage do not change once it has started, and its tasks come one after another.
        self._seen: tuple[tuple[str, int], tuple[Source, ...]] | None = None

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(cancel_futures=True)

    def load(self, job: Job, key: TaskKey, step: Step, folder: Path, check: Check) -> Local:
        """Downloads what a task needs into ``folder``, which holds the empty folders :data:`PARTS`, side by side.

        Parameters:
            check: raises to stop; called several times a second.

        Raises:
            StepFailed: the inputs are not what the job says, or one is gone.
            DiskFull: the disk cannot hold them.
            CloudError: the store failed.
        """
        first, sources = self._shard(job, key) if step.reads_inputs else (0, ())
        names = _local_names(sources)
        inputs = tuple(folder / "in" / name for name in names)
        attached = files_of(job.stages[key.stage].params, step)
        attachments = {name: folder / "attached" / _safe(name) for name in attached}
        pairs = [(source.location, path) for source, path in zip(sources, inputs, strict=True)]
        pairs += [(manifest.attachment(job, name), path) for name, path in attachments.items()]
        self._side_by_side([partial(self._download, *pair) for pair in pairs], check)
        originals = {name: source.original for name, source in zip(names, sources, strict=True)}
        return Local(inputs, attachments, originals, first)

    def save(self, outputs: Sequence[Path], folder: Path, prefix: Location, check: Check) -> tuple[str, ...]:
        """Uploads a step's files below ``prefix``, side by side; returns their names, in order.

        Raises:
            StepFailed: the step made something else than files in its folder ``out``.
            CloudError: the store failed.
        """
        out = (folder / "out").resolve()
        names = []
        for path in outputs:
            if path.is_symlink() or not path.is_file() or path.resolve().parent != out or path.name in names:
                raise StepFailed(f"it made no file {path.name!r}", retry=True)
            names.append(_safe(path.name))
        uploads = zip(outputs, names, strict=True)
        self._side_by_side([partial(self._upload, path, prefix / name) for path, name in uploads], check)
        return tuple(names)

    def _shard(self, job: Job, key: TaskKey) -> tuple[int, tuple[Source, ...]]:
        sources = self._sources(job, key.stage)
        try:
            start, stop = shard_bounds(len(sources), job.stages[key.stage].tasks, key.task)
        except ValueError as error:
            raise StepFailed(f"the stage's inputs are not those it was planned for: {error}", retry=False) from error
        return start, sources[start:stop]

    def _sources(self, job: Job, stage: int) -> tuple[Source, ...]:
        if self._seen is None or self._seen[0] != (job.id, stage):
            try:
                sources = self._photos(job) if stage == 0 else self._left_by(job, stage - 1)
            except InvalidMessage as error:
                raise StepFailed(str(error), retry=False) from error
            self._seen = ((job.id, stage), sources)
        return self._seen[1]

    def _photos(self, job: Job) -> tuple[Source, ...]:
        try:
            text = self._store.read(manifest.manifest(job)).decode("utf-8", "replace")
        except NotFound as error:
            raise StepFailed("the job's manifest is gone; inputs are kept for some days only", retry=False) from error
        return tuple(Source(manifest.photo(job, item.name), item.original) for item in manifest.load_items(text))

    def _left_by(self, job: Job, stage: int) -> tuple[Source, ...]:
        tasks = self._jobs.tasks(job.id, stage)
        done = [task for task in tasks if task.state is TaskState.DONE]
        if len(done) != job.stages[stage].tasks:
            raise StepFailed(
                f"{len(done)} of {job.stages[stage].tasks} tasks of the stage before are recorded", retry=True
            )
        prefix = manifest.work(job, stage)
        names = [name for task in sorted(done, key=lambda task: task.key) for name in task.result.outputs]
        return tuple(Source(prefix / manifest.safe_name(name), _PLACE.sub("", name)) for name in names)

    def _download(self, source: Location, path: Path) -> None:
        try:
            self._store.download(source, path)
        except NotFound as error:
            raise StepFailed(
                f"{path.name} is gone from the bucket; inputs are kept for some days only", retry=False
            ) from error

    def _upload(self, path: Path, to: Location) -> None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._store.upload(path, to, sha256=digest)

    def _side_by_side(self, calls: Iterable[Callable[[], None]], check: Check) -> None:
        """Runs calls in threads; on the first failure, or when ``check`` raises, none of them goes on behind us."""
        running = {self._pool.submit(call) for call in calls}
        try:
            while running:
                done, running = wait(running, timeout=LOOK_EVERY, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
                check()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"the disk is full: {error.strerror}") from error
            raise StepFailed(f"a file could not be kept: {error.strerror or error}", retry=True) from error
        finally:
            for future in running:
                future.cancel()
            wait(running)


def _local_names(sources: Sequence[Source]) -> list[str]:
    """File names that people know again: the objects' names without their place, where that tells them apart."""
    whole = [source.location.key.rpartition("/")[2] for source in sources]
    plain = [_PLACE.sub("", name) for name in whole]
    different = len({name.lower() for name in plain}) == len(plain)
    return plain if different and not any(name.startswith(".") for name in plain) else whole


def _safe(name: str) -> str:
    try:
        return manifest.safe_name(name)
    except InvalidMessage as error:
        raise StepFailed(str(error), retry=False) from error
