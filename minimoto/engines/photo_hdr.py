"""HDR photos as the SDR pictures they would be: shown as they are, their codes look grey.

Source: ITU-R BT.2100-3, tables 4 (PQ) and 5 (HLG, with its system gamma of 1.2 for 1000 cd/m²); BT.2408-7, section 2
(white at 203 cd/m²); BT.2087-0 (BT.2020's primaries to BT.709's); IEC 61966-2-1 (sRGB).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PQ, HLG = 16, 18
"""ITU-T H.273, transfer characteristics."""

_WHITE, _PEAK = 203.0, 1000.0
_TO_709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]], np.float32
)
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)

# Up to here light is kept as it is; the rest, up to the peak, is rolled off into what is left.
_KNEE = 0.7

Floats = NDArray[np.float32]


def to_sdr(image: Image.Image, transfer: int) -> Image.Image:
    """A picture whose colours are BT.2020's with PQ's or HLG's codes, in sRGB.

    Parameters:
        image: ``RGB`` or ``RGBA``; what is transparent stays so.
        transfer: :data:`PQ` or :data:`HLG`.
    """
    codes = np.asarray(image.convert("RGB"))
    levels = (np.arange(256) / 255).astype(np.float32)
    light = (_pq(levels) if transfer == PQ else _hlg(levels))[codes]
    if transfer == HLG:
        light *= (np.maximum(light @ _LUMA_2020, 1e-6) ** 0.2)[..., None] * np.float32(_PEAK / _WHITE)
    shown = _srgb(_rolled_off(np.clip(light @ _TO_709.T, 0, None)))
    made = Image.fromarray((shown * 255 + 0.5).astype(np.uint8))
    if image.mode == "RGBA":
        made.putalpha(image.getchannel("A"))
    return made


def _pq(code: Floats) -> Floats:
    """Light of PQ's codes, 1 for white."""
    power = code ** (32 / 2523)
    linear = (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (8192 / 1305)
    return np.asarray(linear * (10000 / _WHITE), np.float32)


def _hlg(code: Floats) -> Floats:
    """Light before the camera of HLG's codes, 0..1."""
    bright = (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.asarray(np.where(code <= 0.5, code**2 / 3, bright), np.float32)


def _rolled_off(light: Floats) -> Floats:
    """Light up to the peak brought to 0..1 by a curve without a corner (a Möbius transform above the knee)."""
    peak, knee = _PEAK / _WHITE, _KNEE
    a = -(knee**2) * (peak - 1) / (knee**2 - 2 * knee + peak)
    b = (knee**2 - 2 * knee * peak + peak) / (peak - 1)
    bright = (b**2 + 2 * b * knee + knee**2) / (b - a) * (light + a) / (light + b)
    return np.asarray(np.where(light <= knee, light, bright).clip(0, 1), np.float32)


def _srgb(light: Floats) -> Floats:
    curve = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    return np.asarray(np.where(light <= 0.0031308, 12.92 * light, curve), np.float32)
