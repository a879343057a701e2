"""Which way of computing features ``optimise`` chooses."""

from __future__ import annotations

from typing import Literal

import pytest

from minimoto.engines.runtime import Device
from minimoto.engines.style_objective import Features
from minimoto.engines.style_optimise_settings import OptimiseOptions
from minimoto.engines.style_scales import features_on
from minimoto.engines.vgg import Vgg, random_vgg
from minimoto.engines.vgg_torch import TorchFeatures
from minimoto.engines.vgg_winograd import WinogradFeatures
from minimoto.engines.winograd import kernels

CPU = Device("cpu", "test", "torch", "fp32")
WIDTHS = (16, 16, 16, 32, 32)


def chosen(vgg: Vgg, device: Device) -> Features:
    options = OptimiseOptions()
    return features_on(vgg, {*options.content_layers, *options.style_layers}, options.pooling, device)


@pytest.fixture(scope="module")
def vgg() -> Vgg:
    return random_vgg("vgg19", WIDTHS).until(["relu5_1"])


@pytest.mark.parametrize(
    ("flags", "precision", "way"),
    [
        ("avx2", "fp32", WinogradFeatures),
        ("avx2 avx512f avx512_bf16", "bf16", WinogradFeatures),
        ("avx2 avx512f avx512_bf16 amx_tile amx_bf16", "bf16", TorchFeatures),
        ("avx2 avx512f avx512_bf16 amx_tile amx_bf16", "fp32", WinogradFeatures),
    ],
)
def test_only_tiles_of_bfloat16_are_faster_than_the_kernels(
    vgg: Vgg, monkeypatch: pytest.MonkeyPatch, flags: str, precision: Literal["fp32", "bf16"], way: type[Features]
) -> None:
    if kernels(1) is None:
        pytest.skip("there is no C compiler here")
    monkeypatch.setattr("minimoto.engines.style_scales.cpu_flags", lambda: flags)
    assert isinstance(chosen(vgg, Device("cpu", "test", "openvino", precision)), way)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_without_a_compiler_torch_does_the_work(
    vgg: Vgg, monkeypatch: pytest.MonkeyPatch, precision: Literal["fp32", "bf16"]
) -> None:
    monkeypatch.setattr("minimoto.engines.style_scales.kernels", lambda threads: None)
    assert isinstance(chosen(vgg, Device("cpu", "test", "openvino", precision)), TorchFeatures)


def test_a_network_that_the_kernels_cannot_do_uses_torch() -> None:
    odd = random_vgg("vgg19", (8, 8, 8, 8, 8)).until(["relu5_1"])
    assert isinstance(chosen(odd, CPU), TorchFeatures)
