"""Sending the files of a job side by side; what is already there with the same content is not sent again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minimoto.client.parallel import move_all
from minimoto.core.job import Location
from minimoto.core.readable import printable
from minimoto.errors import InvalidInput
from minimoto.ports import Store, Transferred


@dataclass(frozen=True)
class Sending:
    """One file and where it goes; ``size`` in bytes, as it was found."""

    path: Path
    to: Location
    size: int


@dataclass(frozen=True)
class Sent:
    """What an upload did: files sent, and files that were there already."""

    sent: int
    kept: int


def upload(
    files: Sequence[Sending], store: Store, *, there: Location | None, side_by_side: int, moved: Transferred
) -> Sent:
    """Sends the files.

    Parameters:
        there: the prefix below which an earlier run may have left some of them; ``None`` if there was none.
        side_by_side: how many are sent at once.
        moved: told of bytes sent or found to be there, from any thread.

    Raises:
        CloudError: the first one, as soon as it happens; nothing new is begun then.
        InvalidInput: a file cannot be read, or changed meanwhile.
        KeyboardInterrupt: transfers under way are ended first.
    """
    sizes = {found.location: found.size for found in store.list(there)} if there is not None else {}

    def send(file: Sending, moved: Transferred) -> bool:
        digest = _digest(file)
        if sizes.get(file.to) == file.size:
            known = store.stat(file.to)
            if known is not None and (known.size, known.sha256) == (file.size, digest):
                moved(file.size)
                return False
        store.upload(file.path, file.to, digest, moved)
        _check_unchanged(file)
        return True

    sent = sum(move_all(send, files, side_by_side, moved))
    return Sent(sent, len(files) - sent)


def _digest(file: Sending) -> str:
    try:
        with file.path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise InvalidInput(f"{printable(str(file.path))}: cannot be read any more ({error.strerror})") from error


def _check_unchanged(file: Sending) -> None:
    """A file that grew or shrank while it was sent must not be taken for whole."""
    try:
        size = file.path.stat().st_size
    except OSError as error:
        raise InvalidInput(f"{printable(str(file.path))}: vanished while it was sent ({error.strerror})") from error
    if size != file.size:
        raise InvalidInput(f"{printable(str(file.path))}: changed while it was sent; run the same command again")
