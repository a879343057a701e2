"""Losses and gradients of styling by optimisation, held to plain autograd and to the formulas written out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from minimoto.engines.style_losses import Pull, add_tv_gradient, blended, content_loss, gram, style_loss, tv_loss
from minimoto.engines.style_objective import Features, Objective, strips
from minimoto.engines.style_optimise_settings import OptimiseOptions, layer_names
from minimoto.engines.vgg import Vgg, random_vgg
from minimoto.engines.vgg_cuda import CudaFeatures
from minimoto.engines.vgg_torch import TorchFeatures
from minimoto.engines.vgg_winograd import WinogradFeatures, fits
from minimoto.engines.winograd import kernels, transformed

torch.set_num_threads(1)

WIDTHS = (16, 16, 32, 32, 48)
DEFAULT = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")


@pytest.fixture(scope="module")
def vgg() -> Vgg:
    return random_vgg("vgg19", WIDTHS, seed=1)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 4, generator=chance) * 255 - 120
    smooth = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return (smooth[0].permute(1, 2, 0) + 4 * torch.randn(height, width, 3, generator=chance)).contiguous()


def made(kind: str, vgg: Vgg, layers: tuple[str, ...], pooling: str = "max") -> Features:
    if kind == "torch":
        return TorchFeatures(vgg, layers, pooling)
    if kind == "written out":
        return CudaFeatures(vgg, layers, pooling, "cpu", torch.float32)
    compiled = kernels(2)
    if compiled is None:
        pytest.skip("there is no C compiler here")
    return WinogradFeatures(vgg, layers, pooling, compiled)


def reference_features(vgg: Vgg, pixels: Tensor, pooling: str = "max") -> dict[str, Tensor]:
    """The network in double precision, straight from its definition."""
    x, found = pixels.double().permute(2, 0, 1)[None], {}
    for layer in vgg.layers:
        if layer.pools:
            x = functional.max_pool2d(x, 2) if pooling == "max" else functional.avg_pool2d(x, 2)
        x = functional.conv2d(x, layer.weight.double(), layer.bias.double(), padding=1).relu()
        found[layer.name] = x
    return found


def reference_loss(
    vgg: Vgg, x: Tensor, photo: Tensor, styles: Mapping[float, Tensor], options: OptimiseOptions
) -> Tensor:
    """Equations 1, 4 and 7 of Gatys et al. 2016 with neural-style's normalisations, in double precision."""
    now, aim = reference_features(vgg, x, options.pooling), reference_features(vgg, photo, options.pooling)

    def normalised(features: Tensor) -> Tensor:
        flat = features.reshape(features.shape[1], -1)
        return flat @ flat.T / flat.numel()

    def target(name: str) -> Tensor:
        own = normalised(aim[name])
        grams = sum(
            share * normalised(reference_features(vgg, style, options.pooling)[name]) for share, style in styles.items()
        )
        return own + options.strength * (grams - own)

    loss = sum(((now[name] - aim[name]) ** 2).mean() for name in options.content_layers) * options.content_weight
    for name in options.style_layers:
        loss = loss + options.style_weight * ((normalised(now[name]) - target(name)) ** 2).mean()
    pixels = x.double()
    across, down = pixels[:, 1:] - pixels[:, :-1], pixels[1:] - pixels[:-1]
    return loss + options.tv_weight * ((across**2).sum() + (down**2).sum()) / 2


@pytest.mark.parametrize("kind", ["torch", "winograd", "written out"])
@pytest.mark.parametrize("pooling", ["max", "avg"])
@pytest.mark.parametrize("size", [(48, 48), (33, 50), (16, 19)])
@pytest.mark.parametrize("layers", [DEFAULT, ("relu1_2", "relu2_2", "relu3_4"), ("relu1_1",)], ids=len)
def test_features_and_their_gradients_are_those_of_autograd(
    vgg: Vgg, kind: str, pooling: str, size: tuple[int, int], layers: tuple[str, ...]
) -> None:
    features = made(kind, vgg, layers, pooling)
    pixels = picture(*size)
    leaf = pixels.clone().requires_grad_()
    expected = {name: found for name, found in reference_features(vgg, leaf, pooling).items() if name in layers}
    found = features.forward(pixels)
    assert sorted(found) == sorted(layers)
    chance = torch.Generator().manual_seed(3)
    directions = {name: torch.randn(one.shape, generator=chance) for name, one in found.items()}
    for name, one in found.items():
        right = expected[name][0].detach().permute(1, 2, 0)
        assert float((one - right).abs().max()) < 2e-4 * float(right.std())
    sum((expected[n][0].permute(1, 2, 0) * directions[n]).sum() for n in layers).backward()
    gradient = features.backward({name: found[name].copy_(directions[name]) for name in layers})
    assert leaf.grad is not None
    assert float((gradient - leaf.grad).norm()) < 2e-4 * float(leaf.grad.norm())


OPTIONS = [
    OptimiseOptions(),
    OptimiseOptions(pooling="avg", tv_weight=0, style_layers=("relu1_1", "relu4_2"), content_layers=("relu4_2",)),
    OptimiseOptions(strength=0.4, style_blend_weights=(3, 1), content_layers=("relu2_2", "relu3_1")),
    OptimiseOptions(style_weight=0),
    OptimiseOptions(content_weight=0, model="vgg19", style_layers=layer_names("vgg19")[:6]),
]


@pytest.mark.parametrize("kind", ["torch", "winograd", "written out"])
@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@pytest.mark.parametrize("pixels", [10**6, 60 * 64], ids=["whole", "strips"])
def test_the_objective_is_the_papers(vgg: Vgg, kind: str, options: OptimiseOptions, pixels: int) -> None:
    used = vgg.until([*options.content_layers, *options.style_layers])
    layers = tuple(sorted({*options.content_layers, *options.style_layers}))
    photo, x = picture(250, 40, 1), picture(250, 40, 2)
    styles = [picture(60, 70, 3), picture(41, 32, 4)] if options.style_blend_weights else [picture(60, 70, 3)]
    shares = (0.75, 0.25) if options.style_blend_weights else (1.0,)
    objective = Objective(made(kind, used, layers, options.pooling), used, photo, styles, options, pixels)
    losses, gradient = objective(x)
    leaf = x.clone().requires_grad_()
    expected = reference_loss(vgg, leaf, photo, dict(zip(shares, styles, strict=True)), options)
    expected.backward()
    assert losses.total == pytest.approx(float(expected.detach()), rel=1e-4)
    assert leaf.grad is not None
    # Where two pixels of a pooling are equal but for rounding, the gradient goes to either.
    near = 0.02 if options.pooling == "max" else 1e-3
    assert float((gradient - leaf.grad).norm()) < near * float(leaf.grad.norm())
    again = objective(x)
    assert again[0] == losses
    assert torch.equal(again[1], gradient)


@pytest.mark.parametrize("pixels", [10**6, 60 * 64], ids=["whole", "strips"])
def test_normalised_gradients_have_their_weights_as_l1_norms(vgg: Vgg, pixels: int) -> None:
    options = OptimiseOptions(
        normalize_gradients=True, tv_weight=0, style_layers=("relu1_1",), content_layers=("relu1_1",), content_weight=3
    )
    used = vgg.until(["relu1_1"])
    seen: list[float] = []

    class Watched(TorchFeatures):
        def backward(self, gradients: Mapping[str, Tensor]) -> Tensor:
            seen.append(float(gradients["relu1_1"].abs().sum()))
            return super().backward(gradients)

    photo, style, x = picture(250, 40, 1), picture(60, 70, 3), picture(250, 40, 2)
    for content, weight in ((3.0, 0.0), (0.0, 100.0)):
        seen.clear()
        one = OptimiseOptions(**{**vars(options), "content_weight": content, "style_weight": weight})
        Objective(Watched(used, ("relu1_1",)), used, photo, [style], one, pixels)(x)
        assert sum(seen) == pytest.approx(content + weight, rel=1e-4)


def test_bfloat16_stays_near_float32(vgg: Vgg) -> None:
    photo, style, x = picture(64, 64, 1), picture(64, 64, 3), picture(64, 64, 2)
    results = []
    for precision in (torch.float32, torch.bfloat16):
        features = TorchFeatures(vgg, DEFAULT, precision=precision)
        results.append(Objective(features, vgg.until(DEFAULT), photo, [style], OptimiseOptions())(x))
    (exact, gradient), (rounded, near) = results
    assert rounded.content == pytest.approx(exact.content, rel=0.02)
    assert rounded.style == pytest.approx(exact.style, rel=0.02)
    cosine = functional.cosine_similarity(gradient.flatten(), near.flatten(), dim=0)
    assert float(cosine) > 0.95


@pytest.mark.parametrize(("height", "width", "channels"), [(90, 60, 16), (33, 31, 48), (1, 1, 64), (9, 7, 272)])
@pytest.mark.parametrize(("style", "content"), [(1.0, 0.3), (1.0, 0.0), (0.0, 0.3)])
def test_a_pull_is_the_same_written_over_its_features(
    vgg: Vgg, height: int, width: int, channels: int, style: float, content: float
) -> None:
    chance = torch.Generator().manual_seed(0)
    features, target = (torch.randn(height, width, channels, generator=chance) for _ in range(2))
    matrix = torch.randn(channels, channels, generator=chance)
    matrix = style * (matrix + matrix.T)
    pull = Pull(matrix if style else None, content)
    expected = features @ matrix + content * (features - target)
    kept = pull.gradient(features, target, torch.empty_like(features))
    assert torch.allclose(kept, expected, atol=1e-3)
    over = pull.gradient(features, target, features, made("winograd", vgg, DEFAULT).product)
    assert over.data_ptr() == features.data_ptr()
    assert torch.allclose(over, expected, atol=1e-3)


def test_small_losses_by_hand() -> None:
    features = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert gram(features).tolist() == [[10.0, 14.0], [14.0, 20.0]]
    assert float(content_loss(features, torch.zeros(1, 2, 2))) == 7.5
    assert float(style_loss(torch.eye(2), torch.zeros(2, 2))) == 0.5
    assert blended([torch.zeros(1, 1), torch.ones(1, 1)], (1, 3)).item() == 0.75
    assert float(tv_loss(torch.tensor([[[0.0], [1.0]], [[3.0], [0.0]]]))) == (1 + 9 + 9 + 1) / 2


def test_the_gradient_of_total_variation() -> None:
    leaf = picture(7, 9).requires_grad_()
    (2.5 * tv_loss(leaf)).backward()
    found = torch.zeros(7, 9, 3)
    add_tv_gradient(found, leaf.detach(), 2.5)
    assert leaf.grad is not None
    assert torch.allclose(found, leaf.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("height", [16, 17, 200, 511, 512, 1000, 1003])
@pytest.mark.parametrize("pixels", [1, 3000, 30_000, 10**9])
def test_strips_cover_every_row_once_and_read_enough(vgg: Vgg, height: int, pixels: int) -> None:
    used = vgg.until(["relu5_1"])
    found = strips(height, 50, used, pixels)
    assert [row for strip in found for row in range(strip.top, strip.bottom)] == list(range(height))
    for strip in found:
        assert strip.top % used.stride == strip.read_top % used.stride == 0
        assert strip.read_top == 0 or strip.top - strip.read_top >= used.radius
        assert strip.read_bottom == height or strip.read_bottom - strip.bottom >= used.radius
        assert strip.read_bottom - strip.read_top >= min(height, used.stride)


def test_the_radius_is_how_far_a_pixel_is_seen(vgg: Vgg) -> None:
    used = vgg.until(["relu4_2"])
    pixels = torch.randn(1, 401, 3, generator=torch.Generator().manual_seed(0)).expand(64, -1, -1).contiguous()
    features = TorchFeatures(used, ["relu4_2"])
    before = features.forward(pixels, gradient=False)["relu4_2"]
    pixels[:, 200] += 1e4
    changed = (features.forward(pixels, gradient=False)["relu4_2"] != before).any(-1).any(0).nonzero().flatten() * 8
    assert max(abs(int(place) - 200) for place in changed) <= used.radius


def test_the_transform_of_a_delta_is_known() -> None:
    weight = torch.zeros(16, 1, 3, 3)
    weight[:, 0, 2, 2] = 1.0
    found = transformed(weight)[:, 0, 0, 0].view(8, 8)
    column = torch.tensor([0, -2 / 9, -2 / 9, 4 / 90, 4 / 90, 1 / 90, 1 / 90, 1])
    assert torch.allclose(found, torch.outer(column, column))


def test_a_turned_kernel_has_its_transforms_rows_and_columns_exchanged() -> None:
    weight = torch.randn(16, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    inverse = torch.tensor([7, 1, 2, 5, 6, 3, 4, 0])
    found = transformed(weight).view(8, 8, 16, 16)[inverse][:, inverse]
    turned = transformed(weight.flip(2, 3).transpose(0, 1)).view(8, 8, 16, 16)
    assert torch.allclose(found.transpose(2, 3), turned, atol=1e-6)


def test_wide_layers_are_those_of_autograd_too() -> None:
    wide = random_vgg("vgg16", (16, 16, 272, 272, 272), seed=2)
    layers = ("relu3_3", "relu4_1")
    features = made("winograd", wide, layers)
    pixels = picture(40, 34)
    leaf = pixels.clone().requires_grad_()
    expected = reference_features(wide.until(layers), leaf)
    found = features.forward(pixels)
    directions = {
        name: torch.randn(one.shape, generator=torch.Generator().manual_seed(3)) for name, one in found.items()
    }
    total = torch.stack([(expected[n][0].permute(1, 2, 0) * directions[n]).sum() for n in layers]).sum()
    torch.autograd.backward(total)
    gradient = features.backward({name: found[name].copy_(directions[name]) for name in layers})
    assert leaf.grad is not None
    assert float((gradient - leaf.grad).norm()) < 2e-4 * float(leaf.grad.norm())


@pytest.mark.parametrize(("size", "channels"), [((1, 1), 16), ((7, 5), 64), ((90, 77), 48), ((33, 40), 512)])
def test_gram_matrices_are_those_of_a_plain_product(vgg: Vgg, size: tuple[int, int], channels: int) -> None:
    features = torch.randn(*size, channels, generator=torch.Generator().manual_seed(4)).relu_()
    found = made("winograd", vgg, DEFAULT).gram(features)
    exact = gram(features.double())
    assert torch.equal(found, found.T)
    assert torch.allclose(found.double(), exact, rtol=1e-4, atol=1e-5 * float(exact.max()))


def test_kernels_need_channels_in_sixteens() -> None:
    assert fits(random_vgg("vgg16", WIDTHS))
    assert not fits(random_vgg("vgg16", (16, 16, 24, 32, 32)))


def test_the_pixels_scale_leaves_features_255_times_as_large(vgg: Vgg) -> None:
    from minimoto.engines.vgg import DEVIATION, MEAN, from_parts, to_pixels

    parts = [(layer.weight, layer.bias) for layer in vgg.layers]
    scaled = from_parts(parts, "vgg19")
    rgb = np.random.default_rng(0).random((32, 32, 3), np.float32)
    found = reference_features(scaled, to_pixels(rgb))["relu3_2"]
    x = ((torch.from_numpy(rgb).double() - torch.tensor(MEAN)) / torch.tensor(DEVIATION)).permute(2, 0, 1)[None]
    for layer, (weight, bias) in zip(scaled.layers, parts, strict=True):
        x = functional.max_pool2d(x, 2) if layer.pools else x
        x = functional.conv2d(x, weight.double(), bias.double(), padding=1).relu()
        if layer.name == "relu3_2":
            break
    assert torch.allclose(found, x * 255, rtol=1e-4, atol=1e-3 * float(found.abs().max()))
