"""A photo in another picture's colours, in closed form: mean and covariance of its RGB values are made equal.

The map between two normal distributions that moves colours the least (the Monge-Kantorovich map of Pitié and Kokaram,
"The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer", 2007, equation 4; matching of
mean and covariance before style transfer is Gatys et al., "Preserving color in neural artistic style transfer", 2016,
section 4). Values are sRGB as stored, 0..1, not linear light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in the luma (ITU-R BT.601)."""

PLAIN_VARIANCE = 1e-4
"""Added along every axis of colour before colours are taken away: a grey picture's noise is not its colours."""
_LEAST_VARIANCE = 1e-5
_MOST_GAIN = 4.0
_BAND_PIXELS = 2**18


@dataclass(frozen=True)
class Statistics:
    """The colours of a whole picture.

    Parameters:
        mean: ``(3,)``, float64, of RGB 0..1.
        covariance: ``(3, 3)``, float64.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


@dataclass(frozen=True)
class ColourMap:
    """A linear map of colours: ``matrix @ rgb + offset``.

    Parameters:
        matrix: ``(3, 3)``, float32.
        offset: ``(3,)``, float32, for RGB 0..1.
    """

    matrix: NDArray[np.float32]
    offset: NDArray[np.float32]


def statistics(pixels: NDArray[np.uint8] | NDArray[np.float32], alpha: NDArray[np.uint8] | None = None) -> Statistics:
    """Mean and covariance of a picture's colours, in bands that bound the memory.

    Parameters:
        pixels: ``(H, W, 3)``, RGB: uint8, or float 0..1.
        alpha: ``(H, W)``; only pixels that are not wholly transparent count. All count when none is left.
    """
    scale = 1 / 255 if pixels.dtype == np.uint8 else 1.0
    total, squares, count = np.zeros(3), np.zeros((3, 3)), 0
    rows = max(1, _BAND_PIXELS // pixels.shape[1])
    for top in range(0, pixels.shape[0], rows):
        band = pixels[top : top + rows].reshape(-1, 3)
        if alpha is not None:
            band = band[alpha[top : top + rows].reshape(-1) > 0]
        if not len(band):
            continue
        # Colour by colour: long rows are multiplied at once, columns of three one by one.
        planes = np.stack([plane[:, 0] for plane in cv2.split(band[:, None])]).astype(np.float32)
        planes *= np.float32(scale)
        planes -= np.float32(0.5)
        total += planes @ np.ones(len(band), np.float32)
        squares += planes @ planes.T
        count += len(band)
    if count == 0:
        return statistics(pixels)
    mean = total / count
    return Statistics(mean + 0.5, squares / count - np.outer(mean, mean))


def blend(several: Sequence[Statistics], weights: Sequence[float]) -> Statistics:
    """The weighted mean of the colours of several pictures; the weights need not sum to 1."""
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    mean = sum((share * one.mean for share, one in zip(shares, several, strict=True)), np.zeros(3))
    covariance = sum((share * one.covariance for share, one in zip(shares, several, strict=True)), np.zeros((3, 3)))
    return Statistics(mean, covariance)


def colour_map(source: Statistics, target: Statistics) -> ColourMap:
    """The map that gives colours with the statistics ``source`` those of ``target``.

    A direction in which the source hardly varies is widened four times at most: there is only noise in it.
    """
    root, inverse = _square_roots(source.covariance)
    wanted, _ = _square_roots(target.covariance)
    middle = _square_root(root @ wanted @ wanted @ root)
    matrix = inverse @ middle @ inverse
    gains, axes = np.linalg.eigh((matrix + matrix.T) / 2)
    matrix = (axes * np.minimum(gains, _MOST_GAIN)) @ axes.T
    offset = target.mean - matrix @ source.mean
    return ColourMap(matrix.astype(np.float32), offset.astype(np.float32))


def plain_map(own: Statistics) -> ColourMap:
    """The map that takes a picture's colours away: to mean 0 and deviation 1 along every axis of colour."""
    _, inverse = _square_roots(own.covariance, PLAIN_VARIANCE)
    return ColourMap(inverse.astype(np.float32), (-inverse @ own.mean).astype(np.float32))


def palette(own: Statistics) -> NDArray[np.float32]:
    """What gives colours back to what :func:`plain_map` took them from, ``(3, 4)``: a matrix and the mean."""
    root, _ = _square_roots(own.covariance, PLAIN_VARIANCE)
    return np.concatenate([root, own.mean[:, None]], 1).astype(np.float32)


def apply(pixels: NDArray[np.generic], colours: ColourMap) -> NDArray[np.float32]:
    """``pixels`` ``(H, W, 3)``, uint8 or float32 0..1, through ``colours``, as float32; may leave 0..1."""
    scale = 1 / 255 if pixels.dtype == np.uint8 else 1.0
    affine = np.concatenate([colours.matrix * scale, colours.offset[:, None]], 1).astype(np.float32)
    return np.asarray(cv2.transform(np.asarray(pixels, np.float32), affine), np.float32)


def match(photo: NDArray[np.generic], source: Statistics, target: Statistics) -> NDArray[np.float32]:
    """``photo``, or a tile of it, with the colours of ``target``, within 0..1.

    Parameters:
        photo: ``(H, W, 3)``, RGB: uint8, or float32 0..1.
        source: of the whole photo, whatever part of it is given.
        target: of the picture whose colours are wanted.
    """
    matched = apply(photo, colour_map(source, target))
    return np.clip(matched, 0.0, 1.0, out=matched)


def _square_roots(
    covariance: NDArray[np.float64], more: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The symmetric square root of a covariance whose least variances are raised off zero, and its inverse.

    Parameters:
        more: variance added along every axis.
    """
    values, axes = np.linalg.eigh((covariance + covariance.T) / 2)
    roots = np.sqrt(np.maximum(values + more, _LEAST_VARIANCE))
    return (axes * roots) @ axes.T, (axes / roots) @ axes.T


def _square_root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    values, axes = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((axes * np.sqrt(np.maximum(values, 0))) @ axes.T, np.float64)
