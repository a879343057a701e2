"""The networks that ``fast`` is compared with, in torch, as their papers describe them, with random weights.

Time and memory do not depend on the weights. Pixels ``(H, W, 3)`` uint8 go in and come out, as with ours; what depends
on the style alone is computed beforehand.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Pixels = NDArray[np.uint8]


class Convolution(nn.Sequential):
    """Reflection padding and a convolution."""

    def __init__(self, given: int, made: int, size: int, stride: int = 1) -> None:
        super().__init__(nn.ReflectionPad2d(size // 2), nn.Conv2d(given, made, size, stride))


class Residual(nn.Module):
    """Johnson's residual block, with instance normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Convolution(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(),
            Convolution(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        """``features`` changed by the block."""
        changed: Tensor = features + self.layers(features)
        return changed


def johnson() -> nn.Module:
    """The transformer network of Johnson et al. (2016, supplement), with instance normalisation (Ulyanov et al. 2016)
    and nearest-neighbour enlargement in place of transposed convolutions, as in PyTorch's examples."""
    down = [(3, 32, 9, 1), (32, 64, 3, 2), (64, 128, 3, 2)]
    layers: list[nn.Module] = []
    for given, made, size, stride in down:
        layers += [Convolution(given, made, size, stride), nn.InstanceNorm2d(made, affine=True), nn.ReLU()]
    layers += [Residual(128) for _ in range(5)]
    for given, made in ((128, 64), (64, 32)):
        layers += [nn.Upsample(scale_factor=2), Convolution(given, made, 3)]
        layers += [nn.InstanceNorm2d(made, affine=True), nn.ReLU()]
    return nn.Sequential(*layers, Convolution(32, 3, 9)).eval()


VGG19 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, 256, "pool", 512)
"""To relu4_1."""


class AdaIn(nn.Module):
    """Huang and Belongie (2017): VGG19 to relu4_1, adaptive instance normalisation, and the encoder mirrored."""

    def __init__(self) -> None:
        super().__init__()
        encoder: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
        given = 3
        for layer in VGG19:
            if isinstance(layer, int):
                encoder += [Convolution(given, layer, 3), nn.ReLU()]
                given = layer
            else:
                encoder.append(nn.MaxPool2d(2, ceil_mode=True))
        decoder: list[nn.Module] = []
        mirrored = [*reversed([layer for layer in VGG19 if layer != 512])]
        for layer in (*mirrored, 3):
            if isinstance(layer, int):
                decoder += [Convolution(given, layer, 3), nn.ReLU()]
                given = layer
            else:
                decoder.append(nn.Upsample(scale_factor=2))
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder[:-1])
        self.mean, self.deviation = nn.Buffer(torch.zeros(1, 512, 1, 1)), nn.Buffer(torch.ones(1, 512, 1, 1))

    def forward(self, photo: Tensor) -> Tensor:
        """The photo with the style's mean and deviation in each channel of relu4_1."""
        features = functional.instance_norm(self.encoder(photo)) * self.deviation + self.mean
        out: Tensor = self.decoder(features)
        return out


def runner(build: Callable[[], nn.Module], threads: int, device: str = "cpu") -> Callable[[Pixels], Pixels]:
    """The network in eager float32, from pixels to pixels."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    module = build().eval().to(device)

    def run(photo: Pixels) -> Pixels:
        with torch.inference_mode():
            given = torch.from_numpy(photo).to(device).permute(2, 0, 1)[None].float().div(255)
            made = module(given)[0].mul(255).clamp(0, 255).permute(1, 2, 0).to(torch.uint8)
        return np.asarray(made.contiguous().cpu().numpy(), np.uint8)

    return run
