"""How a photo is styled. Free of numpy, so that a pipeline can be checked without loading the engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Colors = Literal["transfer", "keep"]

MADE = Path(__file__).parent / "styles"
"""The style pictures that we made (``training/styles_made.py``) and ship."""

MADE_STYLES = {
    "glass": "stained glass, a rose of bright panes in lead",
    "ink": "ink wash, mountains in mist on warm paper",
    "knife": "palette knife, slabs of autumn colour",
    "mosaic": "stone tiles in grout, with gold",
    "pencil": "graphite, hatched and crossed",
    "points": "points of pure colour",
    "swirl": "oil in whirls, a blue night",
    "watercolour": "washes that run into each other",
    "woodblock": "woodblock print, waves in Prussian blue",
}
"""Their names, and a line about each."""


@dataclass(frozen=True)
class FastOptions:
    """The options of the ``fast`` style.

    Parameters:
        strength: 0..1; 0 leaves the photo as it is.
        colors: ``transfer`` gives the photo the style's colours, ``keep`` leaves it its own.
        style_scale: how large the style's strokes are against the style picture as the network was taught to see it,
            0.5..4.
        seed: of the noise that strokes are made of where the photo is flat.
    """

    strength: float = 1.0
    colors: Colors = "transfer"
    style_scale: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class MemoryPlan:
    """At which size a photo is styled, and what that takes.

    Parameters:
        size: (width, height) that the network works at; that of the photo, or smaller.
        bytes: about the most memory of the process while it works, libraries included.
    """

    size: tuple[int, int]
    bytes: int


MOST_PIXELS = 35_000_000
"""Pixels that the network works at; a larger photo is styled at that size, and the result enlarged."""

_BASE = 660 * 2**20
"""Of Python, the libraries, the networks and a tile's arrays, or those of a small photo as a whole."""
_WORKING = 58
"""Bytes for each pixel that the network works at: features at a quarter of the size and at an eighth, what the blocks
at an eighth compute between, and the photo in broad strokes."""
_HELD = 6
"""Bytes for each pixel of the photo: itself and the result."""


def memory_plan(width: int, height: int) -> MemoryPlan:
    """How a photo of ``width`` x ``height`` pixels is styled within bounds."""
    pixels = width * height
    scale = min(1.0, (MOST_PIXELS / pixels) ** 0.5)
    size = (max(1, int(width * scale)), max(1, int(height * scale))) if scale < 1 else (width, height)
    return MemoryPlan(size, _BASE + _WORKING * size[0] * size[1] + _HELD * pixels)
