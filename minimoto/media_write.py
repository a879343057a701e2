"""Writing a picture with what belonged to the photo it was made from: colour profile, EXIF, transparency, 16 bits."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

_JPEG_SEGMENT = 65533
"""Bytes that a JPEG segment holds; what a longer EXIF block says (mostly a maker's preview) cannot be kept."""
_JPEG_SIDE = 65500
_PNG_HEAD = 33
"""Bytes of a PNG up to the end of its first chunk, IHDR."""


def write_picture(
    image: Image.Image,
    stem: Path,
    *,
    quality: int = 92,
    profile: bytes = b"",
    exif: bytes = b"",
    lossless: bool = False,
) -> Path:
    """Writes ``image`` as ``<stem>.png`` where it is transparent or ``lossless``, else as ``<stem>.jpg``.

    Parameters:
        image: ``L``, ``RGB``, ``LA`` or ``RGBA``.
        quality: of the JPEG, 1..100; from 90 on its colours are kept at full resolution.
        profile: the ICC profile of its colours; empty for sRGB.
        exif: an EXIF block without an orientation, as :meth:`minimoto.media.Picture.exif` gives it.

    Returns:
        The file.

    Raises:
        OSError: it could not be written.
    """
    extra: dict[str, Any] = {"icc_profile": profile or None}
    if lossless or image.mode in {"LA", "RGBA"} or max(image.size) > _JPEG_SIDE:
        path = stem.with_name(f"{stem.name}.png")
        image.save(path, "PNG", exif=exif, compress_level=3, **extra)
    else:
        path = stem.with_name(f"{stem.name}.jpg")
        extra["exif"] = exif if len(exif) <= _JPEG_SEGMENT else b""
        image.save(path, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2, **extra)
    return path


def write_16_bit(pixels: NDArray[np.uint16], stem: Path, *, profile: bytes = b"", exif: bytes = b"") -> Path:
    """Writes 16 bits a channel as ``<stem>.png``.

    Parameters:
        pixels: ``(H, W)``, ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA.

    Returns:
        The file.

    Raises:
        OSError: it could not be written.
    """
    import cv2
    import numpy as np

    if pixels.ndim == 3:
        pixels = np.take(pixels, [2, 1, 0, 3][: pixels.shape[2]], axis=2)
    done, encoded = cv2.imencode(".png", pixels)
    if not done:
        raise OSError(f"{stem.name}: {pixels.shape[1]}x{pixels.shape[0]} could not be encoded as PNG")
    data = encoded.tobytes()
    # OpenCV writes neither; both chunks must stand before the pixels (PNG specification, 3rd edition, 5.6).
    chunks = _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)) if profile else b""
    chunks += _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")) if exif else b""
    path = stem.with_name(f"{stem.name}.png")
    path.write_bytes(data[:_PNG_HEAD] + chunks + data[_PNG_HEAD:])
    return path


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
