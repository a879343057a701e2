"""Features of a photo, brought to the mean and covariance of a style picture's: whitened and coloured.

Source: Li et al. 2017, "Universal style transfer via feature transforms", section 3.2, with symmetric roots. It is
computed here, in double precision and apart from the networks, because it must not depend on what precision these are
run in; nor on tiles: moments are summed up part by part. :func:`minimoto.engines.style_net.transport` is the same for
training. (The map that moves features least, Pitie and Kokaram 2007, takes the root of a product of three covariances:
in single precision, as in training, that came out as anything.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SPARE = 0.03
"""That of :mod:`minimoto.engines.style_net`, which is not imported here: it would load torch."""
_LEAST = 1e-5
_BAND = 2**18
"""Numbers of a band of features that is worked on at a time."""


@dataclass(frozen=True)
class Moments:
    """What is kept of features, or of the mean of several styles' features.

    Parameters:
        mean: ``(C,)``, float64.
        covariance: ``(C, C)``, float64.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def scaled(self, share: float) -> Moments:
        """A summand of a mean of several."""
        return Moments(self.mean * share, self.covariance * share)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.mean + other.mean, self.covariance + other.covariance)

    def spread(self) -> Array:
        """``(2, C)``: the means and the variances."""
        return np.stack([self.mean, np.maximum(self.covariance.diagonal(), 0)]).astype(np.float32)


class Sums:
    """Moments of features that come part by part."""

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._sum: NDArray[np.float64] = np.zeros(channels)
        self._products: NDArray[np.float64] = np.zeros((channels, channels))

    def add(self, part: Array) -> None:
        """Counts a part ``(1, C, h, w)``."""
        flat = np.ascontiguousarray(part[0]).reshape(part.shape[1], -1)
        self._sum += flat.sum(1, dtype=np.float64)
        self._products += flat @ flat.T
        self._count += flat.shape[1]

    def moments(self) -> Moments:
        """Of all that was added."""
        mean = self._sum / self._count
        return Moments(mean, self._products / self._count - np.outer(mean, mean))


def moments(features: Array) -> Moments:
    """Of features ``(1, C, h, w)`` of a whole picture."""
    sums = Sums(features.shape[1])
    sums.add(features)
    return sums.moments()


@dataclass(frozen=True)
class Transport:
    """A linear map of features.

    Parameters:
        change: ``(C, C)``, float32.
        offset: ``(C, 1)``, float32.
    """

    change: Array
    offset: Array

    def __call__(self, features: Array) -> Array:
        """Features ``(1, C, h, w)``, or a part of them, moved."""
        moved = np.empty(features.shape, np.float32)
        into = moved.reshape(features.shape[1], -1)
        done = 0
        for flat in _bands(features):
            end = done + flat.shape[1]
            np.matmul(self.change, flat, out=into[:, done:end])
            into[:, done:end] += self.offset
            done = end
        return moved


def _bands(features: Array) -> Iterator[Array]:
    """Features ``(1, C, h, w)``, band by band of some rows, ``(C, pixels)``: small enough to stay in the cache."""
    channels, height, width = features.shape[1:]
    rows = max(1, _BAND // (channels * width))
    for top in range(0, height, rows):
        yield np.ascontiguousarray(features[0, :, top : top + rows]).reshape(channels, -1)


def transport(own: Moments, wanted: Moments) -> Transport:
    """The map that gives features with the moments ``own`` those ``wanted``.

    Directions in which features hardly vary are taken to vary by :data:`SPARE` of the mean variance, in both.
    """
    roots, axes = _roots(own.covariance)
    inverse = (axes / roots) @ axes.T
    roots, axes = _roots(wanted.covariance)
    change = ((axes * roots) @ axes.T) @ inverse
    offset = wanted.mean - change @ own.mean
    return Transport(change.astype(np.float32), offset[:, None].astype(np.float32))


def widened(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A covariance with :data:`SPARE` of its mean variance more in every direction."""
    symmetric = (covariance + covariance.T) / 2
    spare = SPARE * np.trace(symmetric) / len(symmetric) + _LEAST
    return np.asarray(symmetric + spare * np.eye(len(symmetric)))


def _roots(covariance: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The deviations of a widened covariance along its axes, and these."""
    values, axes = np.linalg.eigh(widened(covariance))
    # Of a flat picture rounding may leave less than nothing.
    return np.sqrt(np.maximum(values, _LEAST)), axes
