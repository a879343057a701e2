"""The published upscalers: their layouts, how far they look, and tiles of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from minimoto.engines import published as networks
from minimoto.engines.published import (
    UPSCALERS,
    denoise_weights,
    load_weights,
    rdn_margin,
    rrdb_margin,
    rrdn_margin,
)
from minimoto.engines.rdn import RDN
from minimoto.engines.realesrgan import Compact, RRDBNet
from minimoto.engines.registry import fetch
from minimoto.engines.registry_layouts import LAYOUTS
from minimoto.engines.registry_models import MODELS
from minimoto.engines.rrdn import RRDN
from minimoto.errors import ModelMissing

from .conftest import Add, Tensors, numbers


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", UPSCALERS)
def test_a_network_holds_the_tensors_of_its_layout(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes only: with no numbers, the largest takes no room."""

    def shapes(make: Any, path: Path) -> nn.Module:
        with torch.device("meta"):
            network: nn.Module = make()
        return network

    for module in ("rdn", "rrdn", "realesrgan"):
        monkeypatch.setattr(f"minimoto.engines.{module}.load_weights", shapes)
    network = UPSCALERS[name].build(Path("nothing"))
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == LAYOUTS[name]()
    assert name in MODELS


def reach(network: nn.Module, factor: int, margin: int, rows: int = 1) -> int:
    """How many pixels of the photo, to the side of a pixel, see it: with no number negative, none can cancel out."""
    network.double()
    for parameter in network.parameters():
        parameter.data.fill_(1.0 / parameter.shape[1] if parameter.ndim == 4 else 0.25 * (parameter.ndim == 1))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            layer.bias.data.zero_()
    left = margin + 6
    photo = torch.zeros(1, 3, rows, 2 * left + 2, dtype=torch.float64)
    photo[..., left : left + rows] = 1
    with torch.inference_mode():
        touched = network(photo)[0, 0].amax(0) > 0
    columns = touched.reshape(-1, factor).any(1).nonzero().flatten()
    return max(left - int(columns.min()), int(columns.max()) - (left + rows - 1))


@pytest.mark.parametrize(
    ("network", "factor", "margin", "rows"),
    [
        (RDN(2, 2, 4, 4), 2, rdn_margin(2, 2), 1),
        (RRDN(2, 2, 2, 4, 4), 4, rrdn_margin(2, 2, 2), 1),
        (RRDBNet(2, channels=4, growth=4), 4, rrdb_margin(2), 1),
        (RRDBNet(2, factor=2, channels=4, growth=4), 2, rrdb_margin(2, fold=2), 2),
        (Compact(16, channels=4), 4, UPSCALERS["realesr-animevideov3"].margin, 1),
        (Compact(32, channels=4), 4, UPSCALERS["realesr-general-x4v3"].margin, 1),
    ],
    ids=["rdn", "rrdn", "rrdb", "rrdb folded", "anime", "general"],
)
def test_the_margin_is_how_far_a_network_looks(network: nn.Module, factor: int, margin: int, rows: int) -> None:
    assert margin - 1 <= reach(network, factor, margin, rows) <= margin


def test_a_tile_with_its_margin_is_exact() -> None:
    torch.manual_seed(1)
    network, margin = Compact(2, channels=8).eval(), 4
    photo = torch.rand(1, 3, 30, 40)
    with torch.inference_mode():
        whole = network(photo)[..., 40:80, 60:100]
        tile = network(photo[..., 10 - margin : 20 + margin, 15 - margin : 25 + margin])
    inner = tile[..., 4 * margin : -4 * margin, 4 * margin : -4 * margin]
    assert (inner - whole).abs().max() < 1e-5


def test_weights_of_another_network_are_one_line(tmp_path: Path, tiny: Tensors) -> None:
    path = tmp_path / "tiny.safetensors"
    save_file(tiny, path)
    assert not load_weights(lambda: Compact(1), path).training
    with pytest.raises(ModelMissing, match="not the weights of this network") as error:
        load_weights(lambda: Compact(2), path)
    assert "\n" not in str(error.value)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelMissing):
        load_weights(lambda: Compact(1), path)


@pytest.fixture
def twins(add: Add, published: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_layout: Any) -> None:
    """The two networks that ``denoise`` mixes, both small."""
    model = add(published)
    for seed, name in enumerate(("strong", "weak")):
        path = tmp_path / f"{name}.pth"
        torch.save({key: torch.from_numpy(value) for key, value in numbers(tiny_layout, seed + 2).items()}, path)
        source = replace(add(path).sources[0])
        monkeypatch.setitem(MODELS, name, replace(model, name=name, sources=(source,)))
        monkeypatch.setitem(LAYOUTS, name, lambda: tiny_layout)
        fetch(name, [path])
    monkeypatch.setattr(networks, "DENOISED", "strong")
    monkeypatch.setattr(networks, "NOISY", "weak")


@pytest.mark.usefixtures("twins")
def test_denoise_mixes_the_weights_of_the_twins(tiny_layout: Any) -> None:
    strong, weak = numbers(tiny_layout, 2), numbers(tiny_layout, 3)
    for strength, expected in ((1.0, strong), (0.0, weak)):
        found = load_file(denoise_weights(strength))
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
    path = denoise_weights(0.25)
    mixed = load_file(path)
    for name in strong:
        assert np.allclose(mixed[name], 0.25 * strong[name] + 0.75 * weak[name], atol=1e-7)
    before = path.read_bytes()
    path.write_bytes(b"changed")
    assert denoise_weights(0.25) == path
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="0 to 1"):
        denoise_weights(1.5)
