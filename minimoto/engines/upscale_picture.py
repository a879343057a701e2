"""A photo's pixels in, an enlarged photo out, with what belongs to it: 16 bits, grey, transparency, profile, EXIF."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minimoto.errors import UnreadablePicture
from minimoto.media import Picture, open_picture
from minimoto.media_write import write_16_bit, write_picture

Pixels = NDArray[Any]

MOST_BYTES = 1_800_000_000
"""What the result may take in memory while it is made: 450 megapixels at 8 bits a channel."""
_BYTES_A_PIXEL, _DEEP_BYTES_A_CHANNEL = 4, 4


@dataclass(frozen=True)
class Photo:
    """A photo as it is enlarged.

    Parameters:
        pixels: ``(h, w)``, ``(h, w, 3)`` RGB or ``(h, w, 4)`` RGBA, upright, uint8 or uint16.
        is_grey: whether the result is written without colours, even where ``pixels`` has three equal channels and
            transparency.
        profile: the ICC profile of ``pixels``; empty for sRGB.
        exif: without its orientation.
    """

    pixels: Pixels
    is_grey: bool
    profile: bytes
    exif: bytes


def read_photo(path: Path, factor: int) -> Photo:
    """Reads a photo that is to be enlarged by ``factor``.

    Raises:
        UnreadablePicture: it cannot be read, or the result would be too large.
    """
    with open_picture(path) as picture:
        _check_size(picture, factor)
        exif = picture.exif()
        profile = picture.profile
        deep = picture.decode_deep() if picture.is_deep else None
        if deep is not None:
            return Photo(deep, deep.ndim == 2, profile, exif)
        image = picture.decode(keep_profile=True)
        pixels = np.asarray(image)
        grey = picture.is_grey
    if grey and pixels.shape[2] == 3:
        pixels = np.ascontiguousarray(pixels[..., 0])
    return Photo(pixels, grey, image.info.get("icc_profile", b""), exif)


def write_photo(photo: Photo, factor: int, strips: Iterable[tuple[int, Pixels]], stem: Path, quality: int) -> Path:
    """Writes the enlarged photo, given as rows from its top, as ``<stem>.jpg`` or, where it is transparent or of 16
    bits, ``<stem>.png``.

    Raises:
        OSError: it could not be written.
    """
    height, width = (side * factor for side in photo.pixels.shape[:2])
    if photo.pixels.dtype == np.uint16:
        whole = np.empty((height, width, *photo.pixels.shape[2:]), np.uint16)
        for top, rows in strips:
            whole[top : top + len(rows)] = rows
        return write_16_bit(whole, stem, profile=photo.profile, exif=photo.exif)
    transparent = photo.pixels.ndim == 3 and photo.pixels.shape[2] == 4
    mode = ("LA" if transparent else "L") if photo.is_grey else ("RGBA" if transparent else "RGB")
    canvas = Image.new(mode, (width, height))
    for top, rows in strips:
        canvas.paste(Image.fromarray(rows[..., [0, 3]] if mode == "LA" else rows), (0, top))
    return write_picture(canvas, stem, quality=quality, profile=photo.profile, exif=photo.exif)


def _check_size(picture: Picture, factor: int) -> None:
    width, height = (side * factor for side in picture.size)
    channels = (1 if picture.is_grey else 3) + picture.has_alpha
    # A 16-bit result is held twice while it is encoded.
    each = channels * _DEEP_BYTES_A_CHANNEL if picture.is_deep else _BYTES_A_PIXEL
    if width * height * each > MOST_BYTES:
        raise UnreadablePicture(
            f"{picture.name}: {factor} times as large is {width}x{height}, {width * height / 1e6:.0f} megapixels,"
            f" over the limit of {MOST_BYTES / each / 1e6:.0f}; use a smaller factor, or fit first"
        )
