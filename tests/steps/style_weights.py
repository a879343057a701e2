"""The ``fast`` style's network for tests, run by torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
