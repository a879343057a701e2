"""Frames as encoders want them: planar YUV 4:2:0, BT.709, studio range.

A frame is one ``(height * 3 / 2, width)`` uint8 array (I420): the luma plane, then the two chroma planes at half size.
Everything that a film does to frames is linear, so it is done on these 1.5 bytes a pixel, and nothing is converted
again on the way into the encoder. Chroma is sited left, as H.264 assumes: sample (i, j) lies at luma (2i, 2j + 0.5).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
Plane = NDArray[np.uint8]

# ITU-R BT.709-6, section 3: luma 16..235, chroma 16..240 around 128, from R'G'B' 0..255.
_KR, _KB = 0.2126, 0.0722
_KG = 1 - _KR - _KB
_Y = np.array([_KR, _KG, _KB]) * 219 / 255
_U = np.array([-_KR, -_KG, 1 - _KB]) / (2 * (1 - _KB)) * 224 / 255
_V = np.array([1 - _KR, -_KG, -_KB]) / (2 * (1 - _KR)) * 224 / 255
# Rows converted at once: what is between stays in the cache.
_BAND = 256

MATRIX = np.array([[*_Y, 16], [*_U, 128], [*_V, 128]], np.float32)


def empty(size: tuple[int, int]) -> Frame:
    """A frame of ``size`` (width, height), both even, of undefined content."""
    return np.empty((size[1] * 3 // 2, size[0]), np.uint8)


def flat(size: tuple[int, int], luma: int) -> Frame:
    """A grey frame; ``luma`` 16 is black and 235 white."""
    frame = empty(size)
    for plane, value in zip(planes(frame), (luma, 128, 128), strict=True):
        plane[:] = value
    return frame


def planes(frame: Frame) -> tuple[Plane, Plane, Plane]:
    """Views of the Y ``(h, w)``, U and V ``(h/2, w/2)`` planes."""
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    chroma = frame[height:].reshape(2, height // 2, width // 2)
    return frame[:height], chroma[0], chroma[1]


def from_rgb(pixels: NDArray[Any]) -> Frame:
    """A frame from ``(h, w, 3)`` RGB uint8, both sides even; luma within a level of the exact, chroma within 1.5."""
    frame = empty((pixels.shape[1], pixels.shape[0]))
    # Three channels to three are vectorised, three to one are not; with 10 bits for each factor, which is enough.
    luma, *chroma = planes(frame)
    for top in range(0, len(pixels), _BAND):
        converted = cv2.transform(pixels[top : top + _BAND], MATRIX)
        cv2.extractChannel(converted, 0, luma[top : top + _BAND])
        for channel, target in enumerate(chroma, 1):
            halved = _left_sited_half(np.asarray(cv2.extractChannel(converted, channel), np.uint8))
            target[top // 2 :][: len(halved)] = halved
    return frame


def _left_sited_half(plane: Plane) -> Plane:
    """At every other column, weights 1 2 1 across, which are two means of neighbours; means of two down."""
    half = (plane.shape[1] // 2, plane.shape[0] // 2)
    after = cv2.resize(plane, half, interpolation=cv2.INTER_AREA)
    shifted = cv2.copyMakeBorder(plane[:, :-1], 0, 0, 1, 0, cv2.BORDER_REPLICATE)
    before = cv2.resize(shifted, half, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.addWeighted(before, 0.5, after, 0.5, 0), np.uint8)


def half(mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """A luma-sized ``(h, w)`` mask for the chroma planes."""
    size = (mask.shape[1] // 2, mask.shape[0] // 2)
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.float32)


def warp(source: Frame, scale: float, left: float, top: float, out: Frame, border: int = cv2.BORDER_REPLICATE) -> Frame:
    """Draw ``source`` so that out's pixel x shows source's pixel ``scale * x + left``, and y likewise; sub-pixel exact.

    Parameters:
        scale: source pixels for one pixel of ``out``.
        left, top: the source pixel, by its centre, that lands on out's pixel (0, 0).
        out: the frame that is written and returned.
        border: OpenCV's border mode for what lies outside ``source``.
    """
    luma = (left, top)
    # In chroma samples: x' = (s * 2x + left) / 2, and y with its offset of half a luma pixel on both sides.
    chroma = (left / 2, (top + 0.5 * scale - 0.5) / 2)
    for plane, target, shift in zip(planes(source), planes(out), (luma, chroma, chroma), strict=True):
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        size = (target.shape[1], target.shape[0])
        cv2.warpAffine(plane, matrix, size, target, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, border)
    return out
