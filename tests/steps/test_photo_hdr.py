"""HDR photos: what is white stays white, what is grey stays grey, and nothing is burnt out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minimoto.engines.film_settings import FilmSettings
from minimoto.engines.film_slide import read_photo
from minimoto.engines.photo_hdr import HLG, PQ, to_sdr


def grey(code: float) -> Image.Image:
    return Image.new("RGB", (8, 8), (round(255 * code),) * 3)


def level(image: Image.Image) -> int:
    red, green, blue = (int(value) for value in np.asarray(image)[4, 4])
    assert max(red, green, blue) - min(red, green, blue) <= 1
    return green


@pytest.mark.parametrize(
    ("transfer", "code", "low", "high"),
    [
        # ITU-R BT.2408-7, table 1: white at 0.58 (PQ) and 0.75 (HLG), an 18 % grey card, shown at 26 cd/m², at 0.38.
        (PQ, 0.58, 215, 245), (HLG, 0.75, 215, 245), (PQ, 0.38, 95, 125), (HLG, 0.38, 95, 125),
        (PQ, 0.0, 0, 0), (HLG, 0.0, 0, 0), (PQ, 1.0, 255, 255), (HLG, 1.0, 250, 255),
    ],
)  # fmt: skip
def test_known_levels(transfer: int, code: float, low: int, high: int) -> None:
    assert low <= level(to_sdr(grey(code), transfer)) <= high


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_brighter_stays_brighter(transfer: int) -> None:
    levels = [level(to_sdr(grey(code / 64), transfer)) for code in range(65)]
    assert levels == sorted(levels)


def test_transparency_stays() -> None:
    image = Image.new("RGBA", (4, 4), (90, 90, 90, 77))
    assert to_sdr(image, PQ).getchannel("A").getextrema() == (77, 77)


def test_an_hdr_photo_in_the_film_is_not_grey(tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
    said: dict[str, Any] = {"color_primaries": 9, "matrix_coefficients": 9, "full_range_flag": 1}
    white = Image.new("RGB", (160, 90), (148, 148, 148))
    shown = {}
    for name, transfer in (("pq", PQ), ("sdr", 1)):
        white.save(tmp_path / f"{name}.heic", quality=95, transfer_characteristics=transfer, **said)
        canvas = read_photo(tmp_path / f"{name}.heic", FilmSettings(size=(160, 90), motion="none")).canvas
        assert canvas is not None
        shown[name] = int(canvas[45, 80])
    assert shown["pq"] > 195
    assert shown["sdr"] == pytest.approx(16 + 148 * 219 / 255, abs=3)
