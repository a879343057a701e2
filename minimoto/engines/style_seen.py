"""A photo as the ``fast`` style's network sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minimoto.core.tiles import Box
from minimoto.engines.style_colour import ColourMap

Pixels = NDArray[np.uint8]
"""``(H, W, 3)``, RGB."""

EDGE = 16
"""Pixels that the photo goes on, mirrored, beyond each edge: the network sees nothing outside, which would show."""


@dataclass(frozen=True)
class Seen:
    """A photo with mirrored edges, in the wanted colours, and without these.

    Parameters:
        photo: contiguous.
        mapped: the photo's colours to the wanted ones.
        without: the wanted ones to none.
        multiple: what the sides with their edges are multiples of.
    """

    photo: Pixels
    mapped: ColourMap
    without: ColourMap
    multiple: int

    @property
    def width(self) -> int:
        """With the edges."""
        return self._padded(self.photo.shape[1])

    @property
    def height(self) -> int:
        """With the edges."""
        return self._padded(self.photo.shape[0])

    def __call__(self, box: Box) -> NDArray[np.float32]:
        """A part of it, ``(1, 3, h, w)``."""
        part = self.mirrored(box)
        height, width = part.shape[:2]
        flat = part.reshape(-1, 3).astype(np.float32)
        planes = np.asarray((self.mapped.matrix / np.float32(255)) @ flat.T, np.float32)
        np.add(planes, self.mapped.offset[:, None], out=planes)
        # What no picture could show is cut off before.
        planes = self.without.matrix @ np.clip(planes, 0, 1, out=planes)
        return np.add(planes, self.without.offset[:, None], out=planes).reshape(1, 3, height, width)

    def mirrored(self, box: Box) -> Pixels:
        """A part of the photo with its mirrored edge, of which no whole copy is ever made."""
        height, width = self.photo.shape[:2]
        rows, columns = _inside(box.top, box.bottom, height), _inside(box.left, box.right, width)
        return self.photo[folded(box.top, box.bottom, height) if rows is None else rows][
            :, folded(box.left, box.right, width) if columns is None else columns
        ]

    def _padded(self, side: int) -> int:
        """A side with a mirrored edge at both ends, as wide as brings it to a multiple that the network takes."""
        return -(-(side + 2 * EDGE) // self.multiple) * self.multiple


def folded(start: int, end: int, length: int) -> NDArray[np.int64]:
    """Which of ``length`` pixels those from ``start`` to ``end`` of the padded ones are; however often they mirror."""
    places = np.arange(start - EDGE, end - EDGE) % (2 * length)
    return np.minimum(places, 2 * length - 1 - places)


def _inside(start: int, end: int, length: int) -> slice | None:
    """The same, where none of them is mirrored."""
    return slice(start - EDGE, end - EDGE) if start >= EDGE and end - EDGE <= length else None
