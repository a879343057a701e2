"""Enlarging as it is done on a GPU, held to the way by tiles; on the CPU, so far as there is no GPU."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from upscale_engines import photo

from minimoto.engines.runtime_device import Device
from minimoto.engines.runtime_shipped import WEIGHTS
from minimoto.engines.upscale import Upscaler
from minimoto.engines.upscale_gpu import GpuUpscaler
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
