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
_REACH = PERIODS[1] + 1
_ANGLES = 48


def weave(pictures: Tensor, stride: int = WINDOW) -> Tensor:
    """How regular windows of ``pictures`` are by direction: ``(N, windows, angles)``, below 0 to about 1.

    The highest peak of the autocorrelation at periods of 5 to 20 pixels in each direction, less as much of it as lies
    in between too: a long stroke is like itself all along. Of irregular strokes the highest of all directions is 0.1
    to 0.3, of a lattice 0.4 to 1. ``stride`` is how far the next window is.
    """
    with torch.autocast(pictures.device.type, enabled=False):
        taper, fall, rays = _constants(pictures.device)
        windows = _windows(_fine(pictures.float()), stride)
        middle = (windows * taper).mean((2, 3), keepdim=True) / taper.mean()
        # Fewer pixels of a tapered window meet at a larger lag: as much as its own autocorrelation falls off.
        found = _autocorrelation((windows - middle) * taper) / fall
        # Over the variance of the window, with what makes faint ones count less.
        polar = (found.flatten(2) @ rays) / (found[:, :, :1, _REACH] + FAINT**2)
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
    red, green, blue = pictures.split(1, 1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    broad = luma
    # Two boxes one after the other are a triangle, which has no side lobes to speak of.
    for _ in range(2):
        broad = functional.avg_pool2d(broad, 21, stride=1, padding=10, count_include_pad=False)
    return luma - broad


def _windows(luma: Tensor, stride: int) -> Tensor:
    """``(N, 1, H, W)`` to ``(N, windows, 64, 64)``."""
    return luma[:, 0].unfold(1, WINDOW, stride).unfold(2, WINDOW, stride).flatten(1, 2)


def _autocorrelation(windows: Tensor) -> Tensor:
    """At lags of 0..21 rows and -21..21 columns, ``(N, windows, 22, 43)``: the other half is the same."""
    power = torch.view_as_real(torch.fft.rfft2(windows, s=(_PADDED, _PADDED))).square().sum(-1)
    found = torch.fft.irfft2(power, s=(_PADDED, _PADDED))[:, :, : _REACH + 1]
    return torch.cat([found[..., -_REACH:], found[..., : _REACH + 1]], 3)


@cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The taper of windows, its autocorrelation, and what brings lags to rays: made once, a GPU waits for numbers."""
    taper = torch.hann_window(WINDOW + 2, periodic=False)[1:-1]
    taper = taper[:, None] * taper
    return taper.to(device), _autocorrelation(taper[None, None]).to(device), _rays().to(device)


def _rays() -> Tensor:
    """Brings the lags of :func:`_autocorrelation` to rays of 1..20 pixels, bilinear: ``(lags, angles * 20)``."""
    rays = torch.zeros(_REACH + 1, 2 * _REACH + 1, _ANGLES, PERIODS[1])
    for angle in range(_ANGLES):
        for radius in range(1, PERIODS[1] + 1):
            y, x = radius * sin(pi * angle / _ANGLES), radius * cos(pi * angle / _ANGLES) + _REACH
            top, left = int(y), int(x)
            for row, down in ((top, top + 1 - y), (top + 1, y - top)):
                for column, right in ((left, left + 1 - x), (left + 1, x - left)):
                    rays[row, column, angle, radius - 1] += down * right
    return rays.flatten(2).flatten(0, 1)
