"""What tests of ``upscale`` share: engines loaded once, and pictures to enlarge."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from minimoto.engines.upscale import Upscaler
from minimoto.engines.upscale_settings import UpscaleSettings

EXAMPLES = Path(__file__).parents[2] / "examples" / "photos"


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Networks are compiled into a folder of the test's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIMOTO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("MINIMOTO_THREADS", "1")
        yield


@cache
def engine(settings: UpscaleSettings) -> Upscaler:
    """An engine for these settings, made once a process."""
    return Upscaler(settings)


def photo(height: int, width: int, name: str = "8-chelsea.jpg") -> NDArray[np.uint8]:
    """The middle of an example photo, ``(height, width, 3)``."""
    with Image.open(EXAMPLES / name) as image:
        pixels = np.asarray(image.convert("RGB"))
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8], border: int = 4) -> float:
    inside = (slice(border, -border), slice(border, -border))
    return float(10 * np.log10(255**2 / np.mean((a[inside].astype(float) - b[inside]) ** 2)))


def shrunk(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    size = (pixels.shape[1] // factor, pixels.shape[0] // factor)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def bicubic(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    size = (pixels.shape[1] * factor, pixels.shape[0] * factor)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC))
