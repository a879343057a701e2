"""Paints one photo with the ``fast`` style's network, at its own size: a large one in broad strokes first.

Strokes are as large as the network was taught: some ten pixels. On a photo of a megapixel they are seen; on one of
twelve, looked at as a whole, they would be fine grain. So a large photo is painted at a megapixel first, and what comes
of it, enlarged and with some of the photo's detail, is painted again, as optimisation goes from coarse to fine (Gatys
et al., "Controlling perceptual factors in neural style transfer", 2017, section 5.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from minimoto.core.tiles import Box
from minimoto.engines import style_colour as colour
from minimoto.engines import style_network as network
from minimoto.engines import style_tiles as tiles

Pixels = NDArray[np.uint8]
"""``(H, W, 3)``, RGB."""
Told = Callable[[float], None]
"""Told how much is done, 0..1; what it raises ends the work."""

BROAD = 1_000_000
"""Pixels at which a larger photo is painted first."""
_NO_BROAD = 0.75
"""Scale between the two from which on the strokes would be about the same."""
_DETAIL = 0.5
"""Of the photo's own detail, finer than the broad strokes, that is laid over them before the fine ones."""
_EDGE = 16
"""Pixels that the photo goes on, mirrored, beyond each edge: the network sees nothing outside, which would show."""
_ROWS = 512


@dataclass(frozen=True)
class Asked:
    """What the photo is to look like.

    Parameters:
        vector: of the style.
        colours: that the photo is given before it is painted.
    """

    vector: network.StyleVector
    colours: colour.Statistics


@dataclass(frozen=True)
class Painting:
    """How photos are painted.

    Parameters:
        whole, tile: see :func:`minimoto.engines.style_tiles.run`.
        seed: see :class:`minimoto.engines.style_tiles.Canvas`.
    """

    networks: network.Networks
    asked: Asked
    whole: int | None = None
    tile: int = tiles.TILE
    seed: int = 0

    def styled(self, photo: Pixels, own: colour.Statistics, progress: Told) -> Pixels:
        """The photo, whose colours are ``own``, in full strength."""
        height, width = photo.shape[:2]
        scale = (BROAD / (height * width)) ** 0.5
        if scale > _NO_BROAD:
            return self._once(photo, own, progress)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
        share = size[0] * size[1] / (height * width)
        broad = self._once(small, own, lambda done: progress(done * share))
        # What a megapixel at once needs is not needed beside the tiles to come.
        self.networks.release()
        mapped = colour.colour_map(own, self.asked.colours)
        begun = _with_detail(broad, small, photo, mapped.matrix * np.float32(_DETAIL))
        # It has the wanted colours by now. Matching them again, to its own, would let frames of a sequence flicker.
        return self._once(begun, self.asked.colours, lambda done: progress(share + done * (1 - share)))

    def _once(self, photo: Pixels, own: colour.Statistics, progress: Told) -> Pixels:
        """In one pass."""
        height, width = (_padded(side) for side in photo.shape[:2])
        result = np.empty_like(photo)
        mapped, without = colour.colour_map(own, self.asked.colours), colour.plain_map(self.asked.colours)

        def write(box: Box, part: Pixels) -> None:
            rows, from_top = _overlap(box.top, box.bottom, photo.shape[0])
            columns, from_left = _overlap(box.left, box.right, photo.shape[1])
            into = result[rows, columns]
            if into.size:
                into[:] = part[from_top:, from_left:][: into.shape[0], : into.shape[1]]

        canvas = tiles.Canvas(
            width=width,
            height=height,
            read=lambda box: _plain(_mirrored(photo, box), mapped, without),
            palette=colour.palette(self.asked.colours),
            write=write,
            progress=progress,
            seed=self.seed,
        )
        tiles.run(self.networks, canvas, self.asked.vector, whole=self.whole, tile=self.tile)
        return result


def _with_detail(broad: Pixels, small: Pixels, photo: Pixels, matrix: NDArray[np.float32]) -> Pixels:
    """``broad`` enlarged, and what of ``photo`` is finer than ``small`` added to it, its colours through ``matrix``."""
    height, width = photo.shape[:2]
    begun = np.asarray(cv2.resize(broad, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    plain = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    for top in range(0, height, _ROWS):
        rows = slice(top, top + _ROWS)
        detail = cv2.transform(photo[rows].astype(np.float32) - plain[rows], matrix)
        begun[rows] = np.clip(begun[rows] + detail + np.float32(0.5), 0, 255)
    return begun


def _padded(side: int) -> int:
    """A side with a mirrored edge at both ends, as wide as brings it to a multiple that the network takes."""
    multiple = network.MULTIPLE
    return -(-(side + 2 * _EDGE) // multiple) * multiple


def _mirrored(photo: Pixels, box: Box) -> Pixels:
    """``box`` of the photo with its mirrored edge, of which no whole copy is ever made."""
    height, width = photo.shape[:2]
    return photo[_folded(box.top, box.bottom, height)][:, _folded(box.left, box.right, width)]


def _folded(start: int, end: int, length: int) -> slice | NDArray[np.int64]:
    """Which of ``length`` pixels those from ``start`` to ``end`` of the padded ones are; however often they mirror."""
    start, end = start - _EDGE, end - _EDGE
    if start >= 0 and end <= length:
        return slice(start, end)
    places = np.arange(start, end) % (2 * length)
    return np.minimum(places, 2 * length - 1 - places)


def _overlap(start: int, end: int, length: int) -> tuple[slice, int]:
    """Where ``start`` to ``end`` of the padded photo lies in the photo, and how much of it lies before."""
    first = min(max(0, start - _EDGE), length)
    return slice(first, max(first, min(length, end - _EDGE))), max(0, _EDGE - start)


def _plain(part: Pixels, mapped: colour.ColourMap, without: colour.ColourMap) -> NDArray[np.float32]:
    """A part of the photo with its colours ``mapped`` to the wanted ones and these taken away, ``(1, 3, h, w)``."""
    height, width = part.shape[:2]
    flat = part.reshape(-1, 3).astype(np.float32)
    planes = np.asarray((mapped.matrix / np.float32(255)) @ flat.T, np.float32)
    np.add(planes, mapped.offset[:, None], out=planes)
    # What no picture could show is cut off before.
    planes = without.matrix @ np.clip(planes, 0, 1, out=planes)
    return np.add(planes, without.offset[:, None], out=planes).reshape(1, 3, height, width)
