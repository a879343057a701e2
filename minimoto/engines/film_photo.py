"""A photo's pixels for the film: of most JPEGs by OpenCV, in a third of the time and the memory; else as
:mod:`minimoto.media` decodes them."""

from __future__ import annotations

import mmap
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minimoto.engines.photo_hdr import HLG, PQ, to_sdr
from minimoto.media import Picture

Pixels = NDArray[np.uint8]
"""``(h, w, 3)``, RGB."""

# Flags of a reduced DCT alone; that they ask for grey is overruled by those of a colour.
_REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    1: 0,
}
# Before 4.11 there is none, and Pillow decodes.
_RGB: int | None = getattr(cv2, "IMREAD_COLOR_RGB", None)
_ORIENTATION = 0x0112
# EXIF's orientations but the mirrored ones, which no camera writes.
_TURNS = {1: None, 3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}
_START_OF_SCAN, _END = 0xDA, b"\xff\xd9"


def decode(picture: Picture, file: Path, at_least: tuple[int, int]) -> Pixels | Image.Image:
    """A photo, upright, in sRGB, and SDR; an image where some of it is transparent (``RGBA``).

    Parameters:
        picture: the opened ``file``.
        at_least: as in :meth:`minimoto.media.Picture.decode`.

    Raises:
        UnreadablePicture: the file is damaged or truncated.
    """
    pixels = _jpeg(picture, file, at_least)
    if pixels is not None:
        return pixels
    image = picture.decode(at_least)
    if picture.transfer in (PQ, HLG):
        image = to_sdr(image, picture.transfer)
    return np.asarray(image) if image.mode == "RGB" else image


def size_of(photo: Pixels | Image.Image) -> tuple[int, int]:
    """Its (width, height)."""
    return photo.size if isinstance(photo, Image.Image) else (photo.shape[1], photo.shape[0])


def part_of(photo: Pixels | Image.Image, box: tuple[int, int, int, int]) -> Pixels | Image.Image:
    """What lies in ``box``, (left, top, right, bottom)."""
    left, top, right, bottom = box
    return photo.crop(box) if isinstance(photo, Image.Image) else photo[top:bottom, left:right]


def small(photo: Pixels | Image.Image, side: int) -> Image.Image:
    """The photo as an image, averaged down where its long side is over ``side``."""
    if isinstance(photo, Image.Image):
        return photo
    scale = min(1.0, side / max(photo.shape))
    width, height = (max(1, round(length * scale)) for length in size_of(photo))
    return Image.fromarray(np.asarray(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA), np.uint8))


def _jpeg(picture: Picture, file: Path, at_least: tuple[int, int]) -> Pixels | None:
    """The pixels of a JPEG that has nothing to convert and is whole; None leaves it to Pillow."""
    if _RGB is None or picture.profile:
        return None
    with Image.open(file) as header:
        plain = header.format == "JPEG" and header.mode == "RGB"
        orientation = header.getexif().get(_ORIENTATION, 1) if plain else 0
    if orientation not in _TURNS or not _is_whole(file):
        return None
    reduced = next(step for step in _REDUCED if step == 1 or _large_enough(picture.size, step, at_least))
    # Decoded into an array of its own it would be copied into one of numpy's.
    pixels = cv2.imread(str(file), None, _REDUCED[reduced] | _RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        return None
    turn = _TURNS[orientation]
    return np.asarray(pixels if turn is None else cv2.rotate(pixels, turn), np.uint8)


def _is_whole(file: Path) -> bool:
    """Whether a JPEG's pixels end as they should: OpenCV fills up with grey what is cut short.

    Source: ITU-T T.81, section B.1.1: segments say their length up to the first scan, within which no marker but its
    own may appear. So a thumbnail's end is not taken for the picture's.
    """
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = 2
        while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != bytes([_START_OF_SCAN]):
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        return data.rfind(_END, at) >= 0


def _large_enough(size: tuple[int, int], step: int, at_least: tuple[int, int]) -> bool:
    return all(side // step >= least for side, least in zip(size, at_least, strict=True))
