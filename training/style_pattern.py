"""Regular patterns of 5 to 20 pixels, a weave or a grid, where the photo is flat: how strong they are.

A lattice is like itself again after its period, in one direction or several, and strokes of chance are not. So what is
looked at is the autocorrelation of the painting's luma, in windows of 64 pixels, without what is broader than a period:
the highest peak outside the middle. Gram matrices do not see it: a weave and irregular strokes of the same width have
the same ones. Pictures are ``(N, 3, H, W)``, RGB 0..1; gradients go through.
"""

from __future__ import annotations

from functools import cache
from math import cos, pi, sin

import torch
from torch import Tensor
from torch.nn import functional

WINDOW = 64
"""Pixels a side of what is looked at together: three to twelve periods."""
PERIODS = (5, 20)
"""Pixels."""
FAINT = 0.01
"""Deviation of luma at which a pattern counts half: fainter ones are not seen."""
FLAT = 0.02
"""Deviation of the photo's luma in a flat window; at twice as much the window counts no more."""

_PADDED = 96
_ANGLES = 48
_LUMA = (0.299, 0.587, 0.114)


def weave(pictures: Tensor, stride: int = WINDOW) -> Tensor:
    """How regular windows of ``pictures`` are by direction: ``(N, windows, angles)``, below 0 to about 1.

    The highest peak of the autocorrelation at periods of 5 to 20 pixels in each direction, less as much of it as lies
    in between too: a long stroke is like itself all along. Of irregular strokes the highest of all directions is 0.1
    to 0.3, of a lattice 0.4 to 1. ``stride`` is how far the next window is.
    """
    with torch.autocast(pictures.device.type, enabled=False):
        luma = _windows(_fine(pictures.float()), stride)
        taper = torch.hann_window(WINDOW + 2, periodic=False, device=luma.device)[1:-1]
        taper = taper[:, None] * taper
        found = _autocorrelation((luma - (luma * taper).mean((2, 3), keepdim=True) / taper.mean()) * taper)
        # Fewer pixels of a tapered window meet at a larger lag: as much as its own autocorrelation falls off.
        found = found / _autocorrelation(taper[None, None])
        # The variance of the window, with what makes faint ones count less.
        polar = (found / (found[:, :, :1] + FAINT**2)) @ _rays(luma.device)
        polar = polar.unflatten(2, (_ANGLES, PERIODS[1]))
        between = polar.cummin(3).values.relu()
        return (polar - between)[..., PERIODS[0] - 1 :].amax(3)


def flatness(photos: Tensor, stride: int = WINDOW) -> Tensor:
    """How much windows of ``photos`` count, ``(N, windows)``: 1 where they are flat, 0 where anything is to be seen."""
    with torch.no_grad(), torch.autocast(photos.device.type, enabled=False):
        deviation = _windows(_fine(photos.float()), stride).square().mean((2, 3)).sqrt()
        return (2 - deviation / FLAT).clamp(0, 1)


def excess(regular: Tensor, flat: Tensor, limit: float) -> Tensor:
    """What is above ``limit`` of a painting's :func:`weave`, squared, by its photo's :func:`flatness`: one number.

    Summed over directions, in the mean of all windows: 0.1 to 1 for weaves that are seen.
    """
    return ((regular - limit).relu().square().sum(2) * flat).mean()


def _fine(pictures: Tensor) -> Tensor:
    """Luma without what is broader than a period, ``(N, 1, H, W)``."""
    luma = (pictures * torch.tensor(_LUMA, device=pictures.device).view(1, 3, 1, 1)).sum(1, keepdim=True)
    broad = luma
    # Two boxes one after the other are a triangle, which has no side lobes to speak of.
    for _ in range(2):
        broad = functional.avg_pool2d(broad, 21, stride=1, padding=10, count_include_pad=False)
    return luma - broad


def _windows(luma: Tensor, stride: int) -> Tensor:
    """``(N, 1, H, W)`` to ``(N, windows, 64, 64)``."""
    return luma[:, 0].unfold(1, WINDOW, stride).unfold(2, WINDOW, stride).flatten(1, 2)


def _autocorrelation(windows: Tensor) -> Tensor:
    """At lags of -20..20 rows and columns, row by row but the middle first, ``(N, windows, 41 * 41)``."""
    power = torch.fft.rfft2(windows, s=(_PADDED, _PADDED)).abs().square()
    found = torch.fft.irfft2(power, s=(_PADDED, _PADDED))
    return found.flatten(2)[:, :, _lags(windows.device)]


@cache
def _lags(device: torch.device) -> Tensor:
    reach = PERIODS[1] + 1
    lags = [(y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
    lags.sort(key=lambda lag: lag != (0, 0))
    return torch.tensor([y % _PADDED * _PADDED + x % _PADDED for y, x in lags], device=device)


@cache
def _rays(device: torch.device) -> Tensor:
    """Brings the lags of :func:`_autocorrelation` to rays of 1..20 pixels, bilinear: ``(lags, angles * 20)``."""
    reach = PERIODS[1] + 1
    lags = [(y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
    lags.sort(key=lambda lag: lag != (0, 0))
    number = {lag: i for i, lag in enumerate(lags)}
    rays = torch.zeros(len(lags), _ANGLES * PERIODS[1])
    for i in range(_ANGLES):
        for radius in range(1, PERIODS[1] + 1):
            y, x = radius * sin(pi * i / _ANGLES), radius * cos(pi * i / _ANGLES)
            top, left = int(y // 1), int(x // 1)
            for row, down in ((top, top + 1 - y), (top + 1, y - top)):
                for column, right in ((left, left + 1 - x), (left + 1, x - left)):
                    if down * right > 0:
                        rays[number[row, column], i * PERIODS[1] + radius - 1] += down * right
    return rays.to(device)
