"""Weights for tests of the ``fast`` style: random ones, which any property that is no matter of taste must hold for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from minimoto.engines import runtime_device
from minimoto.engines.style import FastStyle, fast_style


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with random weights."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from minimoto.engines.style_net import StyleNetwork

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = StyleNetwork()
    with torch.no_grad():
        # An untrained network adds noise to the photo in the style's colours: as little as a trained one may.
        network.decoder.out.weight.mul_(0.05)
    path = tmp_path_factory.mktemp("weights") / "style.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return path


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
