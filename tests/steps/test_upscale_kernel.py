"""The compact network by compiled kernels, held to torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from minimoto.engines import upscale
from minimoto.engines.network_kernel import Kernels, compiled_kernels
from minimoto.engines.runtime_check import psnr
from minimoto.engines.runtime_device import Device
from minimoto.engines.runtime_shipped import WEIGHTS
from minimoto.engines.upscale_kernel import KernelUpscale
from minimoto.engines.upscale_net import build_upscale
from minimoto.engines.upscale_settings import FACTORS, UpscaleSettings

CPU = Device("cpu", "any", "openvino", "fp32")


@pytest.fixture(scope="module", params=[1, 3])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    made = compiled_kernels(request.param)
    if made is None:
        pytest.skip("there is no C compiler here")
    return made


@pytest.mark.parametrize("factor", FACTORS)
def test_the_kernels_compute_what_torch_does(kernels: Kernels, factor: int) -> None:
    weights = WEIGHTS / f"upscale{factor}.safetensors"
    network, exact = KernelUpscale(kernels, weights, factor), build_upscale(factor)(weights).eval()
    chance = np.random.default_rng(factor)
    for shape in ((1, 1, 1, 1), (1, 1, 5, 7), (3, 1, 40, 61), (1, 1, 61, 40)):
        luma = chance.random(shape, np.float32)
        with torch.inference_mode():
            wanted = exact(torch.from_numpy(luma)).numpy()
        (got,) = network(luma)
        assert got.shape == wanted.shape
        assert got.dtype == np.float32
        assert psnr(got, wanted) > 90
        network.release()
        assert np.array_equal(network.lent(luma)[0], got)


def test_results_stay_after_the_next_call(kernels: Kernels) -> None:
    network = KernelUpscale(kernels, WEIGHTS / "upscale2.safetensors", 2)
    luma = np.random.default_rng(0).random((1, 1, 30, 30), np.float32)
    (first,) = network(luma)
    kept = first.copy()
    network(1 - luma)
    assert np.array_equal(first, kept)


def test_they_enlarge_where_they_are_the_fastest(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Device] = []

    def which(device: Device) -> Kernels | None:
        asked.append(device)
        return kernels if device.backend == "openvino" else None

    monkeypatch.setattr(upscale, "kernels", which)
    settings = UpscaleSettings(2)
    assert isinstance(upscale.Upscaler(settings, CPU)._network, KernelUpscale)
    assert not isinstance(upscale.Upscaler(settings, replace(CPU, backend="torch"))._network, KernelUpscale)
    assert [device.backend for device in asked] == ["openvino", "torch"]
