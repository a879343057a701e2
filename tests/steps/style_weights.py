"""The ``fast`` style's network for tests, run by torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from minimoto.engines import runtime_device
from minimoto.engines.runtime_shipped import WEIGHTS
from minimoto.engines.style import FastStyle, fast_style


@pytest.fixture(scope="module")
def weights() -> Path:
    """The file that is shipped."""
    pytest.importorskip("torch")
    return WEIGHTS / "style.safetensors"


@pytest.fixture(scope="module")
def engine(weights: Path) -> FastStyle:
    """The network with those weights, run by torch: nothing has to be converted."""
    return FastStyle(weights, runtime_device.choose_device("torch"))


@pytest.fixture
def shipped(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The step takes those weights for the ones that are shipped, and torch to run them."""
    monkeypatch.setattr("minimoto.engines.registry.model_path", lambda name: weights)
    monkeypatch.setenv(runtime_device.DEVICE_VARIABLE, "torch")
    runtime_device.choose_device.cache_clear()
    fast_style.cache_clear()
    yield weights
    runtime_device.choose_device.cache_clear()
    fast_style.cache_clear()


def picture(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth shapes and some grain."""
    import cv2

    chance = np.random.default_rng(seed)
    coarse = chance.integers(0, 256, (5, 6, 3), np.uint8)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(pixels + chance.integers(-12, 12, pixels.shape), 0, 255).astype(np.uint8)
