"""The network of the ``fast`` style as it runs on a GPU.

It computes what :class:`minimoto.engines.style_net.StyleNetwork` does, with fewer and smaller arrays in between.

A convolution behind a bilinear enlargement is one of four times the channels before it, whose results are then set side
by side: nothing is computed of the enlarged features, which are never made.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from minimoto.engines.style_net import (
    CODE,
    FAR,
    FEATURES,
    GRAIN,
    SPARE,
    Block,
    Decoder,
    Modulated,
    Trunk,
    build_decoder,
    build_encoder,
    build_trunk,
    enlarged,
)

EPSILON = 1e-5
"""That of :func:`torch.nn.functional.instance_norm`."""
LEAST = 1e-5
"""Added to the variances beside :data:`~minimoto.engines.style_net.SPARE` of their mean."""
_CLOSE = 1e-9
"""How near to 1 the roots' iteration comes."""
_APART = 400
"""Times the least deviation of a covariance that the root of its norm may be; that of widened ones is 70 at most."""
Rooted = tuple[Tensor, Tensor]
"""Root of a covariance ``(C, C)`` and mean ``(C, 1)``, float64."""


@dataclass(frozen=True)
class Wanted:
    """What a painting is made by, on the GPU.

    Parameters:
        code: ``(1, CODE)``.
        near, far: root of the covariance and mean of the style's features: ``(C, C)`` and ``(C, 1)``, float64.
        maps: the photo's colours to the wanted ones, and these to none: ``(2, 3, 4)``.
        palette: ``(3, 4)``.
        near_grain, far_grain: noise, ``(1, GRAIN, h, w)``.
        rows, columns: of the photo, that those of the photo with its mirrored edges are.
    """

    code: Tensor
    near: Rooted
    far: Rooted
    maps: Tensor
    palette: Tensor
    near_grain: Tensor
    far_grain: Tensor
    rows: Tensor
    columns: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        grains = self.near_grain, self.far_grain
        return self.code, *self.near, *self.far, self.maps, self.palette, *grains, self.rows, self.columns

    def copied(self) -> Wanted:
        """The same in memory of its own."""
        code, near, near_mean, far, far_mean, *others = (one.clone() for one in self.tensors())
        return Wanted(code, (near, near_mean), (far, far_mean), *others)


class GpuNetwork(nn.Module):
    """Encoder, transport, trunk and decoder in a row.

    Parameters:
        weights: the safetensors file.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.encoder = build_encoder(weights)
        self.trunk, decoder = cast(Trunk, build_trunk(weights)), cast(Decoder, build_decoder(weights))
        self.affine, self.refine = decoder.affine, decoder.refine
        self.up, self.out = Doubling(decoder.up), Doubling(decoder.out)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval().requires_grad_(False)
        self._type = torch.float32

    def halved(self) -> GpuNetwork:
        """The same with convolutions in half precision."""
        half = copy.deepcopy(self)
        for layer in half.modules():
            if isinstance(layer, nn.Conv2d):
                layer.half()
        half._type = torch.float16
        return half

    def example(self, side: int, chance: torch.Generator) -> tuple[Tensor | Rooted, ...]:
        """Arrays for a picture of ``side`` pixels a side, a multiple of 8."""
        device = self.affine.weight.device

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=chance).to(device)

        def rooted(channels: int) -> Rooted:
            return torch.eye(channels, device=device).double() / 2, normal(channels, 1).abs().double() / 2

        smooth = functional.interpolate(normal(1, 3, side // 8, side // 8), (side, side), mode="bicubic")
        grains = (normal(1, GRAIN, side // n, side // n) for n in (4, 8))
        return smooth + normal(1, 3, side, side) / 8, normal(1, CODE), rooted(FEATURES), rooted(FAR), *grains

    def forward(
        self, photo: Tensor, code: Tensor, near_aim: Rooted, far_aim: Rooted, near_grain: Tensor, far_grain: Tensor
    ) -> Tensor:
        """The plain photo ``(1, 3, H, W)``, to the painting without its colours, ``(H, W, 3)``.

        Eight pixels along its edges are not those of :class:`~minimoto.engines.style_net.Decoder`.
        """
        kind = self._type
        near, far = self.encoder(photo.to(kind).contiguous(memory_format=torch.channels_last))
        near, far = moved((near, far), (near_aim, far_aim))
        far = far + self.trunk.far_grain(far_grain.to(kind))
        for block in self.trunk.blocks:
            far = self._block(cast(Block, block), far, code)
        near = near + self.trunk.near_grain(near_grain.to(kind)) + self.trunk.up(enlarged(far))
        features = functional.relu(modulated(self.trunk.leave, self.trunk.join(near), code))
        half = functional.relu(self.up(features))
        scale, offset = (one.to(kind) for one in self.affine(code)[:, :, None, None].split(half.shape[1], 1))
        half = functional.relu(torch.addcmul(offset, self.refine(half), 1 + scale))
        return cast(Tensor, self.out(half)[0].permute(1, 2, 0))

    def _block(self, block: Block, features: Tensor, code: Tensor) -> Tensor:
        inner = functional.relu(modulated(block.after_first, block.first(features), code))
        return features + modulated(block.after_second, block.second(inner), code)


class Doubling(nn.Module):
    """A 3x3 convolution of features that were enlarged to twice their size, bilinear, without the enlarging.

    Parameters:
        layer: the convolution.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        outputs, inputs = layer.weight.shape[:2]
        # What a tap, -1, 0 or 1, of an even or an odd pixel reads of the three before enlarging.
        taps = torch.tensor([[[3, 1, 0], [1, 3, 0], [0, 3, 1]], [[1, 3, 0], [0, 3, 1], [0, 1, 3]]]) / 4
        phases = torch.einsum("oiyx,ayu,bxv->aboiuv", layer.weight.detach(), taps, taps)
        self.convolution = nn.Conv2d(inputs, 4 * outputs, 3, padding=1)
        self.convolution.weight = nn.Parameter(phases.reshape(4 * outputs, inputs, 3, 3), requires_grad=False)
        assert layer.bias is not None
        self.convolution.bias = nn.Parameter(layer.bias.detach().repeat(4), requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        """``(1, C, h, w)`` to ``(1, c, 2h, 2w)``."""
        found = self.convolution(features).permute(0, 2, 3, 1)
        _, height, width, channels = found.shape
        side_by_side = found.reshape(height, width, 2, 2, channels // 4).permute(0, 2, 1, 3, 4)
        enlarged_twice: Tensor = side_by_side.reshape(1, 2 * height, 2 * width, channels // 4)
        return enlarged_twice.permute(0, 3, 1, 2)


def modulated(layer: Modulated, features: Tensor, code: Tensor) -> Tensor:
    """``layer`` on the features of a whole picture; sums in float32."""
    scale, offset = layer.affine(code)[:, :, None, None].split(layer.channels, 1)
    variance, mean = torch.var_mean(features.float(), (2, 3), correction=0, keepdim=True)
    gain = (1 + scale) * torch.rsqrt(variance + EPSILON)
    return torch.addcmul((offset - mean * gain).to(features.dtype), features, gain.to(features.dtype))


def moved(features: Sequence[Tensor], aims: Sequence[Rooted]) -> list[Tensor]:
    """Features ``(1, C, h, w)``, each brought to its style's moments (:mod:`minimoto.engines.style_transport`)."""
    flats = [one.permute(0, 2, 3, 1).flatten(0, 2).float() for one in features]
    means = [flat.mean(0).double() for flat in flats]
    covariances = []
    for flat, mean in zip(flats, means, strict=True):
        centred = flat - mean.float()
        covariances.append(widened((centred.T @ centred).double() / len(flat)))
    most = max(map(len, covariances))
    inverses = inverse_roots(torch.stack([_filled(one, most) for one in covariances]))
    found = []
    for one, flat, mean, inverse, (root, wanted) in zip(features, flats, means, inverses, aims, strict=True):
        inverse = inverse[: len(root), : len(root)]
        change = root @ inverse
        offset = wanted[:, 0] - change @ mean
        height, width = one.shape[2:]
        placed = torch.addmm(offset.float(), flat, change.T.float()).to(one.dtype)
        found.append(placed.reshape(1, height, width, -1).permute(0, 3, 1, 2))
    return found


def _filled(matrix: Tensor, count: int) -> Tensor:
    """``matrix`` with as much more of its mean variance on the diagonal as makes it ``count`` rows long."""
    more = count - len(matrix)
    variance = matrix.diagonal().mean().expand(more)
    return functional.pad(matrix, (0, more, 0, more)) + functional.pad(variance, (len(matrix), 0)).diag()


def widened(covariance: Tensor) -> Tensor:
    """As :func:`minimoto.engines.style_transport.widened`."""
    one = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    spread = (covariance * one).sum() / len(covariance)
    return covariance + (SPARE * spread + LEAST) * one


def inverse_roots(matrices: Tensor) -> Tensor:
    """Of positive definite matrices ``(n, C, C)``, without a word to the host; all in one go, for it is the number of
    steps that takes a GPU its time.

    Source: Newton and Schulz's iteration (Higham 2008, section 6.7), its steps scaled as in Chen and Chow 2014, "A
    stable scaling of Newton-Schulz for improving the sign function computation of a Hermitian matrix", which takes ten
    rounds in place of 24.
    """
    size: Tensor = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True)
    one = torch.eye(matrices.shape[1], dtype=matrices.dtype, device=matrices.device).expand_as(matrices)
    root, inverse = matrices / size, one
    for linear, cubic in _SCALED:
        step = torch.baddbmm(one, inverse, root, beta=linear, alpha=-cubic)
        root, inverse = root @ step, step @ inverse
    return inverse / size.sqrt()


def _scaled(least: float) -> list[tuple[float, float]]:
    """Coefficients a and b of the rounds a x - b x^3 that bring all of ``least`` to 1 to 1."""
    rounds = []
    while 1 - least > _CLOSE:
        scale = math.sqrt(3 / (1 + least + least * least))
        rounds.append((1.5 * scale, 0.5 * scale**3))
        least = 0.5 * scale * least * (3 - (scale * least) ** 2)
    return rounds


_SCALED = _scaled(1 / _APART)
