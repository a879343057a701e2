"""Which files a job has, and under which keys: everything below ``<job>/`` in the input bucket.

    <job>/in/000012-beach.jpg        the photos, in the job's order
    <job>/in/attached/song.mp3       the files that the pipeline's parameters name
    <job>/in/manifest.json           the list of the photos, written last
    <job>/work/<stage>/…             what a stage leaves for the next

Results lie in the output bucket below the job's ``outputs`` prefix. No name from a message, a manifest or a photo
becomes a key or a path before :func:`safe_name` has passed it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from minimoto.core.job import Job, Location
from minimoto.errors import InvalidMessage

MOST_PHOTOS = 20_000
MOST_BYTES = 16_000_000
"""Bytes of a manifest: what ``Store.read`` gives."""

_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Item:
    """One input photo.

    Parameters:
        name: the object's name below ``<job>/in/``.
        original: what the file was called, for people.
        size: bytes.
    """

    name: str
    original: str
    size: int = 0


def safe_name(name: str) -> str:
    """``name`` if it may be part of a key and of a path.

    Raises:
        InvalidMessage: it is empty, too long, hidden, or holds a slash or a control character.
    """
    if not name or len(name) > 200 or name[0] == "." or re.search(r"[/\\\x00-\x1f\x7f]", name):
        raise InvalidMessage(f"the file name {name[:80]!r} is not allowed")
    return name


def object_name(index: int, original: str) -> str:
    """The name of a photo below ``<job>/in/``: its place in the order, and its own name made harmless."""
    stem = _UNSAFE.sub("_", original).strip("._") or "photo"
    # By bytes: on the worker it becomes a file name, of which file systems take 255 bytes.
    return f"{index:06d}-{stem.encode()[-100:].decode(errors='ignore').lstrip('.')}"


def photo(job: Job, name: str) -> Location:
    """The object of an input photo."""
    return job.inputs / f"in/{safe_name(name)}"


def attachment(job: Job, name: str) -> Location:
    """The object of a file that a parameter names."""
    return job.inputs / f"in/attached/{safe_name(name)}"


def manifest(job: Job) -> Location:
    """The object that lists the photos."""
    return job.inputs / "in/manifest.json"


def work(job: Job, stage: int) -> Location:
    """The prefix of what a stage leaves for the next; for the last stage, the prefix of the results."""
    if stage == len(job.stages) - 1:
        return job.outputs
    return job.inputs / f"work/{stage}/"


def dump_items(items: Sequence[Item]) -> str:
    """The text of a manifest."""
    return json.dumps({"v": 1, "photos": [[i.name, i.original, i.size] for i in items]}, ensure_ascii=False)


def load_items(text: str) -> tuple[Item, ...]:
    """Reads a manifest; each name is checked.

    Raises:
        InvalidMessage: it is not a manifest.
    """
    try:
        photos = json.loads(text)["photos"]
        items = tuple(Item(safe_name(name), str(original), int(size)) for name, original, size in photos)
    except InvalidMessage:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidMessage("the job's manifest is damaged") from error
    if len(items) > MOST_PHOTOS:
        raise InvalidMessage(f"the job has more than {MOST_PHOTOS} photos")
    return items
