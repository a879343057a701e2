"""Files that are costly to make and cheap to remake: written whole or not at all, checked when read, bounded in size.

An entry is a folder of files with ``entry.json`` beside them, which holds the SHA-256 of each and what else is known.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger("minimoto.runtime")

CACHE_VARIABLE = "MINIMOTO_CACHE"
LIMIT = 2 * 2**30
"""Bytes of all entries above which the longest unused ones go."""
WAIT_SECONDS = 600.0
"""How long a process waits for another one that makes the same entry."""

_ABOUT = "entry.json"


def cache_dir() -> Path:
    """Where what can be remade is kept: ``MINIMOTO_CACHE``, else ``minimoto`` in the user's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minimoto"


@dataclass(frozen=True)
class Entry:
    """An entry that was read and checked.

    Parameters:
        files: name to content.
        about: what else was stored, such as how exact a network is.
    """

    files: Mapping[str, bytes]
    about: Mapping[str, Any]


def read(folder: Path) -> Entry | None:
    """The entry in ``folder``; ``None`` if there is none, or one that is damaged, which is said in the log."""
    if not folder.exists():
        return None
    try:
        about = json.loads((folder / _ABOUT).read_text("utf-8"))
        files = {name: (folder / name).read_bytes() for name in about["sha256"]}
        for name, data in files.items():
            if digest(data) != about["sha256"][name]:
                raise ValueError(f"{name} is not what was written")
        entry = Entry(files, about["about"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("the cache entry %s is damaged (%s) and is made again", folder, error)
        return None
    # A cache that may only be read, such as one baked into an image, serves as well.
    with suppress(OSError):
        os.utime(folder)
    return entry


def write(folder: Path, entry: Entry) -> bool:
    """Puts the entry into ``folder`` in place of what is there; ``False``, said in the log, where it cannot.

    Only whoever holds :func:`lock` may write; others may read at the same time.
    """
    about = {"about": dict(entry.about), "sha256": {name: digest(data) for name, data in entry.files.items()}}
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
        for name, data in entry.files.items():
            (temporary / name).write_bytes(data)
        (temporary / _ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except OSError as error:
        log.warning("%s cannot be cached (%s); the next start is slow again", folder.name, error)
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        return False
    return True


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keeps others from making the same entry; without a folder that can be written, keeps nobody.

    Others are waited for :data:`WAIT_SECONDS`; whoever is not done by then is not trusted, and the work is done twice.
    """
    from filelock import FileLock, Timeout

    held = FileLock(folder.parent / f"{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        held.acquire(timeout=WAIT_SECONDS)
    except (OSError, Timeout) as error:
        log.warning("%s cannot be locked (%s)", folder, error)
    try:
        yield
    finally:
        held.release()


def prune(folder: Path, keep: Path, limit: int = LIMIT) -> list[Path]:
    """Deletes entries of ``folder``, the longest unused first, until they hold at most ``limit`` bytes.

    Parameters:
        keep: an entry that stays, whatever its size.

    Returns:
        The entries that went, and what writers that were killed left behind.
    """
    found = [path for path in folder.iterdir() if path.is_dir()]
    left_behind = [path for path in found if path.name.startswith(".new-") and _age(path) > WAIT_SECONDS]
    entries = [path for path in found if not path.name.startswith(".")]
    total, gone = 0, []
    for path in sorted(entries, key=lambda path: (path != keep, _age(path))):
        total += _size(path)
        if total > limit and path != keep:
            gone.append(path)
    for path in (*gone, *left_behind):
        shutil.rmtree(path, ignore_errors=True)
        (folder / f"{path.name}.lock").unlink(missing_ok=True)
    return [*gone, *left_behind]


def digest(data: bytes) -> str:
    """SHA-256, as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _age(path: Path) -> float:
    """Seconds since it was used; 0 for one that another process deleted just now."""
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime
    return 0.0


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return sum(file.stat().st_size for file in path.iterdir())
    return 0
