"""The residual dense network of Zhang et al. 2018 as idealo/image-super-resolution trained it.

It departs from the paper in its last part: three convolutions as in ESPCN, then each of their twelve channels is
repeated to twice the size (not shuffled), and a last convolution makes colours of them. Letters as in the paper,
section 3: D blocks of C convolutions with G channels each.

Networks here take and give ``(N, 3, H, W)``, RGB, 0..1, float32; what they give is not clipped.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from minimoto.engines.published import load_weights


class DenseBlock(nn.Module):
    """Convolutions that each see all before them, fused by one more (section 3.2); nothing is added to it yet."""

    def __init__(self, channels: int, growth: int, count: int, kernel: int) -> None:
        super().__init__()
        self.dense = nn.ModuleList(
            nn.Conv2d(channels + number * growth, growth, 3, padding=1) for number in range(count)
        )
        self.fuse = nn.Conv2d(channels + count * growth, channels, kernel, padding=kernel // 2)

    def forward(self, features: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        for convolution in self.dense:
            features = torch.cat((features, functional.relu(convolution(features))), 1)
        fused: Tensor = self.fuse(features)
        return fused


class RDN(nn.Module):
    """Photos to photos of twice the size."""

    def __init__(self, c: int, d: int, g: int = 64, g0: int = 64, factor: int = 2) -> None:
        super().__init__()
        channels = 3 * factor**2
        self.factor = factor
        self.shallow = nn.ModuleList((nn.Conv2d(3, g0, 3, padding=1), nn.Conv2d(g0, g0, 3, padding=1)))
        self.blocks = nn.ModuleList(DenseBlock(g0, g, c, kernel=1) for _ in range(d))
        self.fuse = nn.ModuleList((nn.Conv2d(d * g0, g0, 1), nn.Conv2d(g0, g0, 3, padding=1)))
        self.up = nn.ModuleList(
            (
                nn.Conv2d(g0, 64, 5, padding=2),
                nn.Conv2d(64, 32, 3, padding=1),
                nn.Conv2d(32, channels, 3, padding=1),
            )
        )
        self.last = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, photo: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, 2 H, 2 W)."""
        outer = self.shallow[0](photo)
        features = self.shallow[1](outer)
        found = []
        for block in self.blocks:
            features = block(features) + features
            found.append(features)
        features = self.fuse[1](self.fuse[0](torch.cat(found, 1))) + outer
        features = self.up[2](functional.relu(self.up[1](functional.relu(self.up[0](features)))))
        enlarged: Tensor = self.last(functional.interpolate(features, scale_factor=float(self.factor), mode="nearest"))
        return enlarged


def build_psnr_small(path: Path) -> nn.Module:
    """idealo's ``psnr-small`` from its safetensors file."""
    return load_weights(lambda: RDN(c=3, d=10), path)


def build_psnr_large(path: Path) -> nn.Module:
    """idealo's ``psnr-large`` from its safetensors file."""
    return load_weights(lambda: RDN(c=6, d=20), path)


build_noise_cancel = build_psnr_large
"""idealo's ``noise-cancel``: the same network, trained on JPEG artefacts."""
