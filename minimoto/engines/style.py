"""The ``fast`` style: one pass of a network for any style picture, a photo of any size, within bounded memory."""

from __future__ import annotations

import functools
import operator
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from minimoto.engines import style_colour as colour
from minimoto.engines import style_network as network
from minimoto.engines import style_tiles as tiles
from minimoto.engines.runtime_device import Device, choose_device
from minimoto.engines.style_painting import Asked, Painting
from minimoto.engines.style_settings import FastOptions, memory_plan

Pixels = NDArray[np.uint8]
"""``(H, W, 3)``, RGB."""

_LONGEST = 8
"""Times its shorter side that a style picture may be long: a line of pixels would be enlarged to gigabytes."""
_MOST_VIEWS = 3
"""Squares of a style picture, along an axis, that its style vector is the mean of."""


@dataclass(frozen=True)
class Look:
    """What is taken from the style pictures: what they look like to the network, and their colours.

    Parameters:
        vector: codes and moments of features, of the pictures without their colours.
        colours: of the style pictures together.
    """

    vector: network.StyleVector
    colours: colour.Statistics


class FastStyle:
    """The network, ready to style.

    Parameters:
        weights: its safetensors file.
        device: default: :func:`~minimoto.engines.runtime.choose_device`'s.

    Raises:
        ConfigError: a library that is needed is not installed.
    """

    def __init__(self, weights: Path, device: Device | None = None) -> None:
        self._networks = network.Networks(weights, device or choose_device())
        # Photos take turns: what the networks lend is written over by their next call.
        self._turn = threading.Lock()

    def look(self, pictures: Sequence[Pixels], weights: Sequence[float] = (), style_scale: float = 1.0) -> Look:
        """What one style picture, or several mixed by their weights, look like.

        Parameters:
            weights: one for each picture, only their ratios count; equal when there are none.
            style_scale: see :class:`~minimoto.engines.style_settings.FastOptions`.
        """
        shares = np.asarray(weights or [1.0] * len(pictures), np.float64)
        shares = shares / shares.sum()
        colours = [colour.statistics(_shrunk(picture)) for picture in pictures]
        vectors = [
            self._vector(_views(picture, style_scale), own).scaled(float(share))
            for picture, own, share in zip(pictures, colours, shares, strict=True)
            if share > 0
        ]
        return Look(functools.reduce(operator.add, vectors), colour.blend(colours, shares.tolist()))

    def apply(
        self,
        photo: Pixels,
        look: Look,
        options: FastOptions | None = None,
        *,
        alpha: NDArray[np.uint8] | None = None,
        mask: NDArray[np.uint8] | None = None,
        own: colour.Statistics | None = None,
        progress: Callable[[float], None] = lambda done: None,
        whole: int | None = None,
        tile: int = tiles.TILE,
    ) -> Pixels:
        """``photo`` in the style of ``look``, at its own size.

        Parameters:
            photo: at least one pixel; larger than :data:`~minimoto.engines.style_settings.MOST_PIXELS` it is styled at
                that size and the result enlarged.
            alpha: ``(H, W)``: the colours behind what is wholly transparent are not looked at.
            mask: ``(H, W)``, as large as the photo: where it is styled (255) and where it stays as it is (0).
            own: colours that stand for the photo's, such as those of all frames of a sequence.
            progress: told how much is done, 0..1; what it raises ends the work.
            whole, tile: see :func:`minimoto.engines.style_tiles.run`.
        """
        options = options or FastOptions()
        if options.strength == 0 or (mask is not None and not mask.any()):
            progress(1.0)
            return photo.copy()
        height, width = photo.shape[:2]
        own = own or self._statistics(photo, alpha)
        seen = _without_hidden(photo, alpha, own)
        size = memory_plan(width, height).size
        if size != (width, height):
            seen = np.asarray(cv2.resize(seen, size, interpolation=cv2.INTER_AREA), np.uint8)
        asked = Asked(look.vector, own if options.colors == "keep" else look.colours)
        painting = Painting(self._networks, asked, whole, tile, options.seed)
        with self._turn:
            styled = painting.styled(seen, own, progress)
        if size != (width, height):
            styled = np.asarray(cv2.resize(styled, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
        return _blended(photo, styled, options, mask)

    def _statistics(self, photo: Pixels, alpha: NDArray[np.uint8] | None) -> colour.Statistics:
        gpu = self._networks.gpu
        if gpu is None or alpha is not None or not gpu.takes(photo.shape[0] * photo.shape[1]):
            return colour.statistics(photo, alpha)
        return gpu.statistics(photo, kept=True)

    def _vector(self, views: Sequence[Pixels], own: colour.Statistics) -> network.StyleVector:
        without = colour.plain_map(own)

        def seen(square: Pixels) -> network.StyleVector:
            plain = colour.apply(square, without).transpose(2, 0, 1)
            return network.look_at(self._networks, np.ascontiguousarray(plain)[None])

        return functools.reduce(operator.add, [seen(square).scaled(1 / len(views)) for square in views])


@functools.cache
def fast_style(weights: Path) -> FastStyle:
    """The network of a weights file, loaded once a process."""
    return FastStyle(weights)


def _fractions(pixels: Pixels) -> NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def _shrunk(picture: Pixels, shorter: int = network.STYLE_SIZE) -> Pixels:
    """The picture with its shorter side at ``shorter`` pixels; of a very long one the middle."""
    height, width = picture.shape[:2]
    most = _LONGEST * min(width, height)
    down, across = (max(0, side - most) // 2 for side in (height, width))
    picture = picture[down : down + most, across : across + most]
    height, width = picture.shape[:2]
    scale = shorter / min(width, height)
    size = (max(shorter, round(width * scale)), max(shorter, round(height * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)


def _views(picture: Pixels, style_scale: float) -> tuple[Pixels, ...]:
    """Squares of the picture, evenly spread over it, with its strokes ``style_scale`` times as large as it is whole."""
    side = network.STYLE_SIZE
    shorter = max(side, round(side * style_scale)) if style_scale > 1 else side
    large = _shrunk(picture, shorter)
    if style_scale < 1:
        large = _repeated(large, style_scale)
    height, width = large.shape[:2]
    return tuple(
        np.ascontiguousarray(large[top : top + side, left : left + side])
        for top in _starts(height, side)
        for left in _starts(width, side)
    )


def _repeated(picture: Pixels, style_scale: float) -> Pixels:
    """The picture made smaller, and mirrored at its edges until a square view is filled."""
    side = network.STYLE_SIZE
    small = _shrunk(picture, max(16, round(side * style_scale)))
    down, across = max(0, side - small.shape[0]), max(0, side - small.shape[1])
    return np.asarray(cv2.copyMakeBorder(small, 0, down, 0, across, cv2.BORDER_REFLECT), np.uint8)


def _starts(length: int, side: int) -> list[int]:
    count = min(_MOST_VIEWS, -(-length // side))
    return [round((length - side) * place / max(1, count - 1)) for place in range(count)]


def _without_hidden(photo: Pixels, alpha: NDArray[np.uint8] | None, own: colour.Statistics) -> Pixels:
    """``photo`` with its mean colour where nothing of it can be seen: what lies there must not leak to the edges."""
    if alpha is None or alpha.all():
        return photo
    shown = photo.copy()
    shown[alpha == 0] = np.clip(np.round(own.mean * 255), 0, 255).astype(np.uint8)
    return shown


_ROWS = 512


def _blended(photo: Pixels, styled: Pixels, options: FastOptions, mask: NDArray[np.uint8] | None) -> Pixels:
    """``styled``, changed in place: in the photo's colours if they are kept, laid over it by strength and mask."""
    keep = options.colors == "keep"
    if not keep and mask is None and options.strength == 1:
        return styled
    luma = np.asarray(colour.LUMA, np.float32)
    for top in range(0, photo.shape[0], _ROWS):
        rows = slice(top, top + _ROWS)
        below = photo[rows].astype(np.float32)
        change = styled[rows].astype(np.float32) - below
        if keep:
            change[:] = (change @ luma)[..., None]
        change *= np.float32(options.strength)
        if mask is not None:
            change *= _fractions(mask[rows])[..., None]
        styled[rows] = np.clip(below + change + np.float32(0.5), 0, 255)
    return styled
