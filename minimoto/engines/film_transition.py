"""How one slide becomes the next. Each takes both frames and the share of the new one, and draws a frame."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from minimoto.engines.film_frame import Frame, flat, half, planes, warp
from minimoto.engines.film_settings import TRANSITIONS

Transition = Callable[[Frame, Frame, float, Frame], Frame]
"""``(leaving, entering, mix, out) -> out``; mix 0 would be all ``leaving``, 1 all ``entering``."""

Mask = NDArray[np.float32]


def choose(name: str, join: int, seed: int) -> Transition:
    """The transition of the join after slide ``join``; ``random`` picks any but ``cut``."""
    if name == "random":
        name = random.Random(f"minimoto join {seed} {join}").choice(TRANSITIONS[1:])
    return BY_NAME[name]


def _smooth(mix: float) -> float:
    return mix * mix * (3 - 2 * mix)


def _cut(leaving: Frame, entering: Frame, mix: float, out: Frame) -> Frame:
    return leaving if mix < 0.5 else entering


def _crossfade(leaving: Frame, entering: Frame, mix: float, out: Frame) -> Frame:
    cv2.addWeighted(leaving, 1 - mix, entering, mix, 0, out)
    return out


def _fade_through(luma: int) -> Transition:
    def fade(leaving: Frame, entering: Frame, mix: float, out: Frame) -> Frame:
        frame, share = (leaving, 1 - 2 * mix) if mix < 0.5 else (entering, 2 * mix - 1)
        return _crossfade(_flat(_size(frame), luma), frame, _smooth(share), out)

    return fade


def _slide(leaving: Frame, entering: Frame, mix: float, out: Frame) -> Frame:
    width = out.shape[1]
    np.copyto(out, leaving)
    return warp(entering, 1, width * (_smooth(mix) - 1), 0, out, cv2.BORDER_TRANSPARENT)


def _push(leaving: Frame, entering: Frame, mix: float, out: Frame) -> Frame:
    width = out.shape[1]
    warp(leaving, 1, width * _smooth(mix), 0, out)
    return warp(entering, 1, width * (_smooth(mix) - 1), 0, out, cv2.BORDER_TRANSPARENT)


def _zoom(leaving: Frame, entering: Frame, mix: float, out: Frame) -> Frame:
    """The camera flies into the leaving slide and lands on the entering one."""
    near = _enlarged(leaving, 1 + 0.5 * mix**2)
    far = _enlarged(entering, 1 + 0.3 * (1 - mix) ** 2)
    return _crossfade(near, far, _smooth(mix), out)


def _enlarged(frame: Frame, zoom: float) -> Frame:
    width, height = _size(frame)
    scale = 1 / zoom
    return warp(frame, scale, (width - 1) * (1 - scale) / 2, (height - 1) * (1 - scale) / 2, np.empty_like(frame))


def _reveal(order: Callable[[tuple[int, int]], Mask], softness: float) -> Transition:
    """A transition that uncovers pixels in the ``order`` 0..1 of a map, with soft edges ``softness`` wide."""

    def reveal(leaving: Frame, entering: Frame, mix: float, out: Frame) -> Frame:
        front = _smooth(mix) * (1 + softness)
        shown = np.clip((front - order(_size(out))) / softness, 0, 1)
        small = half(shown)
        for a, b, target, mask in zip(
            planes(leaving), planes(entering), planes(out), (shown, small, small), strict=True
        ):
            cv2.blendLinear(a, b, 1 - mask, mask, target)
        return out

    return reveal


@functools.lru_cache(2)
def _across(size: tuple[int, int]) -> Mask:
    return np.tile(np.linspace(0, 1, size[0], dtype=np.float32), (size[1], 1))


@functools.lru_cache(2)
def _around(size: tuple[int, int]) -> Mask:
    x, y = _centred(size)
    return np.asarray((np.arctan2(-x, y) / (2 * np.pi) + 0.5), np.float32)


@functools.lru_cache(2)
def _outwards(size: tuple[int, int]) -> Mask:
    distance = np.hypot(*_centred(size))
    return np.asarray(distance / distance.max(), np.float32)


@functools.lru_cache(2)
def _clouds(size: tuple[int, int]) -> Mask:
    """Smooth noise, evenly spread over 0..1, so that equal areas dissolve in equal times."""
    noise = np.zeros((size[1], size[0]), np.float32)
    for cells, weight in ((6, 1.0), (18, 0.5), (54, 0.25)):
        grid = np.random.default_rng(cells).random((cells, max(1, cells * size[0] // size[1])), np.float32)
        noise += weight * cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC)
    low, high = float(noise.min()), float(noise.max())
    counts, edges = np.histogram(noise, 256, (low, high))
    spread = np.concatenate([[0], np.cumsum(counts) / noise.size])
    return np.asarray(np.interp(noise, edges, spread), np.float32)


def _centred(size: tuple[int, int]) -> tuple[Mask, Mask]:
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32)
    return x - (size[0] - 1) / 2, y - (size[1] - 1) / 2


@functools.lru_cache(4)
def _flat(size: tuple[int, int], luma: int) -> Frame:
    return flat(size, luma)


def _size(frame: Frame) -> tuple[int, int]:
    return frame.shape[1], frame.shape[0] * 2 // 3


BY_NAME: dict[str, Transition] = {
    "cut": _cut,
    "crossfade": _crossfade,
    "fade": _fade_through(16),
    "fadewhite": _fade_through(235),
    "slide": _slide,
    "push": _push,
    "wipe": _reveal(_across, 0.08),
    "clock": _reveal(_around, 0.02),
    "iris": _reveal(_outwards, 0.03),
    "zoom": _zoom,
    "dissolve": _reveal(_clouds, 0.25),
}
