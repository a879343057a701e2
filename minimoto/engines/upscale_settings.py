"""What can be asked of an enlargement, and into which tiles it is cut."""

from __future__ import annotations

from dataclasses import dataclass

from minimoto.engines.published import UPSCALERS

COMPACT = "compact"
"""The network of our own, shipped with the package: one for each of :data:`FACTORS`."""
FACTORS = (2, 3, 4)
MODELS = (COMPACT, *UPSCALERS)

COMPACT_LAYERS = {2: 15, 3: 14, 4: 14}
"""Convolutions between the first and the last of the compact network, by factor, in the shipped weights."""
MARGIN = {factor: layers + 2 for factor, layers in COMPACT_LAYERS.items()}
"""Pixels around a tile that the compact network's result depends on."""
TILE = 544
"""Pixels a side that a tile writes: less than 1.14 times is computed, in some 130 MB of features."""

_EXACT_MARGIN = 40
_DEEP_TILE, _DEEP_OVERLAP = 288, 20


@dataclass(frozen=True)
class UpscaleSettings:
    """How photos are enlarged.

    Parameters:
        factor: 2, 3 or 4.
        model: ``compact``, or a published one by its registry's name; it may enlarge by more than ``factor``, and its
            result is then shrunk.
        denoise: 0..1, how much of the photo's noise is taken away first; ``None``: none, and for a network that does
            it itself, as its publisher has it.
        ensemble: 1, 2, 4 or 8 mirrored and turned runs that are averaged (self-ensemble, Timofte et al. 2016).
        tile: pixels a side that a tile writes; ``None``: what suits the model.
        overlap: pixels that a tile reads around them; ``None``: the model's receptive field where that is affordable.
        batch: tiles that the network is given at once.
    """

    factor: int = 2
    model: str = COMPACT
    denoise: float | None = None
    ensemble: int = 1
    tile: int | None = None
    overlap: int | None = None
    batch: int = 1


@dataclass(frozen=True)
class Cut:
    """How a photo is cut.

    Parameters:
        tile: pixels a side that a tile writes.
        overlap: pixels around them that it reads.
        multiple: what the sides of what it reads are multiples of.
    """

    tile: int
    overlap: int
    multiple: int = 1


def scale_of(model: str, factor: int) -> int:
    """How many times larger the model's own result is, for an enlargement by ``factor``."""
    return factor if model == COMPACT else UPSCALERS[model].factor


def cut(settings: UpscaleSettings) -> Cut:
    """The tiles for these settings.

    With the compact network and the shallow published ones the overlap is all that a pixel depends on, so that tiles
    make no difference. The deep ones depend on hundreds of pixels, of which the outer ones hardly count; there the
    overlap is a compromise.
    """
    if settings.model == COMPACT:
        tile, overlap, multiple = TILE, MARGIN[settings.factor], 1
    else:
        published = UPSCALERS[settings.model]
        exact = published.margin <= _EXACT_MARGIN
        tile = published.margin * 16 if exact else _DEEP_TILE
        overlap, multiple = published.margin if exact else _DEEP_OVERLAP, published.multiple
    return Cut(settings.tile or tile, overlap if settings.overlap is None else settings.overlap, multiple)
