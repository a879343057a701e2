"""Bicubic resizing as MATLAB's ``imresize`` does it, which is how every published super-resolution figure is made.

Keys' cubic with a = -0.5, stretched when shrinking (antialiasing), edges mirrored, weights normalised.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel (1981, a = -0.5) at ``x``."""
    a, a2, a3 = np.abs(x), np.abs(x) ** 2, np.abs(x) ** 3
    near = 1.5 * a3 - 2.5 * a2 + 1
    far = -0.5 * a3 + 2.5 * a2 - 4 * a + 2
    return np.where(a <= 1, near, np.where(a <= 2, far, 0.0))


def taps(length: int, scale: float) -> tuple[NDArray[np.intp], Floats]:
    """For each output position the input positions it reads and their weights, both ``(ceil(length * scale), n)``."""
    out = math.ceil(length * scale)
    squeeze = min(scale, 1.0)
    width = 4 / squeeze
    centre = (np.arange(1, out + 1) / scale) + 0.5 * (1 - 1 / scale)
    left = np.floor(centre - width / 2)
    position = left[:, None] + np.arange(math.ceil(width) + 2)[None]
    weight = squeeze * cubic(squeeze * (centre[:, None] - position))
    weight /= weight.sum(axis=1, keepdims=True)
    mirror = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    index = mirror[np.mod(position - 1, 2 * length).astype(np.intp)]
    used = np.any(weight != 0, axis=0)
    return index[:, used], weight[:, used].astype(np.float32)


def _along_rows(picture: Floats, scale: float) -> Floats:
    index, weight = taps(picture.shape[0], scale)
    shape = (-1,) + (1,) * (picture.ndim - 1)
    out = np.zeros((index.shape[0], *picture.shape[1:]), np.float32)
    for k in range(index.shape[1]):
        out += picture[index[:, k]] * weight[:, k].reshape(shape)
    return out


def imresize(picture: Floats, scale: float) -> Floats:
    """A picture ``(h, w[, channels])`` resized by ``scale``, not rounded and not clipped."""
    rows = _along_rows(np.asarray(picture, np.float32), scale)
    return np.ascontiguousarray(np.swapaxes(_along_rows(np.swapaxes(rows, 0, 1), scale), 0, 1))
