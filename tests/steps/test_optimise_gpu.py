"""Styling by optimisation as it is done on a GPU, held to torch; on the CPU, so far as there is no GPU."""

from __future__ import annotations

import logging

import pytest
import torch
from cuda_on_cpu import on_cpu
from torch import Tensor
from torch.nn import functional

from minimoto.engines import style_objective, style_whole, vgg_cuda
from minimoto.engines.runtime import Device
from minimoto.engines.style_losses import tv_loss
from minimoto.engines.style_objective import Objective
from minimoto.engines.style_optimise_settings import OptimiseOptions, Pooling
from minimoto.engines.style_scales import features_on
from minimoto.engines.vgg import Vgg, random_vgg
from minimoto.engines.vgg_cuda import CudaFeatures, Step, cuda_features
from minimoto.engines.vgg_torch import TorchFeatures

GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
CUDA = pytest.mark.parametrize("device", [pytest.param("cuda", marks=GPU)])
DEFAULT = OptimiseOptions()
LAYERS = tuple(sorted({*DEFAULT.content_layers, *DEFAULT.style_layers}))
SIZES = [(64, 64), (33, 50), (17, 129)]

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def vgg() -> Vgg:
    return random_vgg("vgg19", (16, 24, 32, 32, 32), seed=1)


def picture(height: int, width: int, seed: int) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 4, generator=chance) * 255 - 120
    smooth = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return (smooth[0].permute(1, 2, 0) + 4 * torch.randn(height, width, 3, generator=chance)).contiguous()


def with_kernels(vgg: Vgg, device: str = "cpu") -> CudaFeatures:
    """In bfloat16, poolings by kernels."""
    made = CudaFeatures(vgg, LAYERS, "max", device)
    if device == "cpu":
        made._kernels = on_cpu("vgg_cuda")
    assert made._kernels is not None
    return made


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (2, 31), (33, 2)])
def test_poolings_by_kernels_are_torchs(vgg: Vgg, device: str, size: tuple[int, int]) -> None:
    made = with_kernels(vgg, device)
    torch.manual_seed(0)
    # Few values, so that some of four are equal.
    x = torch.randint(-2, 3, (1, 24, *size)).relu().to(device, torch.bfloat16)
    x = x.contiguous(memory_format=torch.channels_last)
    found, places = made._pooled(x)
    assert places is None
    wanted, where = torch.ops.aten.max_pool2d_with_indices(x, [2, 2], [2, 2])
    assert torch.equal(found, wanted)
    gradient = torch.randn(wanted.shape).to(device, torch.bfloat16)
    back = torch.ops.aten.max_pool2d_with_indices_backward
    wanted = back(gradient, x, [2, 2], [2, 2], [0, 0], [1, 1], False, where) * (x > 0)
    assert torch.equal(made._unpooled(gradient, Step(x, None, x)), wanted)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_kernels_change_neither_loss_nor_gradient(vgg: Vgg, size: tuple[int, int], weight: float) -> None:
    photo, style, x = (picture(*size, seed) for seed in (1, 2, 3))
    options = OptimiseOptions(tv_weight=weight)
    plain = CudaFeatures(vgg, LAYERS, "max", "cpu")
    found = [Objective(way, vgg.until(LAYERS), photo, [style], options)(x) for way in (plain, with_kernels(vgg))]
    (wanted, exact), (got, near) = found
    assert got.content == wanted.content
    assert got.style == wanted.style
    assert got.tv == pytest.approx(wanted.tv, rel=1e-5)
    assert torch.allclose(near, exact, rtol=1e-4, atol=1e-4 * float(exact.abs().max()))


def test_total_variation_alone_is_minimised_too(vgg: Vgg) -> None:
    options = OptimiseOptions(content_weight=0, style_weight=0, tv_weight=2)
    photo, x = picture(20, 30, 1), picture(20, 30, 2)
    for way in (CudaFeatures(vgg, LAYERS, "max", "cpu"), with_kernels(vgg)):
        losses, gradient = Objective(way, vgg.until(LAYERS), photo, [photo], options)(x)
        leaf = x.clone().requires_grad_()
        loss = 2 * tv_loss(leaf)
        loss.backward()
        assert losses.total == pytest.approx(float(loss.detach()), rel=1e-5)
        assert leaf.grad is not None
        assert torch.allclose(gradient, leaf.grad, atol=1e-2)


def test_pixels_are_rounded_as_torch_rounds_them(vgg: Vgg) -> None:
    pixels = picture(9, 7, 1)
    wanted = CudaFeatures(vgg, LAYERS, "max", "cpu")._picture(pixels)
    assert torch.equal(with_kernels(vgg)._picture(pixels), wanted)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_features_are_tried_before_they_are_used(
    vgg: Vgg, device: str, pooling: Pooling, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.INFO, "minimoto.style"):
        assert isinstance(cuda_features(vgg, LAYERS, pooling, device), CudaFeatures)
    assert "written out in bfloat16" in caplog.text
    monkeypatch.setattr(CudaFeatures, "_convolved", lambda self, x, weight, bias: self._wrong(x, weight, bias))
    monkeypatch.setattr(
        CudaFeatures, "_wrong", lambda self, x, *layer: functional.conv2d(x, *layer, padding=1), raising=False
    )
    assert cuda_features(vgg, LAYERS, pooling, device) is None
    assert "autograd is used" in caplog.text
    monkeypatch.setattr(vgg_cuda, "USED", False)
    assert cuda_features(vgg, LAYERS, pooling, device) is None


def losses(way: str, vgg: Vgg, size: tuple[int, int], options: OptimiseOptions) -> tuple[list[float], Tensor]:
    """Those of a few pictures, and the last one's gradient."""
    kind = torch.float32 if way == "exact" else torch.bfloat16
    layers = sorted({*options.content_layers, *options.style_layers})
    if way == "exact":
        features: TorchFeatures | CudaFeatures = TorchFeatures(vgg, layers, options.pooling, "cuda", kind)
    else:
        features = CudaFeatures(vgg, layers, options.pooling, "cuda", kind)
    photo, style = (picture(*size, seed).cuda() for seed in (1, 2))
    objective = Objective(features, vgg.until(layers), photo, [style], options)
    assert (objective._whole is not None) == (way == "graph")
    seen = []
    for seed in (3, 4, 5):
        found, gradient = objective(picture(*size, seed).cuda())
        seen += [found.content, found.style, found.tv]
    return seen, gradient


@CUDA
@pytest.mark.parametrize("size", [(64, 64), (257, 190), (512, 512)])
@pytest.mark.parametrize("pooling", ["max", "avg"])
@pytest.mark.parametrize("way", ["graph", "strips"])
def test_a_gpu_counts_the_losses_that_float32_counts(
    monkeypatch: pytest.MonkeyPatch, device: str, size: tuple[int, int], pooling: Pooling, way: str
) -> None:
    monkeypatch.setattr(style_objective, "USED", way == "graph")
    vgg = random_vgg("vgg19")
    options = OptimiseOptions(pooling=pooling)
    (exact, wanted), (near, gradient) = (losses(one, vgg, size, options) for one in ("exact", way))
    assert near == pytest.approx(exact, rel=0.02)
    assert float(functional.cosine_similarity(gradient.flatten(), wanted.flatten(), dim=0)) > 0.98


@CUDA
def test_what_cannot_be_captured_is_done_one_by_one(
    vgg: Vgg, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, device: str
) -> None:
    photo, style, x = (picture(64, 64, seed).to(device) for seed in (1, 2, 3))
    features = CudaFeatures(vgg, LAYERS)
    wanted = Objective(features, vgg.until(LAYERS), photo, [style], DEFAULT)(x)

    def refuse(work: object, warm: int) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(style_whole, "Captured", refuse)
    found = Objective(features, vgg.until(LAYERS), photo, [style], DEFAULT)(x)
    assert "no CUDA graph" in caplog.text
    assert found[0].total == pytest.approx(wanted[0].total, rel=1e-3)


@CUDA
def test_a_gpu_uses_what_is_written_out(vgg: Vgg, device: str) -> None:
    used = vgg.until(LAYERS)
    assert isinstance(features_on(used, LAYERS, "max", Device("cuda", "", "torch", "fp16")), CudaFeatures)
    assert isinstance(features_on(used, LAYERS, "max", Device("cuda", "", "torch", "fp32")), TorchFeatures)
