"""Which job an interrupted upload belongs to, so that the same command continues it.

One small file for each folder and request, below ``$XDG_STATE_HOME/minimoto/uploads`` (``~/.local/state`` where that is
not set): it holds the job's id from before the job is created until its upload is finished. A lock on it, freed by the
kernel when the process dies, keeps two runs at once from sharing a job: the second one makes a job of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from minimoto.core.job import JOB_ID


class UploadRecord:
    """The record of one request's upload.

    Parameters:
        file: where it is kept; ``None``: nowhere, the upload cannot be continued by another run.
        problem: why it is kept nowhere, for a person.
    """

    def __init__(self, file: Path | None, problem: str = "") -> None:
        self._file = file
        self.problem = problem

    @property
    def job(self) -> str:
        """The id of the job whose upload was not finished, or empty."""
        if self._file is None or not self._file.exists():
            return ""
        job = self._file.read_text(encoding="utf-8", errors="replace").strip()
        return job if JOB_ID.fullmatch(job) else ""

    def keep(self, job: str) -> None:
        """Remembers the job; atomic."""
        if self._file is not None:
            new = self._file.with_suffix(".new")
            new.write_text(job, encoding="utf-8")
            new.replace(self._file)

    def forget(self) -> None:
        """The upload is finished."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)


@contextmanager
def upload_record(request: Sequence[str], folder: Path | None = None) -> Iterator[UploadRecord]:
    """The record of a request, held for as long as the context lasts.

    Parameters:
        request: everything that must be equal for an upload to be continued.
        folder: where records are kept, if not in the place named above.
    """
    where = folder or records_folder()
    digest = hashlib.sha256(json.dumps(list(request)).encode()).hexdigest()[:32]
    try:
        where.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(where / f"{digest}.lock", timeout=0)
        lock.acquire()
    except Timeout:
        yield UploadRecord(None, "another run is sending this folder; this run makes a job of its own")
        return
    except OSError as error:
        yield UploadRecord(None, f"this upload cannot be continued if it stops: {where}: {error.strerror}")
        return
    try:
        yield UploadRecord(where / digest)
    finally:
        lock.release()


def records_folder() -> Path:
    """Where the records are kept."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "minimoto" / "uploads"
