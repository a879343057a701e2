"""Photos on a GPU as planes of float32, and their sizes changed there as OpenCV changes them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


def planes(photo: Tensor) -> Tensor:
    """``(H, W, 3)``, bytes, to ``(1, 3, H, W)``, 0..255, float32."""
    return photo.permute(2, 0, 1)[None].float()


def whole(planes: Tensor) -> Tensor:
    """``(1, 3, H, W)``, 0..255, as whole numbers."""
    return planes.round().clamp_(0, 255)


def interleaved(planes: Tensor) -> Tensor:
    """Whole numbers ``(1, 3, H, W)``, 0..255, to ``(H, W, 3)``, bytes."""
    return planes[0].permute(1, 2, 0).to(torch.uint8).contiguous()


def enlarged(planes: Tensor, like: Tensor) -> Tensor:
    """As OpenCV's ``INTER_CUBIC``, whole numbers again."""
    return whole(functional.interpolate(planes, like.shape[2:], mode="bicubic", align_corners=False))


def area(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """As OpenCV's ``INTER_AREA``: each pixel the mean of those that it covers, wholly or in part.

    Parameters:
        planes: ``(1, 3, H, W)``.
        size: (width, height), neither larger than that of ``planes``.
    """
    width, height = size
    return _covered(_covered(planes, 2, height), 3, width)


def _covered(planes: Tensor, axis: int, count: int) -> Tensor:
    """Each of ``count`` pixels along an axis, the mean of those that it covers."""
    places, shares = taps(planes.shape[axis], count)
    where, share = torch.from_numpy(places).to(planes.device), torch.from_numpy(shares).to(planes.device)
    if axis == 2:
        share = share[:, :, None]
    found = planes.index_select(axis, where[0]) * share[0]
    for tap in range(1, len(where)):
        found.addcmul_(planes.index_select(axis, where[tap]), share[tap])
    return found


def taps(length: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which of ``length`` pixels each of ``count`` covers, and its share of each; both ``(taps, count)``.

    Where one covers fewer than others do, what is left of its shares is 0.
    """
    edges = np.linspace(0, length, count + 1)
    first = np.minimum(edges[:-1].astype(np.int64), length - 1)
    covered = first + np.arange(-(-length // count) + 1)[:, None]
    ends = np.minimum(edges[1:], covered + 1)
    shares = np.maximum(ends - np.maximum(edges[:-1], covered), 0) * (count / length)
    return np.minimum(covered, length - 1), shares.astype(np.float32)
