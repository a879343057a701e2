"""Runs the ``fast`` style's network over a picture of any size: at once where it is small, else tile by tile.

Tiles change nothing but the memory that is needed: what the network must know of the whole picture (means, variances
and covariances of features) is gathered as the tiles go by. All that is kept whole are the features at a quarter of the
photo's size and at an eighth. Where compiled kernels are the fastest way, they do it (``style_kernel_run.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from minimoto.core.tiles import Box, Tile, tiles
from minimoto.engines.style_network import (
    FAR,
    FEATURES,
    GRAIN,
    LATE_MARGIN,
    MARGIN,
    MULTIPLE,
    Array,
    Networks,
    StyleVector,
)
from minimoto.engines.style_seen import Pixels, Seen
from minimoto.engines.style_transport import Sums, moments, transport

TILE = 768
"""Pixels a side that a tile writes."""
WHOLE = {"cpu": 2_000_000, "cuda": 30_000_000, "mps": 8_000_000}
"""Pixels up to which a picture is computed at once, by kind of device."""


@dataclass(frozen=True)
class Canvas:
    """What is to be styled, and where the result goes.

    Parameters:
        seen: the photo; its sides are multiples of :data:`MULTIPLE`.
        palette: that of the style, ``(3, 4)``: :func:`minimoto.engines.style_colour.palette`.
        write: takes a part of the result, ``(h, w, 3)``.
        progress: told how much is done, 0..1; what it raises ends the work.
        seed: of the noise that strokes are made of where the photo is flat.
    """

    seen: Seen
    write: Callable[[Box, Pixels], None]
    progress: Callable[[float], None]
    palette: Array
    seed: int = 0

    @property
    def width(self) -> int:
        """In pixels."""
        return self.seen.width

    @property
    def height(self) -> int:
        """In pixels."""
        return self.seen.height

    def grains(self) -> tuple[Array, Array]:
        """The noise at a quarter and at an eighth of the size, ``(1, GRAIN, h, w)`` each."""
        chance = np.random.default_rng(self.seed)
        near, far = (
            chance.standard_normal((1, GRAIN, self.height // scale, self.width // scale), np.float32)
            for scale in (4, 8)
        )
        return near, far


def run(networks: Networks, canvas: Canvas, style: StyleVector, *, whole: int | None = None, tile: int = TILE) -> None:
    """Styles the picture on ``canvas``: by compiled kernels where these are the fastest, else by the network's parts.

    Parameters:
        style: see :func:`look_at`.
        whole: pixels up to which the parts compute it at once; default: :data:`WHOLE`.
        tile: pixels a side of a tile for the parts, a multiple of :data:`MULTIPLE`.
    """
    if networks.compiled is not None:
        networks.compiled.run(canvas, style)
        return
    limit = WHOLE[networks.device.kind] if whole is None else whole
    if canvas.width * canvas.height <= limit:
        _at_once(networks, canvas, style, tile)
    else:
        _by_tiles(networks, canvas, style, tile)


def _at_once(networks: Networks, canvas: Canvas, style: StyleVector, tile: int) -> None:
    everything = Box(0, 0, canvas.width, canvas.height)
    near, far = networks["encoder"](canvas.seen(everything))
    canvas.progress(0.2)
    near = transport(moments(near), style.near)(near)
    far = transport(moments(far), style.far)(far)
    (features,) = networks["trunk"](near, far, style.code, *canvas.grains())
    canvas.progress(0.6)
    # Of all parts the decoder needs the most memory, and nothing of the whole picture.
    for one in _cut(canvas, tile, LATE_MARGIN):
        (part,) = networks["decoder"].lent(_part(features, one.read, 2), style.code, canvas.palette[None])
        canvas.write(_scaled(one.write, 8), _bytes(_inner(part, one, 8)[0]))
    canvas.progress(1.0)


def _by_tiles(networks: Networks, canvas: Canvas, style: StyleVector, tile: int) -> None:
    early, late = (_cut(canvas, tile, margin) for margin in (MARGIN, LATE_MARGIN))
    steps = 3 * len(early) + len(early) // 2
    done = 0

    def step(count: int = 1) -> None:
        nonlocal done
        done += count
        canvas.progress(min(1.0, done / steps))

    near = np.empty((1, FEATURES, canvas.height // 4, canvas.width // 4), np.float32)
    far = np.empty((1, FAR, canvas.height // 8, canvas.width // 8), np.float32)
    near_sums, far_sums = Sums(FEATURES), Sums(FAR)
    for one in early:
        part, far_part = networks["encoder"].lent(canvas.seen(_scaled(one.read, 8)))
        near_sums.add(_put(near, part, one, 2))
        far_sums.add(_put(far, far_part, one, 1))
        step()
    to_style = transport(near_sums.moments(), style.near)
    networks["encoder"].release()

    # Name by name, so that no more is held than is needed: these are whole pictures.
    near_grain, far_grain = canvas.grains()
    far = transport(far_sums.moments(), style.far)(far)
    (far,) = networks["far"].lent(far, style.code, far_grain)
    networks["far"].release()
    step(len(early) // 2)

    joined, sums = np.empty_like(near), Sums(FEATURES)
    for one in late:
        (part,) = networks["up"].lent(
            to_style(_part(near, one.read, 2)), _part(far, one.read, 1), _part(near_grain, one.read, 2)
        )
        sums.add(_put(joined, part, one, 2))
        step()
    leaving = sums.moments().spread()
    del near, far, near_grain
    networks["up"].release()

    for one in late:
        (styled,) = networks["leave"].lent(_part(joined, one.read, 2), style.code, leaving)
        (part,) = networks["decoder"].lent(styled, style.code, canvas.palette[None])
        canvas.write(_scaled(one.write, 8), _bytes(_inner(part, one, 8)[0]))
        step()


def _cut(canvas: Canvas, tile: int, margin: int) -> list[Tile]:
    """Tiles of an eighth of the picture's size, so that every edge is a whole pixel at each of the sizes."""
    return tiles(canvas.width // MULTIPLE, canvas.height // MULTIPLE, max(1, tile // MULTIPLE), margin // MULTIPLE)


def _scaled(box: Box, scale: int) -> Box:
    return Box(box.left * scale, box.top * scale, box.right * scale, box.bottom * scale)


def _part(array: Array, box: Box, scale: int) -> Array:
    """``box`` of ``array``, whose pixels are ``scale`` to a unit of the box."""
    at = _scaled(box, scale)
    return array[:, :, at.top : at.bottom, at.left : at.right]


def _inner(part: Array, tile: Tile, scale: int) -> Array:
    """What of ``part``, computed from what ``tile`` reads, is kept."""
    read, write = tile.read, tile.write
    return _part(
        part, Box(write.left - read.left, write.top - read.top, write.right - read.left, write.bottom - read.top), scale
    )


def _put(array: Array, part: Array, tile: Tile, scale: int) -> Array:
    """Keeps what ``tile`` writes of ``part`` in ``array``, and returns it."""
    kept = _inner(part, tile, scale)
    _part(array, tile.write, scale)[:] = kept
    return kept


def _bytes(part: Array) -> Pixels:
    """``(3, h, w)``, 0..1 or beyond, to ``(h, w, 3)``, rounded."""
    interleaved = cv2.merge(list(part))
    # Saturates, and rounds to nearest.
    return np.asarray(cv2.convertScaleAbs(np.maximum(interleaved, 0, out=interleaved), alpha=255.0), np.uint8)
