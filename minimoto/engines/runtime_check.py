"""How exact a faster way of computing a network is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
FREE = 64
"""Size that a dimension left open gets in a probe."""


BEST = 999.0
"""What :func:`psnr` gives for equal arrays, rather than infinity, which JSON has no word for."""


def psnr(got: Array, wanted: Array) -> float:
    """Peak signal-to-noise ratio in dB, the peak being the range of ``wanted``; :data:`BEST` where they are equal, 0
    where they cannot be compared."""
    if got.shape != wanted.shape or not np.isfinite(got).all():
        return 0.0
    error = float(np.mean(np.square(got.astype(np.float64) - wanted)))
    peak = float(wanted.max() - wanted.min()) or 1.0
    return BEST if error == 0 else min(BEST, 10 * math.log10(peak**2 / error))


def least_psnr(got: tuple[Array, ...], wanted: tuple[Array, ...]) -> float:
    """:func:`psnr` of the worst of a network's outputs."""
    return min(psnr(a, b) for a, b in zip(got, wanted, strict=True))


def probe(
    inputs: Mapping[str, tuple[int | None, ...]], example: Mapping[str, tuple[int, ...]] | None
) -> tuple[Array, ...]:
    """Arrays of 0..1 to try a network on: of the shapes of ``example``, else of ``inputs`` with open sizes filled."""
    random = np.random.default_rng(7)
    shapes = [
        example[name] if example and name in example else tuple(FREE if size is None else size for size in shape)
        for name, shape in inputs.items()
    ]
    return tuple(random.random(shape, np.float32) for shape in shapes)
