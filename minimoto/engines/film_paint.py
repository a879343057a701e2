"""A photo on the film's canvas, planar from the start: what :mod:`film_canvas` does in RGB, in a third of the time."""

from __future__ import annotations

import functools
import math
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minimoto.engines.film_canvas import centre, compose, contain, grain, small_backdrop
from minimoto.engines.film_frame import MATRIX, Frame, empty, flat, from_rgb, planes
from minimoto.engines.film_photo import Pixels, size_of, small

Box = tuple[float, float, float, float]
Floats = NDArray[np.float32]

# A low pass and OpenCV's cubic give what Pillow's Lanczos gives (on photos, 51 dB and more between them at any scale)
# in a fifth of its time. Up to this scale the cubic alone does.
_UNFILTERED = 1.12


def paint(
    photo: Pixels | Image.Image, size: tuple[int, int], mode: Literal["pad", "crop"], fill: str, box: Box | None = None
) -> Frame:
    """``photo`` on a canvas of ``size``, laid out as :func:`minimoto.engines.film_canvas.compose` does it.

    Parameters:
        photo: ``(h, w, 3)`` RGB, which may be written to, or an image, ``RGB`` or ``RGBA``.
        size: (width, height), both even.
        mode, box: as in ``compose``; what is cut, and where a photo lies, is rounded to a pixel or two.
        fill: ``blur`` or ``black``.
    """
    if isinstance(photo, Image.Image) and photo.mode != "RGB":
        return from_rgb(np.asarray(compose(photo, size, mode, fill, box)))
    pixels, shape = np.asarray(photo), size_of(photo)
    if mode == "crop":
        return _cropped(pixels, size, box or centre(shape, size))
    fit = contain(shape, size)
    width, height = (min(most, _even(side, 2)) for side, most in zip(fit, size, strict=True))
    front = _fitted(pixels, (width, height))
    if (width, height) == size:
        return front
    left, top = (size[0] - width) // 4 * 2, (size[1] - height) // 4 * 2
    canvas = flat(size, 16)
    if fill == "blur":
        behind = small_backdrop(small(pixels, max(size) // 4), size, (left, top), (width, height))
        for part in _around(size, (left, top, left + width, top + height)):
            _draw_backdrop(canvas, behind, part)
    for target, plane in zip(planes(canvas), planes(front), strict=True):
        ratio = size[0] // target.shape[1]
        target[top // ratio :, left // ratio :][: plane.shape[0], : plane.shape[1]] = plane
    return canvas


def _cropped(pixels: NDArray[np.uint8], size: tuple[int, int], box: Box) -> Frame:
    """What ``box`` holds of a photo: its whole pixels are fitted, and what is over is cut off the frame."""
    left, top, right, bottom = box
    whole = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
    across, down = size[0] / (right - left), size[1] / (bottom - top)
    fit = (_even((whole[2] - whole[0]) * across, size[0]), _even((whole[3] - whole[1]) * down, size[1]))
    fitted = _fitted(pixels[whole[1] : whole[3], whole[0] : whole[2]], fit)
    if fit == size:
        return fitted
    begin = (_within((left - whole[0]) * across, fit[0] - size[0]), _within((top - whole[1]) * down, fit[1] - size[1]))
    frame = empty(size)
    for target, plane in zip(planes(frame), planes(fitted), strict=True):
        ratio = size[0] // target.shape[1]
        np.copyto(target, plane[begin[1] // ratio :, begin[0] // ratio :][: target.shape[0], : target.shape[1]])
    return frame


def _even(length: float, least: int) -> int:
    return max(least, 2 * round(length / 2))


def _within(start: float, spare: int) -> int:
    return min(2 * round(start / 2), spare)


def _fitted(pixels: NDArray[np.uint8], size: tuple[int, int]) -> Frame:
    """RGB pixels as a frame of ``size``, which has about their shape."""
    scale = max(pixels.shape[1] / size[0], pixels.shape[0] / size[1])
    if scale > _UNFILTERED:
        kernel = _low_pass(scale)
        # In place where that can be: a large photo need not be there twice.
        out = pixels if pixels.flags.writeable else None
        pixels = np.asarray(cv2.sepFilter2D(pixels, -1, kernel, kernel, out, borderType=cv2.BORDER_REPLICATE), np.uint8)
    return from_rgb(np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8))


def _low_pass(scale: float) -> NDArray[np.float64]:
    """What a picture can show that is ``scale`` times as small: Lanczos's windowed sinc of three lobes."""
    steps = np.arange(1 - math.ceil(3 * scale), math.ceil(3 * scale)) / scale
    weights = np.sinc(steps) * np.sinc(steps / 3)
    return np.asarray(weights / weights.sum(), np.float64)


def _around(size: tuple[int, int], inner: tuple[int, int, int, int]) -> list[tuple[slice, slice]]:
    """Rows and columns of the stripes of a canvas beside ``inner`` (left, top, right, bottom)."""
    width, height = size
    left, top, right, bottom = inner
    stripes = ((0, top, 0, width), (bottom, height, 0, width), (top, bottom, 0, left), (top, bottom, right, width))
    return [(slice(a, b), slice(c, d)) for a, b, c, d in stripes if b > a and d > c]


def _draw_backdrop(canvas: Frame, small: Floats, part: tuple[slice, slice]) -> None:
    """Enlarge ``small`` over a part of ``canvas``, with grain against steps in its gradients."""
    rgb = small.reshape(-1, 3)
    for index, target in enumerate(planes(canvas)):
        ratio = canvas.shape[1] // target.shape[1]
        rows, columns = (slice(side.start // ratio, side.stop // ratio) for side in part)
        level = (rgb @ MATRIX[index, :3] + MATRIX[index, 3]).reshape(small.shape[:2])
        down = _weights(small.shape[0], target.shape[0])[rows]
        across = _weights(small.shape[1], target.shape[1])[columns]
        grown = _product(down, _product(level, across.T))
        noise = grain((canvas.shape[1], canvas.shape[0]))[rows, columns]
        # It cuts off: what is added makes it round, by chance.
        np.copyto(target[rows, columns], np.add(grown, noise, out=grown), casting="unsafe")


def _product(a: Floats, b: Floats) -> Floats:
    """By OpenCV: numpy's own product has threads, which spin while they wait and take the encoder's time."""
    return np.asarray(cv2.gemm(a, np.ascontiguousarray(b), 1, None, 0), np.float32)  # type: ignore[call-overload]


@functools.lru_cache(8)
def _weights(before: int, after: int) -> Floats:
    """Of a cubic enlargement one way: ``(after, before)``."""
    return np.asarray(
        cv2.resize(np.eye(before, dtype=np.float32), (before, after), interpolation=cv2.INTER_CUBIC), np.float32
    )
