"""The ``fast`` style as it is painted on a GPU, held to the way by the network's parts; on the CPU, so far as there is
no GPU."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from cuda_on_cpu import on_cpu
from numpy.typing import NDArray
from style_weights import engine, picture, weights  # noqa: F401
from torch import nn
from torch.nn import functional

from minimoto.engines import gpu_copies, style_gpu
from minimoto.engines.runtime import ENOUGH
from minimoto.engines.runtime_check import psnr
from minimoto.engines.style import FastStyle, Look
from minimoto.engines.style_colour import statistics
from minimoto.engines.style_gpu import GpuPainter
from minimoto.engines.style_gpu_kernels import KernelNetwork
from minimoto.engines.style_gpu_net import Doubling, inverse_roots, moved
from minimoto.engines.style_gpu_planes import area
from minimoto.engines.style_net import build_look
from minimoto.engines.style_painting import Asked, Painting
from minimoto.engines.style_settings import FastOptions
from minimoto.engines.style_transport import moments, transport

Pixels = NDArray[np.uint8]

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
    ),
]
EXACT = {"cpu": 70.0, "kernels": ENOUGH, "cuda": ENOUGH, "cuda, without kernels": ENOUGH}
"""Decibels that a painting is held to."""


@pytest.fixture(scope="module")
def look(engine: FastStyle) -> Look:  # noqa: F811
    return engine.look([picture(400, 300, 7)])


WAYS = [DEVICES[0], "kernels", DEVICES[1], pytest.param("cuda, without kernels", marks=DEVICES[1].marks)]


@pytest.fixture(scope="module", params=WAYS)
def painter(request: pytest.FixtureRequest, weights: Path) -> tuple[str, GpuPainter]:  # noqa: F811
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style_gpu, "KERNELS", request.param == "cuda")
        made = GpuPainter(weights, "cuda" if request.param.startswith("cuda") else "cpu")
    if request.param == "kernels":
        made._kernels = KernelNetwork(made._network, on_cpu("style_gpu"))
    assert (made._kernels is None) == (request.param in ("cpu", "cuda, without kernels"))
    return request.param, made


def held(one: Pixels, other: Pixels) -> float:
    assert one.shape == other.shape
    return psnr(one / np.float32(255), other / np.float32(255))


@pytest.mark.parametrize("size", [(200, 150), (67, 301), (8, 5), (1, 1)])
def test_a_painting_is_that_of_the_parts(
    engine: FastStyle,  # noqa: F811
    look: Look,
    painter: tuple[str, GpuPainter],
    size: tuple[int, int],
) -> None:
    device, gpu = painter
    photo = picture(*size)
    own = statistics(photo)
    asked = Asked(look.vector, look.colours)
    wanted = Painting(engine._networks, asked, seed=3).styled(photo, own, lambda done: None)
    for _ in range(2):
        assert held(gpu.styled(photo, own, look.vector, look.colours, 3), wanted) > EXACT[device]
    gpu.release()
    assert held(gpu.styled(photo, own, look.vector, look.colours, 3), wanted) > EXACT[device]


def test_a_large_photo_is_painted_twice(
    engine: FastStyle,  # noqa: F811
    look: Look,
    painter: tuple[str, GpuPainter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("minimoto.engines.style_painting.BROAD", 20_000)
    _, gpu = painter
    photo = picture(301, 223)
    asked = Asked(look.vector, look.colours)
    wanted = Painting(engine._networks, asked).styled(photo, statistics(photo), lambda done: None)
    parts = engine._networks
    told: list[float] = []
    with monkeypatch.context() as patch:
        patch.setitem(parts.__dict__, "gpu", gpu)
        got = Painting(parts, asked).styled(photo, statistics(photo), told.append)
    # The second painting exaggerates how the first one was rounded.
    assert held(got, wanted) > ENOUGH
    assert told[-1] == 1
    assert told == sorted(told)


def test_photos_go_to_the_gpu_as_a_whole(
    engine: FastStyle,  # noqa: F811
    look: Look,
    painter: tuple[str, GpuPainter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo = picture(120, 90)
    wanted = engine.apply(photo, look, FastOptions(colors="keep"))
    monkeypatch.setitem(engine._networks.__dict__, "gpu", painter[1])
    assert held(engine.apply(photo, look, FastOptions(colors="keep")), wanted) > EXACT[painter[0]] - 10
    monkeypatch.setattr(GpuPainter, "takes", lambda self, pixels: False)
    assert np.array_equal(engine.apply(photo, look, FastOptions(colors="keep")), wanted)


def test_kernels_are_tried_before_they_are_used(
    weights: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gpu = GpuPainter(weights, "cpu")
    monkeypatch.setattr(style_gpu.cuda_kernel, "kernels", lambda name, instead: on_cpu(name))
    with caplog.at_level(logging.INFO, "minimoto.runtime"):
        assert gpu._by_kernels(gpu._network) is not None
    assert "by kernels between convolutions" in caplog.text
    monkeypatch.setattr("minimoto.engines.style_gpu_kernels.EDGE", 14)
    assert gpu._by_kernels(gpu._network) is None
    assert "so torch's operations paint, more slowly" in caplog.text
    monkeypatch.setattr(style_gpu.cuda_kernel, "kernels", lambda name, instead: None)
    assert gpu._by_kernels(gpu._network) is None


def test_a_photo_goes_there_once(look: Look, painter: tuple[str, GpuPainter], monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, ...]] = []
    there = gpu_copies.there
    monkeypatch.setattr(gpu_copies, "there", lambda array, device: sent.append(array.shape) or there(array, device))
    _, gpu = painter
    photo, other = picture(60, 40), picture(50, 40)
    wanted = [gpu.styled(one, statistics(one), look.vector, look.colours, 0) for one in (photo, other)]
    sent.clear()
    for one, found in zip((photo, other), wanted, strict=True):
        own = gpu.statistics(one, kept=True)
        got = gpu.styled(one, own, look.vector, look.colours, 0)
        assert np.abs(got.astype(int) - found).max() <= 1
    assert len(sent) == 2
    gpu.statistics(photo, kept=True)
    assert np.array_equal(gpu.styled(other, statistics(other), look.vector, look.colours, 0), wanted[1])
    assert len(sent) == 4


@pytest.mark.parametrize("size", [(100, 80), (64, 64), (1, 1), (4099, 1)])
def test_colours_are_counted_as_on_the_cpu(painter: tuple[str, GpuPainter], size: tuple[int, int]) -> None:
    photo = picture(*size)
    got, wanted = painter[1].statistics(photo), statistics(photo)
    assert np.allclose(got.mean, wanted.mean, atol=1e-5)
    assert np.allclose(got.covariance, wanted.covariance, atol=1e-5)


def test_no_enlarged_features_are_needed() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(5, 3, 3, padding=1).requires_grad_(False)
    features = torch.randn(1, 5, 7, 9)
    enlarged = functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
    wanted, got = layer(enlarged), Doubling(layer)(features)
    assert got.shape == wanted.shape
    assert torch.allclose(got[:, :, 2:-2, 2:-2], wanted[:, :, 2:-2, 2:-2], atol=1e-5)


def test_features_are_moved_as_by_the_parts() -> None:
    torch.manual_seed(0)
    mixed = torch.randn(64, 8) @ torch.randn(8, 20 * 30) + 0.1 * torch.randn(64, 600)
    features, style = mixed.reshape(1, 64, 20, 30), torch.randn(1, 64, 16, 16)
    aim = moments(style.numpy())
    wanted = transport(moments(features.numpy()), aim)(features.numpy())
    covariance = torch.from_numpy(aim.covariance)
    spare = 0.03 * covariance.trace() / 64 + 1e-5
    values, axes = torch.linalg.eigh(covariance + spare * torch.eye(64))
    root = (axes * values.sqrt()) @ axes.T
    (got,) = moved([features], [(root, torch.from_numpy(aim.mean)[:, None])])
    assert np.abs(got.numpy() - wanted).max() < 1e-3


def test_roots_of_what_varies_two_hundred_times_as_much_one_way_as_another() -> None:
    torch.manual_seed(0)
    found = []
    for scale in (300.0, 0.01):
        axes, _ = torch.linalg.qr(torch.randn(128, 128, dtype=torch.float64))
        found.append((axes * torch.logspace(0, -4.6, 128, dtype=torch.float64) * scale) @ axes.T)
    matrices = torch.stack(found)
    inverses = inverse_roots(matrices)
    assert torch.allclose(inverses @ matrices @ inverses, torch.eye(128, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("size", [(100, 70), (33, 41), (1, 1)])
def test_photos_are_shrunk_as_by_opencv(size: tuple[int, int]) -> None:
    photo = picture(211, 97)
    wanted = cv2.resize(photo.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    got = area(torch.from_numpy(photo).permute(2, 0, 1)[None].float(), size)[0].permute(1, 2, 0).numpy()
    assert np.abs(got - wanted).max() < 1e-2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_more_sizes_than_graphs_are_kept(engine: FastStyle, look: Look, weights: Path) -> None:  # noqa: F811
    gpu = GpuPainter(weights)
    for side in (40, 50, 60, 70, 80, 90, 40):
        photo = picture(side, side)
        own = statistics(photo)
        wanted = Painting(engine._networks, Asked(look.vector, look.colours)).styled(photo, own, lambda done: None)
        assert held(gpu.styled(photo, own, look.vector, look.colours, 0), wanted) > ENOUGH
    gpu.release()
    assert held(gpu.styled(photo, own, look.vector, look.colours, 0), wanted) > ENOUGH


def test_half_precision_holds_what_the_network_sees_in_a_style(weights: Path) -> None:  # noqa: F811
    look = build_look(weights)
    style = torch.from_numpy(picture(256, 256)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        wanted = look(style)
        got = look.half()(style.half())
    for one, exact in zip(got, wanted, strict=True):
        assert psnr(one.float().numpy(), exact.numpy()) > ENOUGH


def test_a_graph_is_told_of_all_that_changes(
    engine: FastStyle,  # noqa: F811
    look: Look,
    painter: tuple[str, GpuPainter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device, gpu = painter
    if device.startswith("cuda"):
        pytest.skip("a graph is what other tests run there")
    other = engine.look([picture(300, 300, 9)])
    # Work that is done at each call is as a graph that is replayed.
    monkeypatch.setattr(style_gpu, "Captured", lambda work: work)
    one = picture(60, 40)
    two = 255 - one
    asked = [(one, look, 0), (two, look, 0), (two, other, 0), (two, other, 5), (one, look, 0)]
    replayed = None
    for photo, style, seed in asked:
        own, there = statistics(photo), torch.from_numpy(photo)
        with torch.inference_mode():
            wanted = gpu._wanted(own, style.vector, style.colours, (60, 40), seed)
            paint, given = (gpu._painted, wanted)
            if gpu._kernels is not None:
                paint, given = gpu._kernels.painted, gpu._kernels.prepared(wanted)
            replayed = replayed or style_gpu._Replayed(paint, there, given)
            assert torch.equal(replayed(there, given), paint(there, given))
