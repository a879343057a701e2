"""Enlarges photos: tile by tile, in memory that does not grow with them but for the result.

The compact network says what bicubic enlargement of luma misses; that much is added to all colours, which are enlarged
bicubically: eyes, and every measure of the field, see detail in luma. Published networks take RGB. Transparency is
enlarged apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from minimoto.core.tiles import Tile, tiles
from minimoto.engines.network_kernel import kernels
from minimoto.engines.published import UPSCALERS, denoise_weights
from minimoto.engines.registry import model_path
from minimoto.engines.runtime import load
from minimoto.engines.runtime_device import choose_device
from minimoto.engines.runtime_shipped import load_shipped
from minimoto.engines.upscale_denoise import REACH, denoised, noise_of
from minimoto.engines.upscale_kernel import KernelUpscale
from minimoto.engines.upscale_settings import COMPACT, UpscaleSettings, cut, scale_of

if TYPE_CHECKING:
    from minimoto.engines.runtime import Device, Network
    from minimoto.engines.upscale_gpu import GpuUpscaler

Pixels = NDArray[Any]
Floats = NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601-7, section 2.5.1; what every published PSNR-Y is measured in."""
FILL_REACH = 8
"""Pixels over which the colours of visible pixels are spread below transparent ones."""


@dataclass(frozen=True)
class _Noise:
    """Its standard deviation, 0..1 of the range, and the share of it that is taken away."""

    sigma: float
    share: float


@dataclass(frozen=True)
class _Piece:
    """A tile's pixels on their way: ``(h, w)`` or ``(h, w, 3)``, 0..1, and its transparency."""

    tile: Tile
    colours: Floats
    alpha: Floats | None


class Upscaler:
    """A network ready to enlarge any number of photos.

    Parameters:
        device: where it runs; default: the fastest there is.

    Raises:
        ModelMissing: the model's weights are not here; the message says how to bring them.
        ConfigError: a library that is needed is not installed.
    """

    def __init__(self, settings: UpscaleSettings, device: Device | None = None) -> None:
        self._settings = settings
        self._gpu = _gpu(settings, device or choose_device())
        self._network = _network(settings, device)
        self._by_luma = settings.model == COMPACT
        self._scale = scale_of(settings.model, settings.factor)
        self._multiple = cut(settings).multiple

    def enlarge(self, pixels: Pixels, progress: Callable[[float], None] = lambda _: None) -> Pixels:
        """The whole result at once; see :meth:`strips`."""
        strips = [rows for _, rows in self.strips(pixels, progress)]
        return strips[0] if len(strips) == 1 else np.concatenate(strips)

    def strips(
        self, pixels: Pixels, progress: Callable[[float], None] = lambda _: None
    ) -> Iterator[tuple[int, Pixels]]:
        """The enlarged photo from its top, as (first row, rows), in the kind of ``pixels``.

        Parameters:
            pixels: ``(h, w)``, ``(h, w, 3)`` RGB or ``(h, w, 4)`` RGBA (not premultiplied), uint8 or uint16.
            progress: called with 0..1 after each run of the network.
        """
        height, width = pixels.shape[:2]
        if self._gpu is not None and _channels(pixels) != 4 and self._gpu.takes(width):
            yield from self._gpu.strips(pixels, progress)
            return
        sides = cut(self._settings)
        noise = self._noise(pixels)
        reach = sides.overlap + (REACH if noise else 0) + (FILL_REACH if _channels(pixels) == 4 else 0)
        todo = tiles(width, height, sides.tile, reach, sides.multiple)
        factor, count = self._settings.factor, 0
        for top, row in groupby(todo, key=lambda tile: tile.write.top):
            group = list(row)
            rows = group[0].write.height * factor
            strip = np.empty((rows, width * factor, *pixels.shape[2:]), pixels.dtype)
            for batch in _batches(group, self._settings.batch):
                pieces = [_piece(pixels, tile, noise) for tile in batch]
                told = _shifted(progress, count, len(batch), len(todo))
                for piece, done in zip(pieces, self._run(pieces, told), strict=True):
                    left, right = (edge * factor for edge in (piece.tile.write.left, piece.tile.write.right))
                    strip[:, left:right] = _stored(done, pixels.dtype)
                count += len(batch)
            yield top * factor, strip

    def _noise(self, pixels: Pixels) -> _Noise | None:
        """The noise that is taken away before the network, if any is."""
        own = self._settings.model != COMPACT and UPSCALERS[self._settings.model].denoises
        share = 0.0 if own else self._settings.denoise or 0.0
        return _Noise(noise_of(pixels), share) if share else None

    def _run(self, pieces: list[_Piece], progress: Callable[[float], None]) -> Iterator[Floats]:
        """What each piece writes, enlarged, 0..1, with its transparency as the last channel."""
        given = np.stack([self._input(piece.colours) for piece in pieces])
        for piece, enlarged in zip(pieces, self._ensemble(_to_multiple(given, self._multiple), progress), strict=True):
            colours = self._coloured(piece.colours, enlarged)
            if piece.alpha is not None:
                alpha = _bicubic(piece.alpha, self._settings.factor)
                colours = np.dstack([colours, alpha])
            yield _written(colours, piece.tile, self._settings.factor)

    def _input(self, colours: Floats) -> Floats:
        """``(1, h, w)`` luma or ``(3, h, w)`` RGB for the network."""
        if self._by_luma:
            return (colours if colours.ndim == 2 else colours @ LUMA)[None]
        rgb = colours if colours.ndim == 3 else np.dstack([colours] * 3)
        return np.ascontiguousarray(rgb.transpose(2, 0, 1))

    def _ensemble(self, given: Floats, progress: Callable[[float], None]) -> Floats:
        """The mean of the network's results for the photo mirrored and turned (Timofte et al. 2016, section 3.3)."""
        total: Floats | None = None
        for number in range(self._settings.ensemble):
            result = _turned_back(self._network(_turned(given, number))[0], number)
            total = result if total is None else total + result
            progress((number + 1) / self._settings.ensemble)
        assert total is not None
        return total if self._settings.ensemble == 1 else total / np.float32(self._settings.ensemble)

    def _coloured(self, colours: Floats, enlarged: Floats) -> Floats:
        """The network's result, ``(c, H, W)``, as a picture of the factor's size in the kind of ``colours``."""
        factor = self._settings.factor
        if self._by_luma:
            # The same amount added to R, G and B changes luma alone.
            spread = _bicubic(colours, factor)
            return np.asarray(spread + (enlarged[0] if colours.ndim == 2 else enlarged[0][..., None]))
        height, width = colours.shape[:2]
        inside = enlarged[:, : height * self._scale, : width * self._scale]
        picture = inside.transpose(1, 2, 0) if colours.ndim == 3 else inside.mean(axis=0)
        size = (width * factor, height * factor)
        if picture.shape[1::-1] == size:
            return picture
        return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA), np.float32)


def _gpu(settings: UpscaleSettings, device: Device) -> GpuUpscaler | None:
    """All of the work on a GPU of NVIDIA, where it is the compact network's, once, and nothing else is asked."""
    plain = settings.model == COMPACT and settings.ensemble == 1 and not settings.denoise
    if device.kind != "cuda" or not plain or settings.tile or settings.overlap is not None:
        return None
    from minimoto.engines.upscale_gpu import GpuUpscaler

    return GpuUpscaler(settings.factor, model_path(f"upscale{settings.factor}"), cut(settings).overlap)


def _network(settings: UpscaleSettings, device: Device | None) -> Network:
    if settings.model == COMPACT:
        name = f"upscale{settings.factor}"
        weights = model_path(name)
        compiled = kernels(device or choose_device())
        return load_shipped(name, device) if compiled is None else KernelUpscale(compiled, weights, settings.factor)
    published = UPSCALERS[settings.model]
    own = published.denoises and settings.denoise is not None
    weights = denoise_weights(settings.denoise or 0.0) if own else model_path(settings.model)
    side = 16 * published.multiple
    build, inputs = f"minimoto.engines.{published.builder}", {"photo": (None, 3, None, None)}
    return load(published.model, build, weights, inputs, device, example={"photo": (1, 3, side, side)})


def _shifted(progress: Callable[[float], None], before: int, count: int, total: int) -> Callable[[float], None]:
    """Tells of ``count`` tiles of ``total``, after ``before`` of them, as of the whole."""
    return lambda done: progress((before + count * done) / total)


def _batches(row: list[Tile], size: int) -> Iterator[list[Tile]]:
    """Neighbours whose tiles are of one shape, ``size`` of them at most."""
    for _, alike in groupby(row, key=lambda tile: (tile.read.width, tile.read.height)):
        group = list(alike)
        yield from (group[first : first + size] for first in range(0, len(group), size))


def _channels(pixels: Pixels) -> int:
    return 1 if pixels.ndim == 2 else int(pixels.shape[2])


def _piece(pixels: Pixels, tile: Tile, noise: _Noise | None) -> _Piece:
    read = tile.read
    part = pixels[read.top : read.bottom, read.left : read.right]
    white = np.float32(1 / np.iinfo(part.dtype).max)
    colours = part[..., :3] if _channels(part) == 4 else part
    alpha = part[..., 3] * white if _channels(part) == 4 else None
    colours = (denoised(colours, noise.sigma, noise.share) if noise else colours) * white
    return _Piece(tile, colours if alpha is None else filled(colours, alpha), alpha)


def filled(colours: Floats, alpha: Floats) -> Floats:
    """Colours whose invisible pixels have those of their visible neighbours, so that none of what is hidden (black, as
    a rule) shows as a fringe once both are enlarged."""
    hidden = alpha <= 0
    if not hidden.any():
        return colours
    result = colours.copy()
    for reach in (FILL_REACH, 2):
        size = (2 * reach + 1, 2 * reach + 1)
        cover = cv2.blur(alpha, size, borderType=cv2.BORDER_REPLICATE)
        spread = cv2.blur(colours * alpha[..., None], size, borderType=cv2.BORDER_REPLICATE)
        near = hidden & (cover > 1e-4)
        result[near] = spread[near] / cover[near][:, None]
    return result


def _bicubic(picture: Floats, factor: int) -> Floats:
    size = (picture.shape[1] * factor, picture.shape[0] * factor)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.float32)


def _to_multiple(given: Floats, multiple: int) -> Floats:
    """``(n, c, h, w)`` with its last rows and columns repeated until both sides are multiples."""
    below, right = -given.shape[2] % multiple, -given.shape[3] % multiple
    return np.pad(given, ((0, 0), (0, 0), (0, below), (0, right)), "edge") if below or right else given


def _turned(given: Floats, number: int) -> Floats:
    """``(n, c, h, w)`` mirrored and turned in one of eight ways."""
    picture = given[..., ::-1] if number & 1 else given
    picture = picture[..., ::-1, :] if number & 2 else picture
    return np.ascontiguousarray(picture.swapaxes(-1, -2) if number & 4 else picture)


def _turned_back(result: Floats, number: int) -> Floats:
    picture = result.swapaxes(-1, -2) if number & 4 else result
    picture = picture[..., ::-1, :] if number & 2 else picture
    return picture[..., ::-1] if number & 1 else picture


def _written(picture: Floats, tile: Tile, factor: int) -> Floats:
    top, left = (tile.write.top - tile.read.top) * factor, (tile.write.left - tile.read.left) * factor
    return picture[top : top + tile.write.height * factor, left : left + tile.write.width * factor]


def _stored(picture: Floats, kind: Any) -> Pixels:
    white = np.iinfo(kind).max
    return np.asarray(np.clip(np.rint(picture * np.float32(white)), 0, white).astype(kind))
