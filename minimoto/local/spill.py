"""Objects of the embedded S3 on disk instead of in memory, without an open file for each."""

from __future__ import annotations

import importlib
import io
import os
import tempfile
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

IN_MEMORY = 16_384
"""Bytes up to which an object stays in memory."""


class SpilledFile:
    """The part of ``tempfile.SpooledTemporaryFile`` that moto uses for the bytes of an object.

    A spooled file keeps a descriptor open as long as it lives; a bucket of a thousand photos would end at the
    limit of open files. This one opens its file for each call.

    Parameters:
        folder: where files go.
        in_memory: bytes up to which no file is made.
    """

    def __init__(self, folder: Path, in_memory: int = IN_MEMORY) -> None:
        self._folder = folder
        self._in_memory = in_memory
        self._memory = io.BytesIO()
        self._path: str | None = None
        self._position = 0
        self._remove: weakref.finalize[[str], SpilledFile] | None = None

    def seek(self, position: int) -> int:
        self._position = position
        return position

    def read(self, size: int = -1) -> bytes:
        if self._path is None:
            self._memory.seek(self._position)
            data = self._memory.read(size)
        else:
            with open(self._path, "rb") as file:
                file.seek(self._position)
                data = file.read(size)
        self._position += len(data)
        return data

    def write(self, data: bytes) -> int:
        if not data:
            return 0
        if self._path is None and self._position + len(data) > self._in_memory:
            self._move_to_disk()
        if self._path is None:
            self._memory.seek(self._position)
            self._memory.write(data)
        else:
            with open(self._path, "r+b") as file:
                file.seek(self._position)
                file.write(data)
        self._position += len(data)
        return len(data)

    def truncate(self) -> int:
        if self._path is None:
            self._memory.truncate(self._position)
        else:
            os.truncate(self._path, min(self._position, os.path.getsize(self._path)))
        return self._position

    def close(self) -> None:
        if self._remove is not None:
            self._remove()
        self._memory.close()

    def _move_to_disk(self) -> None:
        handle, self._path = tempfile.mkstemp(dir=self._folder, prefix="object-")
        self._remove = weakref.finalize(self, _unlink, self._path)
        with os.fdopen(handle, "wb") as file:
            file.write(self._memory.getvalue())
        self._memory.truncate(0)


def _unlink(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def keep_objects_in(folder: Path | None) -> None:
    """Makes moto keep the bytes of S3 objects below ``folder`` (``None``: in memory, as moto does it)."""
    models: Any = importlib.import_module("moto.s3.models")
    if folder is None:
        models.tempfile = tempfile
        return
    folder.mkdir(parents=True, exist_ok=True)

    def spooled(max_size: int = 0) -> SpilledFile:
        return SpilledFile(folder, min(max_size, IN_MEMORY) or IN_MEMORY)

    # moto takes no folder; its module uses nothing else of ``tempfile``.
    models.tempfile = SimpleNamespace(SpooledTemporaryFile=spooled)
