"""Winograd's minimal filtering F(6x6, 3x3), as the transforms of ``winograd.h`` want it; no torch is imported here."""

from __future__ import annotations

KERNEL = (
    (1, 0, 0),
    (-2 / 9, -2 / 9, -2 / 9),
    (-2 / 9, 2 / 9, -2 / 9),
    (1 / 90, 2 / 90, 4 / 90),
    (1 / 90, -2 / 90, 4 / 90),
    (4 / 90, 2 / 90, 1 / 90),
    (4 / 90, -2 / 90, 1 / 90),
    (0, 0, 1),
)
"""G, for the points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity (Lavin and Gray 2015, section 4). The rows of 1/2 and -1/2
are scaled so that turning a kernel by 180 degrees only exchanges rows (0 with infinity, 2 with 1/2)."""
POINTS = len(KERNEL) ** 2
"""Numbers of a tile, and of a kernel of 3x3, when they are transformed."""
OUTPUTS = 6
"""Pixels a side that a tile gives."""


def tiles_of(height: int, width: int) -> int:
    """Tiles that give a picture of that size."""
    return -(-height // OUTPUTS) * -(-width // OUTPUTS)
