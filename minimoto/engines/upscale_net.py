"""The compact network that says what bicubic enlargement of luma misses, by 2, 3 or 4, and how its weights are read.

A plain stack of 3x3 convolutions at the resolution of the input, a sub-pixel shuffle at the end (ESPCN, Shi et al.
2016) and a linear 5x5 path beside it. The enlarged luma is the sum of what it says and of OpenCV's bicubic enlargement,
which is the caller's to add: as a small difference, its rounding in bfloat16 does not show. While it is trained, each
kernel is the sum of several smaller ones (ECBSR, Zhang et al. 2021), summed as weights rather than as pictures; what is
shipped is one kernel a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from minimoto.engines.published import load_weights
from minimoto.engines.upscale_settings import COMPACT_LAYERS

CHANNELS = 48
LINEAR_TAPS = 5


class UpscaleNet(nn.Module):
    """Luma ``(N, 1, h, w)``, 0..1, float32, to what is to be added to ``(N, 1, factor * h, factor * w)`` of bicubic.

    Parameters:
        factor: 2, 3 or 4.
        layers: convolutions between the first and the last; ``None``: as many as the shipped ones have.
    """

    def __init__(self, factor: int, channels: int = CHANNELS, layers: int | None = None) -> None:
        super().__init__()
        layers = COMPACT_LAYERS[factor] if layers is None else layers
        self.linear = nn.Conv2d(1, factor * factor, LINEAR_TAPS, padding=LINEAR_TAPS // 2, padding_mode="replicate")
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(layers))
        self.head = nn.Conv2d(channels, factor * factor, 3, padding=1)
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, luma: Tensor) -> Tensor:
        """What bicubic enlargement misses."""
        features = torch.relu(self.first(luma))
        for layer in self.body:
            features = torch.relu(layer(features))
        missed: Tensor = self.shuffle(self.head(features) + self.linear(luma))
        return missed


def build_upscale(factor: int) -> Callable[[Path], nn.Module]:
    """What builds the network of ``factor`` from a safetensors file.

    Raises:
        ModelMissing: (from what is returned) the file is another network's.
    """

    def build(path: Path) -> nn.Module:
        def make() -> nn.Module:
            shapes = {name: value.shape for name, value in load_file(path).items()}
            layers = sum(name.startswith("body.") and name.endswith(".weight") for name in shapes)
            return UpscaleNet(factor, shapes["first.weight"][0], layers)

        return load_weights(make, path)

    return build
