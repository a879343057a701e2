"""Networks on a GPU of NVIDIA, held to the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import runtime_nets
import torch

from minimoto.engines.runtime import ENOUGH, Device, choose_device, load
from minimoto.engines.runtime_check import psnr
from minimoto.engines.runtime_torch import GRAPHS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU of NVIDIA that torch can use"),
]

PHOTO = {"photo": (1, 3, None, None)}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return runtime_nets.save(runtime_nets.Every, tmp_path / "every.safetensors")


def test_the_gpu_is_chosen() -> None:
    choose_device.cache_clear()
    device = choose_device()
    assert (device.kind, device.backend, device.precision) == ("cuda", "torch", "fp16")


def test_the_gpu_computes_what_the_cpu_does_at_any_size(weights: Path) -> None:
    fast = load("every", "runtime_nets:build_every", weights, PHOTO, Device("cuda", "", "torch", "fp16"))
    exact = load("every", "runtime_nets:build_every", weights, PHOTO, Device("cpu", "", "torch", "fp32"))
    random = np.random.default_rng(3)
    shapes = [(16 + 2 * n, 32) for n in range(GRAPHS + 2)]
    for height, width in (*shapes, shapes[0]):
        photo = random.random((1, 3, height, width), np.float32)
        (got,), (wanted,) = fast(photo), exact(photo)
        assert got.dtype == np.float32
        assert psnr(got, wanted) > ENOUGH


def test_results_stay_after_the_next_call(weights: Path) -> None:
    network = load("every", "runtime_nets:build_every", weights, PHOTO, Device("cuda", "", "torch", "fp16"))
    photo = np.random.default_rng(3).random((1, 3, 32, 32), np.float32)
    (first,) = network(photo)
    kept = first.copy()
    network(1 - photo)
    assert np.array_equal(first, kept)
    network.release()
    assert np.array_equal(network(photo)[0], kept)
