"""A photo of any shape on a canvas of one shape: padded over a blurred copy of itself or a colour, or cropped."""

from __future__ import annotations

import functools
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageStat

Fill = str | tuple[int, int, int]
"""``blur``, or an RGB colour, 0..255."""

_BACKDROP_SHRINK = 16
_BACKDROP_LIGHT = 0.6


def contain(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest (width, height) of ``size``'s shape inside ``box``; at least 1 pixel a side."""
    scale = min(box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def cover(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The smallest (width, height) of ``size``'s shape that covers ``box``."""
    scale = max(box[0] / size[0], box[1] / size[1])
    return max(box[0], round(size[0] * scale)), max(box[1], round(size[1] * scale))


def compose(
    image: Image.Image,
    size: tuple[int, int],
    mode: Literal["pad", "crop"],
    fill: Fill,
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """``image`` on a canvas of ``size`` (width, height), opaque ``RGB``.

    Parameters:
        image: ``RGB`` or ``RGBA``.
        mode: ``pad`` shows all of it over ``fill``; ``crop`` covers the canvas, centred.
        fill: what shows beside the photo and through its transparent parts.
        box: what ``crop`` shows, of the canvas's shape: (left, top, right, bottom) in ``image``; its middle if None.
    """
    if mode == "crop":
        front = image.resize(size, Image.Resampling.LANCZOS, box=box or centre(image.size, size), reducing_gap=3.0)
    else:
        front = image.resize(contain(image.size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
    if front.size == size and front.mode == "RGB":
        return front
    place = ((size[0] - front.width) // 2, (size[1] - front.height) // 2)
    behind = _backdrop(front, size, place) if fill == "blur" else Image.new("RGB", size, fill)
    behind.paste(front, place, front if front.mode == "RGBA" else None)
    return behind


def centre(size: tuple[int, int], shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred box of ``shape``'s proportions inside ``size``."""
    scale = min(size[0] / shape[0], size[1] / shape[1])
    # Rounding must not put an edge outside by a hair: Pillow refuses such a box.
    width, height = min(size[0], shape[0] * scale), min(size[1], shape[1] * scale)
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, min(size[0], left + width), min(size[1], top + height)


def _backdrop(front: Image.Image, size: tuple[int, int], place: tuple[int, int]) -> Image.Image:
    """The photo covering the canvas, blurred and dimmed, with a soft shadow where ``front`` will lie, at ``place``."""
    small = small_backdrop(front, size, place, front.size)
    grown = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.float32)
    return Image.fromarray(np.clip(grown + grain(size)[:, :, None], 0, 255).astype(np.uint8))


def small_backdrop(
    photo: Image.Image, size: tuple[int, int], place: tuple[int, int], front_size: tuple[int, int]
) -> NDArray[np.float32]:
    """What lies beside ``photo`` on a canvas of ``size``, as :func:`compose` draws it: RGB 0..255, at a 16th of it.

    Parameters:
        place, front_size: where the photo will lie: its left and top corner, its (width, height).
    """
    small = (max(1, -(-size[0] // _BACKDROP_SHRINK)), max(1, -(-size[1] // _BACKDROP_SHRINK)))
    behind = photo.resize(small, Image.Resampling.BOX, box=centre(photo.size, size), reducing_gap=2.0)
    behind = _on_contrast(behind) if behind.mode == "RGBA" else behind
    behind = behind.filter(ImageFilter.GaussianBlur(small[1] / 22))
    light = Image.new("L", small, round(255 * _BACKDROP_LIGHT))
    if photo.mode == "RGB":
        left, top, width, height = (side / _BACKDROP_SHRINK for side in (*place, *front_size))
        ImageDraw.Draw(light).rectangle((left, top, left + width, top + height), fill=round(90 * _BACKDROP_LIGHT))
        light = light.filter(ImageFilter.GaussianBlur(1.2))
    return np.asarray(behind, np.float32) * (np.asarray(light, np.float32)[:, :, None] / np.float32(255))


@functools.lru_cache(2)
def grain(size: tuple[int, int]) -> NDArray[np.float32]:
    """Noise of 0..1 to add before cutting to 8 bits: smooth gradients would show as steps without it."""
    noise = np.random.default_rng(0).random((size[1], size[0]), np.float32)
    noise.flags.writeable = False
    return noise


def _on_contrast(image: Image.Image) -> Image.Image:
    """A transparent picture on plain dark or light, whichever its visible part stands out from."""
    grey, alpha = image.convert("L"), image.getchannel("A")
    visible = ImageStat.Stat(grey, alpha).mean[0] if alpha.getextrema()[1] else 0.0
    flat = Image.new("RGB", image.size, (40, 40, 40) if visible > 128 else (235, 235, 235))
    flat.paste(image, (0, 0), alpha)
    return flat
