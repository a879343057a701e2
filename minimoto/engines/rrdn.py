"""The residual-in-residual dense network of ESRGAN (Wang et al. 2018) as idealo/image-super-resolution trained it.

It departs from the paper in two things: its rectifiers do not leak, and the picture is made by one pixel shuffle of
four with a convolution after it.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from minimoto.engines.published import load_weights
from minimoto.engines.rdn import DenseBlock

BETA = 0.2
"""By which residuals are scaled (section 3.1)."""


class RRDN(nn.Module):
    """Photos to photos of four times the size: ``t`` blocks of ``d`` dense blocks of ``c`` convolutions."""

    def __init__(self, c: int, d: int, t: int, g: int = 32, g0: int = 32, factor: int = 4) -> None:
        super().__init__()
        self.factor = factor
        self.first = nn.Conv2d(3, g0, 3, padding=1)
        self.blocks = nn.ModuleList(nn.ModuleList(DenseBlock(g0, g, c, kernel=3) for _ in range(d)) for _ in range(t))
        self.post = nn.Conv2d(g0, g0, 3, padding=1)
        self.up = nn.Conv2d(g0, 3 * factor**2, 3, padding=1)
        self.last = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, photo: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, 4 H, 4 W)."""
        outer = features = self.first(photo)
        for block in self.blocks:
            inner = features
            assert isinstance(block, nn.ModuleList)
            for dense in block:
                inner = inner + BETA * dense(inner)
            features = features + BETA * inner
        shuffled = functional.pixel_shuffle(self.up(self.post(features) + outer), self.factor)
        enlarged: Tensor = self.last(shuffled)
        return enlarged


def build_gans(path: Path) -> nn.Module:
    """idealo's ``gans`` from its safetensors file."""
    return load_weights(lambda: RRDN(c=4, d=3, t=10), path)
