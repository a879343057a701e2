"""Enlarging as it is done on a GPU, held to the way by tiles; on the CPU, so far as there is no GPU."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from cuda_on_cpu import on_cpu
from numpy.typing import NDArray
from upscale_engines import photo

from minimoto.engines import cuda_kernel, upscale_gpu, upscale_gpu_net, upscale_net
from minimoto.engines.runtime import ENOUGH
from minimoto.engines.runtime_check import psnr
from minimoto.engines.runtime_device import Device
from minimoto.engines.runtime_shipped import WEIGHTS
from minimoto.engines.upscale import Upscaler
from minimoto.engines.upscale_gpu import GpuUpscaler
from minimoto.engines.upscale_gpu_net import ByKernels, ByTorch, Layers, cubic_taps, macros
from minimoto.engines.upscale_net import UpscaleNet
from minimoto.engines.upscale_settings import FACTORS, UpscaleSettings, cut

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
    ),
]


@cache
def engine(settings: UpscaleSettings) -> Upscaler:
    """By tiles, exact: torch in single precision."""
    return Upscaler(settings, Device("cpu", "", "torch", "fp32"))


def gpu(factor: int, device: str, band: int) -> GpuUpscaler:
    return GpuUpscaler(
        factor, WEIGHTS / f"upscale{factor}.safetensors", cut(UpscaleSettings(factor)).overlap, device, band
    )


GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]


def network(factor: int, channels: int = 24) -> UpscaleNet:
    """Random weights that keep the features' size."""
    torch.manual_seed(factor)
    made = UpscaleNet(factor, channels, 3).eval().requires_grad_(False)
    for layer in (made.first, *made.body):
        layer.weight.mul_(2.5)
    return made


def kinds() -> dict[str, NDArray[Any]]:
    pixels = photo(61, 83)
    deep = pixels.astype(np.uint16) * 257 + np.arange(83, dtype=np.uint16)[:, None]
    return {"colours": pixels, "grey": pixels[..., 1], "deep": deep, "grey, deep": deep[..., 0], "row": pixels[:1]}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("factor", FACTORS)
def test_bands_are_what_tiles_are(factor: int, device: str) -> None:
    for name, pixels in kinds().items():
        wanted = engine(UpscaleSettings(factor)).enlarge(pixels)
        told: list[float] = []
        strips = list(gpu(factor, device, 83 * 17).strips(pixels, told.append))
        assert [top for top, _ in strips] == list(range(0, len(wanted), 17 * factor))
        got = np.concatenate([rows for _, rows in strips])
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype), name
        white = np.iinfo(wanted.dtype).max
        most = 1 if device == "cpu" else 2
        assert np.abs(got.astype(float) - wanted).max() <= most * white / 255, name
        assert told[-1] == 1


def test_only_what_the_gpu_does_alone_goes_there(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    exact = engine(UpscaleSettings(2))

    def make(factor: int, weights: object, margin: int) -> GpuUpscaler:
        made.append(factor)
        return gpu(factor, "cpu", 83 * 17)

    monkeypatch.setattr("minimoto.engines.upscale_gpu.GpuUpscaler", make)
    monkeypatch.setattr("minimoto.engines.upscale._network", lambda settings, device: exact._network)
    cuda = Device("cuda", "", "torch", "fp16")
    for settings in (UpscaleSettings(2, ensemble=2), UpscaleSettings(2, denoise=0.5), UpscaleSettings(2, tile=64)):
        Upscaler(settings, cuda)
    assert not made
    pixels = photo(40, 50)
    found = Upscaler(UpscaleSettings(2), cuda)
    assert made == [2]
    assert np.abs(found.enlarge(pixels).astype(int) - exact.enlarge(pixels)).max() <= 1
    rgba = np.dstack([pixels, pixels[..., :1]])
    assert np.array_equal(found.enlarge(rgba), exact.enlarge(rgba))


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("kind", kinds())
def test_the_kernels_give_what_torch_gives(factor: int, kind: str) -> None:
    cpu = torch.device("cpu")
    exact = ByTorch(Layers(network(factor), factor, cpu, torch.float32))
    there = torch.from_numpy(np.ascontiguousarray(kinds()[kind]))
    half = Layers(network(factor), factor, cpu, torch.float16)
    assert half.width == upscale_gpu_net.FULL
    fast = ByKernels(half, on_cpu("upscale_gpu", **macros(half, there)))
    assert psnr(fast.missed(there).float().numpy(), exact.missed(there).numpy()) > ENOUGH
    wanted, got = exact(there), fast(there)
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    white = torch.iinfo(there.dtype).max
    apart = (got.double() - wanted.double()).abs()
    assert apart.max() <= max(1, white / 255)
    if white == 255:
        assert apart.mean() < 0.05


@pytest.mark.parametrize("factor", FACTORS)
def test_the_kernels_are_tried_before_they_are_used(
    factor: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = gpu(factor, "cpu", 10**6)
    made = upscale_net.build_upscale(factor)(WEIGHTS / f"upscale{factor}.safetensors")
    found._layers = Layers(made, factor, torch.device("cpu"), torch.float16)
    monkeypatch.setattr(cuda_kernel, "kernels", lambda name, instead, **defined: on_cpu(name, **defined))
    there = torch.from_numpy(photo(20, 30))
    with caplog.at_level(logging.INFO, "minimoto.runtime"):
        assert isinstance(found._way(there), ByKernels)
    assert "by kernels at both ends" in caplog.text
    monkeypatch.setattr(upscale_gpu_net, "cubic_taps", lambda factor: cubic_taps(factor)[::-1].copy())
    assert found._by_kernels(there) is None
    assert "so torch's operations enlarge" in caplog.text


@pytest.mark.parametrize("factor", FACTORS)
def test_bicubic_taps_are_torchs(factor: int) -> None:
    row = torch.zeros(1, 1, 1, 9)
    row[0, 0, 0, 4] = 1
    wanted = torch.nn.functional.interpolate(row, (1, 9 * factor), mode="bicubic")[0, 0, 0]
    for place in range(5):
        first = (6 - place) * factor
        assert np.allclose(cubic_taps(factor)[:, place], wanted[first : first + factor], atol=1e-6)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=GPU)])
@pytest.mark.parametrize("switched_off", ["", "kernels", "fused", "both"])
@pytest.mark.parametrize("size", [(61, 83), (64, 96), (1, 40), (257, 129)])
def test_each_way_on_a_gpu_gives_what_tiles_give(
    monkeypatch: pytest.MonkeyPatch, device: str, switched_off: str, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(upscale_gpu, "KERNELS", switched_off not in ("kernels", "both"))
    monkeypatch.setattr(upscale_gpu_net, "FUSED", switched_off not in ("fused", "both"))
    pixels = photo(*size)
    found = gpu(2, device, 10**6)
    got = np.concatenate([rows for _, rows in found.strips(pixels, lambda done: None)])
    assert isinstance(found._way(torch.from_numpy(pixels).cuda()), ByTorch if "kernels" in switched_off else object)
    assert np.abs(got.astype(int) - engine(UpscaleSettings(2)).enlarge(pixels)).max() <= 1


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=GPU)])
def test_there_is_a_way_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, device: str
) -> None:
    def missing() -> None:
        raise OSError("libnvrtc.so.13: not found")

    monkeypatch.setattr(cuda_kernel, "_compiler", missing)
    cuda_kernel._kernels.cache_clear()
    pixels = photo(40, 50)
    strips = gpu(2, device, 10**6).strips(pixels, lambda done: None)
    got = np.concatenate([rows for _, rows in strips])
    cuda_kernel._kernels.cache_clear()
    assert "libnvrtc.so.13: not found" in caplog.text
    assert np.abs(got.astype(int) - engine(UpscaleSettings(2)).enlarge(pixels)).max() <= 1
