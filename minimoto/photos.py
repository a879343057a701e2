"""Finding the photos of a folder, and putting them in order.

A photo is a regular file whose name has a picture's extension and whose first bytes are a picture's; which of the
formats it is need not agree with its name. A clip, a video that a film takes in, is found the same way. Nothing is
decoded here: a damaged photo goes up, and the worker says what is wrong with it. Links to files are followed, links to
folders are not.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from minimoto.core.manifest import MOST_PHOTOS, safe_name
from minimoto.core.readable import counted, printable
from minimoto.core.signatures import HEAD, is_clip, is_picture
from minimoto.errors import InvalidInput, InvalidMessage

Order = Literal["natural", "exif", "given"]

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".heic", ".heif", ".hif", ".gif"}
)
CLIP_EXTENSIONS = frozenset(
    {".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts"}
)


@dataclass(frozen=True)
class Photo:
    """A photo, or a clip, found in a folder.

    Parameters:
        path: where it lies.
        original: its name below the folder, for people; undecodable bytes and control characters are ``?``.
        size: bytes.
    """

    path: Path
    original: str
    size: int


@dataclass(frozen=True)
class LeftOut:
    """What was found in the folder besides photos.

    Parameters:
        hidden: names that start with a dot.
        folders: folders that were not looked into.
        others: files of another kind.
        mislabelled: files that are called like a picture and are none.
        clips: videos, where the pipeline takes none in.
    """

    hidden: int = 0
    folders: int = 0
    others: int = 0
    mislabelled: tuple[str, ...] = ()
    clips: int = 0

    @property
    def count(self) -> int:
        """All of them."""
        return self.hidden + self.folders + self.others + len(self.mislabelled) + self.clips

    def __str__(self) -> str:
        """One line for a person; empty when nothing was left out."""
        parts = []
        if self.hidden:
            parts.append(counted(self.hidden, "hidden file"))
        if self.folders:
            parts.append(counted(self.folders, "folder"))
        if self.others:
            parts.append(counted(self.others, "file that is no photo", "files that are no photos"))
        if self.clips:
            parts.append(f"{counted(self.clips, 'video')} (only a pipeline that begins with video takes them in)")
        if self.mislabelled:
            names = ", ".join(self.mislabelled[:3]) + (", …" if len(self.mislabelled) > 3 else "")
            parts.append(f"{counted(len(self.mislabelled), 'file')} only called like a photo ({names})")
        return f"left out: {', '.join(parts)}" if parts else ""


@dataclass(frozen=True)
class Found:
    """The photos of a folder in natural order, and what else was there."""

    photos: tuple[Photo, ...]
    left_out: LeftOut


def find_photos(folder: Path, *, recursive: bool = False, besides: Iterable[str] = (), clips: bool = False) -> Found:
    """The photos of a folder, in natural order.

    Parameters:
        folder: may itself be a link.
        recursive: whether to look into its folders (never into hidden or linked ones).
        besides: names in the folder that are there for the pipeline (music, a style) and no photos.
        clips: whether videos are taken in among them.

    Raises:
        InvalidInput: the folder is missing, is none, cannot be read, holds a photo that cannot be read, holds no
            photo, or too many.
    """
    _check_folder(folder)
    hidden = folders = others = unwanted = 0
    kinds = EXTENSIONS | CLIP_EXTENSIONS if clips else EXTENSIONS
    mislabelled: list[str] = []
    photos: list[Photo] = []
    aside = frozenset(besides)
    for entry, original in _walk(folder, recursive):
        if entry.name.startswith("."):
            hidden += 1
        elif _is_folder(entry):
            folders += 1
        elif original in aside:
            continue
        elif (kind := os.path.splitext(entry.name)[1].lower()) not in kinds:
            unwanted += kind in CLIP_EXTENSIONS
            others += kind not in CLIP_EXTENSIONS
        elif (size := _size(Path(entry.path), is_clip if kind in CLIP_EXTENSIONS else is_picture)) is None:
            mislabelled.append(original)
        else:
            photos.append(Photo(Path(entry.path), original, size))
            if len(photos) > MOST_PHOTOS:
                raise InvalidInput(f"{folder}: more than {MOST_PHOTOS} photos; send them as several folders")
    left_out = LeftOut(hidden, folders, others, tuple(sorted(mislabelled)), unwanted)
    if not photos:
        hint = "; look into its folders with --recursive" if folders and not recursive else ""
        raise InvalidInput(f"{folder}: no photo in this folder" + (f" ({left_out})" if left_out.count else "") + hint)
    return Found(natural_order(photos), left_out)


def find_attachments(folder: Path, names: Sequence[str]) -> Mapping[str, Path]:
    """The files beside the photos that a pipeline names.

    Raises:
        InvalidInput: one is not there or cannot be read.
    """
    found = {}
    for name in names:
        try:
            path = folder / safe_name(name)
        except InvalidMessage:
            raise InvalidInput(f"{name!r}: the pipeline may only name a file that lies in {folder}") from None
        if not path.is_file():
            near = get_close_matches(name, os.listdir(folder), n=1)
            hint = f"; did you mean {printable(near[0])}?" if near else ""
            raise InvalidInput(f"{folder}: the pipeline names {name}, which is not there{hint}")
        _read_head(path)
        found[name] = path
    return found


def natural_order(photos: Iterable[Photo]) -> tuple[Photo, ...]:
    """By name, numbers by their value, upper case like lower case."""
    import natsort

    key = natsort.natsort_keygen(key=lambda photo: photo.original, alg=natsort.ns.IGNORECASE | natsort.ns.PATH)
    return tuple(sorted(sorted(photos, key=lambda photo: photo.original), key=key))


def exif_order(photos: Sequence[Photo]) -> tuple[Photo, ...]:
    """By the time they were taken; those that do not say come last, in the order given."""
    from minimoto.engines.photo_facts import taken_at

    times = [(photo, taken_at(photo.path)) for photo in photos]
    dated = sorted(((time, number) for number, (_, time) in enumerate(times) if time is not None))
    return (*(photos[number] for _, number in dated), *(photo for photo, time in times if time is None))


def given_order(photos: Iterable[Photo], names: Iterable[str], source: str) -> tuple[Photo, ...]:
    """The photos that a list names, in its order; a name may come more than once.

    Parameters:
        names: lines of the list; empty ones are passed over.
        source: what the list is called, for messages.

    Raises:
        InvalidInput: it names a photo that is not there, or none at all.
    """
    known = {photo.original: photo for photo in photos}
    chosen: list[Photo] = []
    for number, line in enumerate(names, 1):
        name = printable(line.rstrip("\r\n")).removeprefix("./")
        if not name.strip():
            continue
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InvalidInput(f"{source}, line {number}: there is no photo {name[:100]}{hint}")
        chosen.append(known[name])
    if not chosen:
        raise InvalidInput(f"{source}: names no photo")
    if len(chosen) > MOST_PHOTOS:
        raise InvalidInput(f"{source}: more than {MOST_PHOTOS} photos")
    return tuple(chosen)


def _check_folder(folder: Path) -> None:
    try:
        if folder.is_dir():
            return
        if folder.exists():
            raise InvalidInput(f"{folder}: this is a file; name the folder that holds the photos")
    except OSError as error:
        raise InvalidInput(f"{folder}: cannot be looked at ({error.strerror})") from error
    hint = "the link leads nowhere" if folder.is_symlink() else "there is no such folder"
    raise InvalidInput(f"{folder}: {hint}")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _walk(folder: Path, recursive: bool) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Every entry, with its name below ``folder``; folders that are looked into are not among them."""
    waiting = [(folder, "")]
    while waiting:
        where, prefix = waiting.pop()
        try:
            entries = list(os.scandir(where))
        except OSError as error:
            raise InvalidInput(f"{where}: cannot be read ({error.strerror})") from error
        for entry in entries:
            original = prefix + printable(entry.name)
            if recursive and entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                waiting.append((Path(entry.path), f"{original}/"))
            else:
                yield entry, original


def _size(path: Path, kind: Callable[[bytes], bool]) -> int | None:
    """Bytes of a file of one kind; ``None`` for anything else, broken links, pipes and devices included."""
    read = _read_head(path)
    return read[1] if read is not None and kind(read[0]) else None


def _read_head(path: Path) -> tuple[bytes, int] | None:
    """The first bytes of a regular file, and its size; ``None`` for anything else (a device is never opened)."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
    except OSError:
        return None
    try:
        # Should the file have become a pipe meanwhile, O_NONBLOCK keeps us from waiting for its other end.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb", buffering=0) as file:
            return file.read(HEAD) or b"", os.fstat(handle).st_size
    except OSError as error:
        name = printable(str(path))
        raise InvalidInput(f"{name}: cannot be read ({error.strerror}); allow it or move it away") from error
