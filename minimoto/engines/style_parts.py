"""The trunk of :mod:`minimoto.engines.style_net` in three pieces, for pictures that are too large for it as a whole.

Mean and variance of the whole picture are all that its last normalisation needs. At a quarter of the size, where the
arrays are large, they are gathered tile by tile, so the pieces there work on tiles; only at an eighth is the picture
seen as a whole. The result is that of :class:`~minimoto.engines.style_net.Trunk`.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from minimoto.engines.style_net import Modulated, Trunk, build_trunk

_EPSILON = 1e-5
"""That of :func:`torch.nn.functional.instance_norm`."""


def modulated(layer: Modulated, features: Tensor, code: Tensor, statistics: Tensor) -> Tensor:
    """``layer`` on a tile, with the mean and variance of the whole picture, ``(2, C)``."""
    scale, offset = layer.affine(code)[:, :, None, None].split(layer.channels, 1)
    mean, variance = statistics[0][None, :, None, None], statistics[1][None, :, None, None]
    return cast(Tensor, (features - mean) * torch.rsqrt(variance + _EPSILON) * (1 + scale) + offset)


class TrunkFar(nn.Module):
    """Features at an eighth of the whole picture ``(1, C, H/8, W/8)`` and the code to painted ones, same shape."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, far: Tensor, code: Tensor, grain: Tensor) -> Tensor:
        """The painted features."""
        return self.trunk.painted(far, code, grain)


class TrunkUp(nn.Module):
    """Tiles of features and of what :class:`TrunkFar` gave to ``(1, C, h, w)``, before the last normalisation."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, near: Tensor, far: Tensor, grain: Tensor) -> Tensor:
        """The joined features."""
        return self.trunk.joined(near, far, grain)


class TrunkLeave(nn.Module):
    """A tile of what :class:`TrunkUp` gave, the code and statistics ``(2, C)`` to what the decoder takes."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.leave = trunk.leave

    def forward(self, joined: Tensor, code: Tensor, statistics: Tensor) -> Tensor:
        """The styled features."""
        return functional.relu(modulated(self.leave, joined, code, statistics))


def build_far(weights: Path) -> nn.Module:
    """:class:`TrunkFar` with the weights of the safetensors file ``weights``."""
    return TrunkFar(_trunk(weights)).eval()


def build_up(weights: Path) -> nn.Module:
    """:class:`TrunkUp` with the weights of the safetensors file ``weights``."""
    return TrunkUp(_trunk(weights)).eval()


def build_leave(weights: Path) -> nn.Module:
    """:class:`TrunkLeave` with the weights of the safetensors file ``weights``."""
    return TrunkLeave(_trunk(weights)).eval()


def _trunk(weights: Path) -> Trunk:
    return cast(Trunk, build_trunk(weights))
