"""The compact network of ``upscale`` as it runs on a GPU: by our kernels at both ends, else by torch's operations.

Convolutions in between are cuDNN's, with bias and ReLU in the same pass. Their channels are filled up with zeros to a
multiple of :data:`FULL`: matrix units take 48 channels two and a half times as long as 64.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from minimoto.engines import cuda_kernel
from minimoto.engines.upscale import LUMA
from minimoto.engines.upscale_net import LINEAR_TAPS, UpscaleNet

FULL = 64
"""What channels are multiples of in half precision on a GPU."""
FUSED = True
"""Whether bias and ReLU are part of cuDNN's convolutions."""
_HEAD = 4
"""What the channels behind the last convolution are multiples of."""
_ROWS, _COLUMNS = 16, 32
"""Rows that a thread of the kernel ``first`` does, and columns of its blocks."""
_TILE = 32, 8
"""Columns and rows of the blocks of the kernel ``tail``."""
_A = -0.75
"""The parameter of the cubic kernel (Keys 1981), OpenCV's and torch's."""


class Way(Protocol):
    """A way of enlarging a photo that lies on the device."""

    def __call__(self, photo: Tensor) -> Tensor:
        """``(h, w, 3)`` or ``(h, w)``, uint8 or uint16, to the same ``factor`` times as large."""

    def missed(self, photo: Tensor) -> Tensor:
        """What the network's last convolution says of it: ``(1, factor * factor, h, w)``."""


class Layers:
    """The convolutions on a device, from the features behind the first one to those of the last.

    Parameters:
        network: with float32 weights.
        kind: float32 or, on a GPU, float16.
    """

    def __init__(self, network: UpscaleNet, factor: int, device: torch.device, kind: torch.dtype) -> None:
        self.factor, self.device, self.kind = factor, device, kind
        full = FULL if kind == torch.float16 else 1
        channels = network.first.weight.shape[0]
        self.width = _multiple(channels, full)
        phases = factor * factor
        self._body = [
            self._filled(layer.weight, layer.bias, self.width) for layer in cast(Iterable[nn.Conv2d], network.body)
        ]
        ends = _multiple(phases, _HEAD if kind == torch.float16 else 1)
        self._head = self._filled(network.head.weight, network.head.bias, ends)
        self.first = self._filled(network.first.weight, network.first.bias, self.width, inputs=1)
        bias = cast(Tensor, network.linear.bias)
        self.linear = network.linear.weight.to(device), bias.to(device)

    def _filled(
        self, weight: Tensor, bias: Tensor | None, outputs: int, inputs: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Weight and bias with zeros for the channels that are filled up."""
        assert bias is not None
        missing = outputs - weight.shape[0], (inputs or self.width) - weight.shape[1]
        filled = functional.pad(weight, (0, 0, 0, 0, 0, missing[1], 0, missing[0])).to(self.device, self.kind)
        placed = filled.contiguous(memory_format=torch.channels_last)
        return placed, functional.pad(bias, (0, missing[0])).to(self.device, self.kind)

    def __call__(self, features: Tensor) -> Tensor:
        """``(1, width, h, w)`` to ``(1, c, h, w)``, of whose channels the first ``factor * factor`` count."""
        for weight, bias in self._body:
            features = convolved(features, weight, bias)
        return functional.conv2d(features, *self._head, padding=1)


def convolved(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3x3 convolution, zero outside, and its ReLU; ``features`` ``(1, C, h, w)``, channels last."""
    if FUSED and features.is_cuda:
        return torch.cudnn_convolution_relu(features, weight, bias, (1, 1), (1, 1), (1, 1), 1)
    return functional.conv2d(features, weight, bias, padding=1).relu_()


class ByTorch:
    """By torch's operations, on any device."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._luma = torch.from_numpy(LUMA).to(layers.device)
        self._linear = layers.linear[0].to(layers.kind), layers.linear[1].to(layers.kind)

    def __call__(self, photo: Tensor) -> Tensor:
        """See :class:`Way`."""
        white, factor = float(torch.iinfo(photo.dtype).max), self._layers.factor
        planes, luma = self._planes(photo)
        # Repeated edges of channels-last memory come out as planes.
        around = functional.pad(luma, (LINEAR_TAPS // 2,) * 4, mode="replicate")
        linear = functional.conv2d(around.contiguous(memory_format=torch.channels_last), *self._linear)
        missed = functional.pixel_shuffle(self._said(luma) + linear, factor).float()
        size = [side * factor for side in planes.shape[2:]]
        # OpenCV's INTER_CUBIC. The same amount added to R, G and B changes luma alone.
        found = functional.interpolate(planes, size, mode="bicubic", align_corners=False).add_(missed)
        stored = found[0].mul_(white).round_().clamp_(0, white).to(torch.int32).to(photo.dtype)
        return (stored[0] if photo.ndim == 2 else stored.permute(1, 2, 0)).contiguous()

    def missed(self, photo: Tensor) -> Tensor:
        """See :class:`Way`."""
        return self._said(self._planes(photo)[1])

    def _planes(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """``(1, c, h, w)``, 0..1, float32, and their luma ``(1, 1, h, w)`` as the layers take it."""
        white = float(torch.iinfo(photo.dtype).max)
        planes = (photo[None] if photo.ndim == 2 else photo.permute(2, 0, 1))[None].float() / white
        luma = planes if planes.shape[1] == 1 else torch.einsum("c,nchw->nhw", self._luma, planes)[:, None]
        return planes, luma.to(self._layers.kind).contiguous(memory_format=torch.channels_last)

    def _said(self, luma: Tensor) -> Tensor:
        features = convolved(luma, *self._layers.first)
        return self._layers(features)[:, : self._layers.factor**2]


class ByKernels:
    """By our kernels at both ends, in half precision on a GPU.

    Parameters:
        kernels: of ``upscale_gpu.cu``, for photos of the kind that this is called with.
    """

    def __init__(self, layers: Layers, kernels: cuda_kernel.Kernels) -> None:
        self._layers, self._kernels = layers, kernels
        weight, bias = (one.float() for one in layers.first)
        self._first = torch.cat([weight.reshape(layers.width, 9).T, bias[None]]).contiguous()
        weight, bias = layers.linear
        self._linear = torch.cat([weight.reshape(-1), bias]).contiguous()
        self._cubic = torch.from_numpy(cubic_taps(layers.factor)).to(layers.device)

    def __call__(self, photo: Tensor) -> Tensor:
        """See :class:`Way`."""
        height, width = photo.shape[:2]
        missed = self._said(photo)
        factor = self._layers.factor
        shape = height * factor, width * factor, *photo.shape[2:]
        found = torch.empty(shape, dtype=photo.dtype, device=photo.device)
        grid = cuda_kernel.blocks(width, _TILE[0]), cuda_kernel.blocks(height, _TILE[1]), 1
        given = photo, missed, self._linear, self._cubic, found, height, width
        self._kernels.launch("tail", grid, (*_TILE, 1), *given)
        return found

    def missed(self, photo: Tensor) -> Tensor:
        """See :class:`Way`."""
        return self._said(photo)[:, : self._layers.factor**2]

    def _said(self, photo: Tensor) -> Tensor:
        height, width = photo.shape[:2]
        features = torch.empty(1, height, width, self._layers.width, dtype=torch.float16, device=photo.device)
        grid = cuda_kernel.blocks(width, _COLUMNS), cuda_kernel.blocks(height, _ROWS), 1
        block = self._layers.width // 8, _COLUMNS, 1
        self._kernels.launch("first", grid, block, photo, self._first, features, height, width)
        return self._layers(features.permute(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)


def macros(layers: Layers, photo: Tensor) -> dict[str, int]:
    """Those that ``upscale_gpu.cu`` is compiled with for such a photo."""
    return {
        "FACTOR": layers.factor,
        "CHANNELS": 1 if photo.ndim == 2 else 3,
        "WIDTH": layers.width,
        "WHITE": torch.iinfo(photo.dtype).max,
        "MISSED": _multiple(layers.factor**2, _HEAD),
    }


def cubic_taps(factor: int) -> NDArray[np.float32]:
    """Of each of ``factor`` pixels side by side, how much of the five pixels around theirs it has: ``(factor, 5)``."""
    centres = (np.arange(factor) + 0.5) / factor - 0.5
    away = np.abs(centres[:, None] - np.arange(-2, 3))
    near = ((_A + 2) * away - (_A + 3)) * away**2 + 1
    far = ((_A * away - 5 * _A) * away + 8 * _A) * away - 4 * _A
    return np.asarray(np.where(away <= 1, near, np.where(away < 2, far, 0)), np.float32)


def _multiple(count: int, of: int) -> int:
    return -(-count // of) * of
