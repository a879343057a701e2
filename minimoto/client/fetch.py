"""Downloading the results of a job: whole files or none, and nothing of yours overwritten."""

from __future__ import annotations

import filecmp
import hashlib
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minimoto.client.parallel import move_all
from minimoto.client.report import results
from minimoto.core.job import Job, JobState, Location
from minimoto.core.manifest import safe_name
from minimoto.core.readable import state_text
from minimoto.errors import CloudError, InvalidInput, InvalidMessage, JobFailed, NotFound
from minimoto.ports import Store, StoredObject, Transferred

if TYPE_CHECKING:
    from minimoto.wiring import Cloud

Transfer = Callable[[str, int, int], AbstractContextManager[Transferred]]
"""Told of a title, bytes and files when the download begins; gives the function to call with bytes moved."""


@dataclass(frozen=True)
class _Fetching:
    found: StoredObject
    path: Path


def fetch(cloud: Cloud, job: Job, out: Path, transfer: Transfer, *, force: bool = False) -> tuple[Path, ...]:
    """Downloads the results into ``out``; a file that is there with the same content is left as it is.

    Parameters:
        force: whether files with other content are overwritten.

    Returns:
        The local files, in the order of the results.

    Raises:
        NotFound: the job has no result yet, or its results have expired.
        JobFailed: it ended without one.
        InvalidInput: a different file is in the way, or the folder cannot be written.
        CloudError: a call failed, or what arrived is not what was stored.
    """
    _check_ended(job)
    files = [
        _Fetching(_stat(cloud.store, location), out / _relative(job, location)) for location in results(cloud, job)
    ]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file in files:
            file.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{out}: cannot be used as a folder ({error.strerror})") from error
    with transfer("fetching", sum(file.found.size for file in files), len(files)) as moved:
        move_all(lambda file, moved: _fetch(file, cloud.store, moved, force), files, cloud.config.uploads, moved)
    return tuple(file.path for file in files)


def _check_ended(job: Job) -> None:
    if not job.state.final:
        raise NotFound(
            f"{job.id}: no result yet ({state_text(job.state)}); wait for it with minimoto status {job.id} --wait"
        )
    if job.state is not JobState.PROCESSING_SUCCESSFUL:
        raise JobFailed(f"{job.id}: {state_text(job.state)}, so there is no result: {job.error}")
    if not job.results:
        raise NotFound(f"{job.id}: its pipeline ({job.pipeline}) makes no files")


def _stat(store: Store, location: Location) -> StoredObject:
    found = store.stat(location)
    if found is None:
        raise NotFound(f"{location}: not there any more (results expire after output_days, if that is set)")
    return found


def _relative(job: Job, location: Location) -> Path:
    try:
        return Path(*(safe_name(part) for part in location.key.removeprefix(job.outputs.key).split("/")))
    except InvalidMessage as error:
        raise CloudError(f"{job.id}: a result has an unusable name: {error}") from error


def _fetch(file: _Fetching, store: Store, moved: Transferred, force: bool) -> None:
    if file.found.sha256 and _holds(file.path, file.found):
        moved(file.found.size)
        return
    part = file.path.with_name(f".minimoto-{secrets.token_hex(8)}.part")
    try:
        part.touch(exist_ok=False)
        store.download(file.found.location, part, moved)
        _check_whole(part, file.found)
        _put(part, file.path, force)
    except OSError as error:
        raise InvalidInput(f"{file.path}: cannot be written ({error.strerror})") from error
    finally:
        part.unlink(missing_ok=True)


def _holds(path: Path, found: StoredObject) -> bool:
    return path.is_file() and path.stat().st_size == found.size and _sha256(path) == found.sha256


def _check_whole(part: Path, found: StoredObject) -> None:
    size = part.stat().st_size
    if size != found.size:
        raise CloudError(f"{found.location}: {size} of {found.size} bytes arrived; try again")
    if found.sha256 and _sha256(part) != found.sha256:
        raise CloudError(f"{found.location}: what arrived is not what was stored; try again")


def _put(part: Path, path: Path, force: bool) -> None:
    if not force and path.exists():
        if not (path.is_file() and filecmp.cmp(part, path, shallow=False)):
            raise InvalidInput(f"{path}: a different file is there; use --force or another --out")
        return
    part.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
