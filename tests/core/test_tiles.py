"""Tiles cover a picture once and read what they need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.core.tiles import Box, Tile, computed_share, tiles
from minimoto.errors import UsageError

SIDES = st.integers(1, 90)


@given(SIDES, SIDES, st.integers(1, 40), st.integers(0, 12), st.integers(1, 9))
def test_every_pixel_is_written_once(width: int, height: int, tile: int, overlap: int, multiple: int) -> None:
    written = [[0] * width for _ in range(height)]
    for piece in tiles(width, height, tile, overlap, multiple):
        for y in range(piece.write.top, piece.write.bottom):
            for x in range(piece.write.left, piece.write.right):
                written[y][x] += 1
    assert all(count == 1 for row in written for count in row)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(64, 700), st.integers(0, 64), st.integers(1, 32))
def test_reads_enclose_writes_and_lie_on_multiples(
    width: int, height: int, tile: int, overlap: int, multiple: int
) -> None:
    for piece in tiles(width, height, tile, overlap, multiple):
        read, write = piece.read, piece.write
        assert 0 < write.width <= tile
        assert 0 < write.height <= tile
        assert read.left <= max(0, write.left - overlap)
        assert read.top <= max(0, write.top - overlap)
        assert read.right >= min(width, write.right + overlap)
        assert read.bottom >= min(height, write.bottom + overlap)
        assert read.left >= 0
        assert read.top >= 0
        assert read.right <= width
        assert read.bottom <= height
        assert read.left % multiple == 0
        assert read.top % multiple == 0
        assert read.right % multiple == 0 or read.right == width
        assert read.bottom % multiple == 0 or read.bottom == height
        # No more is read than the overlap and the multiple ask for.
        assert read.left > write.left - overlap - multiple or read.left == 0
        assert read.right < write.right + overlap + multiple


def test_tiles_are_as_equal_as_can_be() -> None:
    assert [piece.write.width for piece in tiles(1000, 1, 300, 0)] == [250] * 4
    assert [piece.write.width for piece in tiles(7, 1, 3, 0)] == [2, 2, 3]


def test_a_small_picture_is_one_tile() -> None:
    whole = Box(0, 0, 30, 20)
    assert tiles(30, 20, 64, 12, 8) == [Tile(whole, whole)]
    assert computed_share(tiles(30, 20, 64, 12, 8)) == 1


def test_the_share_counts_what_is_read_again() -> None:
    assert computed_share(tiles(200, 1, 100, 10)) == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("width", "height", "tile", "overlap", "multiple"),
    [(0, 1, 1, 0, 1), (1, 0, 1, 0, 1), (1, 1, 0, 0, 1), (1, 1, 1, -1, 1), (1, 1, 1, 0, 0)],
)
def test_what_makes_no_sense_is_refused(width: int, height: int, tile: int, overlap: int, multiple: int) -> None:
    with pytest.raises(UsageError, match="no tiles of"):
        tiles(width, height, tile, overlap, multiple)
