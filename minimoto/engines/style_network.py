"""Runs the ``fast`` style's network over a picture of any size: at once where it is small, else tile by tile.

Tiles change nothing but the memory that is needed: what the network must know of the whole picture (means, variances
and covariances of features) is gathered as the tiles go by. All that is kept whole are the features at a quarter of the
photo's size and at an eighth.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minimoto.core.tiles import Box, Tile, tiles
from minimoto.engines import runtime
from minimoto.engines.runtime_device import Device
from minimoto.engines.style_transport import Moments, Sums, moments, transport

Array = NDArray[np.float32]
Shape = tuple[int | None, ...]

STYLE_SIZE = 256
MULTIPLE = 8
MARGIN = 24
"""Pixels around a tile that the encoder's result depends on."""
LATE_MARGIN = 16
"""The same for the parts after it."""
FEATURES = 64
FAR = 128
GRAIN = 4
CODE = 192
"""Those of :mod:`minimoto.engines.style_net`, which is not imported here: it would load torch."""

TILE = 768
"""Pixels a side that a tile writes."""
WHOLE = {"cpu": 2_000_000, "cuda": 30_000_000, "mps": 8_000_000}
"""Pixels up to which a picture is computed at once, by kind of device."""

_CODE, _SPREAD = (1, CODE), (2, FEATURES)
_NEAR, _FAR, _PHOTO = (1, FEATURES, None, None), (1, FAR, None, None), (1, 3, None, None)
_PALETTE = (1, 3, 4)
_GRAIN = (1, GRAIN, None, None)
_GRAINS: Mapping[str, Shape] = {"near_grain": _GRAIN, "far_grain": _GRAIN}
_PARTS: Mapping[str, tuple[str, Mapping[str, Shape]]] = {
    "look": ("style_net:build_look", {"style": (1, 3, STYLE_SIZE, STYLE_SIZE)}),
    "encoder": ("style_net:build_encoder", {"photo": _PHOTO}),
    "trunk": ("style_net:build_trunk", {"near": _NEAR, "far": _FAR, "code": _CODE, **_GRAINS}),
    "decoder": ("style_net:build_decoder", {"features": _NEAR, "code": _CODE, "palette": _PALETTE}),
    "far": ("style_parts:build_far", {"far": _FAR, "code": _CODE, "grain": _GRAIN}),
    "up": ("style_parts:build_up", {"near": _NEAR, "far": _FAR, "grain": _GRAIN}),
    "leave": ("style_parts:build_leave", {"joined": _NEAR, "code": _CODE, "statistics": _SPREAD}),
}
_EXAMPLE_SIDES = {"photo": 64, "features": 16, "near": 16, "joined": 16, "near_grain": 16, "far": 8, "far_grain": 8}
_GRAIN_OF = {"far": "far", "up": "near"}
"""Beside which input the noise of a part lies."""


@dataclass(frozen=True)
class Networks:
    """The parts of the network on a device; each is loaded when it is first asked for.

    Parameters:
        weights: the safetensors file.
    """

    weights: Path
    device: Device

    @functools.cached_property
    def _loaded(self) -> dict[str, runtime.Network]:
        return {}

    def __getitem__(self, part: str) -> runtime.Network:
        if part not in self._loaded:
            self._loaded[part] = runtime.load_spec(specs(self.weights)[part], self.device)
        return self._loaded[part]

    def release(self) -> None:
        """Gives back the memory that the last calls of all parts needed."""
        for network in self._loaded.values():
            network.release()


def specs(weights: Path) -> dict[str, runtime.Spec]:
    """The parts of the network, by name.

    Parameters:
        weights: the safetensors file.
    """
    return {
        part: runtime.Spec(
            f"style.{part}",
            f"minimoto.engines.{build}",
            weights,
            inputs,
            {name: _example(part, name, shape) for name, shape in inputs.items()},
        )
        for part, (build, inputs) in _PARTS.items()
    }


def _example(part: str, name: str, shape: Shape) -> tuple[int, ...]:
    beside = _GRAIN_OF[part] if name == "grain" else name
    return tuple(_EXAMPLE_SIDES[beside] if size is None else size for size in shape)


@dataclass(frozen=True)
class StyleVector:
    """All that the network knows of a style, or of the mean of several.

    Parameters:
        code: ``(1, CODE)``.
        near, far: moments of the style picture's features at a quarter and at an eighth of its size.
    """

    code: Array
    near: Moments
    far: Moments

    def scaled(self, share: float) -> StyleVector:
        """A summand of a mean of several."""
        return StyleVector(self.code * np.float32(share), self.near.scaled(share), self.far.scaled(share))

    def __add__(self, other: StyleVector) -> StyleVector:
        return StyleVector(self.code + other.code, self.near + other.near, self.far + other.far)


def look_at(networks: Networks, style: Array) -> StyleVector:
    """The style vector of a picture without its colours, ``(1, 3, STYLE_SIZE, STYLE_SIZE)``."""
    code, near, far = networks["look"](style)
    return StyleVector(code, moments(near), moments(far))


@dataclass(frozen=True)
class Canvas:
    """What is to be styled, and where the result goes.

    Parameters:
        width, height: in pixels, multiples of :data:`MULTIPLE`.
        read: a part of the photo, without its colours, ``(1, 3, h, w)``.
        palette: that of the style, ``(3, 4)``: :func:`minimoto.engines.style_colour.palette`.
        write: takes a part of the result, ``(3, h, w)``, which may leave 0..1.
        progress: told how much is done, 0..1; what it raises ends the work.
        seed: of the noise that strokes are made of where the photo is flat.
    """

    width: int
    height: int
    read: Callable[[Box], Array]
    write: Callable[[Box, Array], None]
    progress: Callable[[float], None]
    palette: Array
    seed: int = 0

    def grains(self) -> tuple[Array, Array]:
        """The noise at a quarter and at an eighth of the size, ``(1, GRAIN, h, w)`` each."""
        chance = np.random.default_rng(self.seed)
        near, far = (
            chance.standard_normal((1, GRAIN, self.height // scale, self.width // scale), np.float32)
            for scale in (4, 8)
        )
        return near, far


def run(networks: Networks, canvas: Canvas, style: StyleVector, *, whole: int | None = None, tile: int = TILE) -> None:
    """Styles the picture on ``canvas``.

    Parameters:
        style: see :func:`look_at`.
        whole: pixels up to which it is computed at once; default: :data:`WHOLE`.
        tile: pixels a side of a tile, a multiple of :data:`MULTIPLE`.
    """
    limit = WHOLE[networks.device.kind] if whole is None else whole
    if canvas.width * canvas.height <= limit:
        _at_once(networks, canvas, style, tile)
    else:
        _by_tiles(networks, canvas, style, tile)


def _at_once(networks: Networks, canvas: Canvas, style: StyleVector, tile: int) -> None:
    everything = Box(0, 0, canvas.width, canvas.height)
    near, far = networks["encoder"](canvas.read(everything))
    canvas.progress(0.2)
    near = transport(moments(near), style.near)(near)
    far = transport(moments(far), style.far)(far)
    (features,) = networks["trunk"](near, far, style.code, *canvas.grains())
    canvas.progress(0.6)
    # Of all parts the decoder needs the most memory, and nothing of the whole picture.
    for one in _cut(canvas, tile, LATE_MARGIN):
        (part,) = networks["decoder"].lent(_part(features, one.read, 2), style.code, canvas.palette[None])
        canvas.write(_scaled(one.write, 8), _inner(part, one, 8)[0])
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
        part, far_part = networks["encoder"].lent(canvas.read(_scaled(one.read, 8)))
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
        canvas.write(_scaled(one.write, 8), _inner(part, one, 8)[0])
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
