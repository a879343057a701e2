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
from minimoto.engines.style_seen import EDGE, Seen

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
        size = _broad(width, height)
        gpu = self.networks.gpu
        if gpu is not None and self.whole is None and gpu.takes(height * width):
            asked = own, self.asked.vector, self.asked.colours, self.seed
            result = gpu.styled_twice(photo, *asked, size, _DETAIL, progress) if size else gpu.styled(photo, *asked)
            progress(1.0)
            return result
        if size is None:
            return self._once(photo, own, progress)
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
        result = np.empty_like(photo)
        mapped, without = colour.colour_map(own, self.asked.colours), colour.plain_map(self.asked.colours)

        def write(box: Box, part: Pixels) -> None:
            rows, from_top = _overlap(box.top, box.bottom, photo.shape[0])
            columns, from_left = _overlap(box.left, box.right, photo.shape[1])
            into = result[rows, columns]
            if into.size:
                into[:] = part[from_top:, from_left:][: into.shape[0], : into.shape[1]]

        canvas = tiles.Canvas(
            seen=Seen(np.ascontiguousarray(photo), mapped, without, network.MULTIPLE),
            palette=colour.palette(self.asked.colours),
            write=write,
            progress=progress,
            seed=self.seed,
        )
        tiles.run(self.networks, canvas, self.asked.vector, whole=self.whole, tile=self.tile)
        return result


def _broad(width: int, height: int) -> tuple[int, int] | None:
    """The size that a photo of this one is painted at first, if it is."""
    scale = (BROAD / (height * width)) ** 0.5
    if scale > _NO_BROAD:
        return None
    return max(1, round(width * scale)), max(1, round(height * scale))


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


def _overlap(start: int, end: int, length: int) -> tuple[slice, int]:
    """Where ``start`` to ``end`` of the padded photo lies in the photo, and how much of it lies before."""
    first = min(max(0, start - EDGE), length)
    return slice(first, max(first, min(length, end - EDGE))), max(0, EDGE - start)
