"""How a picture is cut into tiles: each pixel is written by exactly one, and each reads what surrounds it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from minimoto.errors import UsageError


@dataclass(frozen=True)
class Box:
    """A part of a picture in pixels; ``right`` and ``bottom`` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def area(self) -> int:
        """Pixels."""
        return self.width * self.height


@dataclass(frozen=True)
class Tile:
    """One piece of the work.

    Parameters:
        read: what is computed; it encloses ``write`` by the overlap wherever the picture goes on.
        write: what is kept of it.
    """

    read: Box
    write: Box


def tiles(width: int, height: int, tile: int, overlap: int, multiple: int = 1) -> list[Tile]:
    """Cut a picture of ``width`` x ``height`` pixels into tiles, row by row from the top left.

    Along each axis the parts that are written are as equal as can be, so that no thin rest is left to compute.

    Parameters:
        tile: the most pixels that a tile writes along an axis.
        overlap: pixels read beyond what is written, where the picture has them; the receptive field of a network
            makes the tiled result equal the untiled one.
        multiple: the edges of what is read are multiples of it, or the picture's edge.

    Raises:
        UsageError: a size below 1, or an overlap below 0.
    """
    if min(width, height, tile, multiple) < 1 or overlap < 0:
        raise UsageError(
            f"no tiles of {tile} with an overlap of {overlap} (multiples of {multiple}) in {width}x{height}"
        )
    columns, rows = (_spans(length, tile, overlap, multiple) for length in (width, height))
    return [
        Tile(Box(left.read, top.read, left.read_end, top.read_end), Box(left.write, top.write, left.end, top.end))
        for top in rows
        for left in columns
    ]


def computed_share(cut: list[Tile]) -> float:
    """Pixels read by all tiles for each pixel written; 1.0 when nothing is computed twice."""
    return sum(tile.read.area for tile in cut) / sum(tile.write.area for tile in cut)


@dataclass(frozen=True)
class _Span:
    read: int
    write: int
    end: int
    read_end: int


def _spans(length: int, tile: int, overlap: int, multiple: int) -> list[_Span]:
    count = ceil(length / tile)
    edges = [length * i // count for i in range(count + 1)]
    return [
        _Span(
            read=max(0, (start - overlap) // multiple * multiple),
            write=start,
            end=end,
            read_end=min(length, ceil((end + overlap) / multiple) * multiple),
        )
        for start, end in pairwise(edges)
    ]
