"""Models small enough to be made by a test, in the layouts of the published ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minimoto.engines import registry
from minimoto.engines.registry_download import digest
from minimoto.engines.registry_layouts import LAYOUTS, Layout, compact
from minimoto.engines.registry_models import MODELS, Format, Model, Source

Tensors = dict[str, Any]
Add = Callable[..., Model]


def numbers(layout: Layout, seed: int = 1) -> Tensors:
    """Tensors of a layout, small enough that deep networks stay finite."""
    random = np.random.default_rng(seed)
    return {name: (random.random(shape) - 0.5).astype(np.float32) * 0.1 for name, shape in layout.items()}


@pytest.fixture(autouse=True)
def _only_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No test sees what was fetched on this computer, nor leaves anything."""
    monkeypatch.setenv("MINIMOTO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MINIMOTO_MODELS", raising=False)
    registry._digest_of.cache_clear()
    yield
    registry._digest_of.cache_clear()


@pytest.fixture
def tiny_layout() -> Layout:
    return compact(1)


@pytest.fixture
def tiny(tiny_layout: Layout) -> Tensors:
    """The tensors of a compact network with one convolution in the middle."""
    return numbers(tiny_layout)


@pytest.fixture
def published(tmp_path: Path, tiny: Tensors) -> Path:
    """The tiny network as ``torch.save`` wrote it, in BasicSR's layout."""
    import torch

    path = tmp_path / "published" / "tiny.pth"
    path.parent.mkdir()
    torch.save({"params_ema": {name: torch.from_numpy(value) for name, value in tiny.items()}}, path)
    return path


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch, tiny_layout: Layout) -> Add:
    """Puts a model ``tiny`` into the registry, for the time of a test."""

    def add(file: Path, *, format: Format = "basicsr", url: str = "https://localhost:1/tiny.pth", **more: Any) -> Model:
        source = Source(file.name, digest(file), file.stat().st_size, format, url, **more)
        model = Model("tiny", "a test", "MIT", (source,))
        monkeypatch.setitem(MODELS, "tiny", model)
        monkeypatch.setitem(LAYOUTS, "tiny", lambda: tiny_layout)
        return model

    return add
