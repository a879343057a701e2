"""The trunk of :mod:`minimoto.engines.style_net` in three pieces, for pictures that are too large for it as a whole.

Instance normalisation is an affine map once the mean and variance of the whole picture are known. At a quarter of the
photo's size, where the arrays are large, they are gathered tile by tile, so the pieces there work on tiles; only at an
eighth is the picture seen as a whole. The result is that of :class:`~minimoto.engines.style_net.Trunk`.
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


def modulated(layer: Modulated, features: Tensor, style: Tensor, statistics: Tensor) -> Tensor:
    """``layer`` on a tile, with the mean and variance of the whole picture, ``(2, C)``."""
    scale, offset = layer.affine(style)[:, :, None, None].split(layer.channels, 1)
    mean, variance = statistics[0][None, :, None, None], statistics[1][None, :, None, None]
    return cast(Tensor, (features - mean) * torch.rsqrt(variance + _EPSILON) * (1 + scale) + offset)


class TrunkDown(nn.Module):
    """A tile of features ``(1, C, h, w)``, style and statistics ``(2, C)`` to ``(1, C', h/2, w/2)``."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.enter, self.down = trunk.enter, trunk.down

    def forward(self, features: Tensor, style: Tensor, statistics: Tensor) -> Tensor:
        """The features at half the size, not yet normalised."""
        return cast(Tensor, self.down(functional.relu(modulated(self.enter, features, style, statistics))))


class TrunkFar(nn.Module):
    """What :class:`TrunkDown` gives, of the whole picture, and the style to styled features of the same shape."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.after_down, self.blocks = trunk.after_down, trunk.blocks

    def forward(self, far: Tensor, style: Tensor) -> Tensor:
        """The styled features at an eighth of the photo's size."""
        far = functional.relu(self.after_down(far, style))
        for block in self.blocks:
            far = block(far, style)
        return far


class TrunkUp(nn.Module):
    """Tiles of features and of what :class:`TrunkFar` gave to ``(1, C, h, w)``, before the last normalisation."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.enter, self.up, self.join = trunk.enter, trunk.up, trunk.join

    def forward(self, features: Tensor, far: Tensor, style: Tensor, statistics: Tensor) -> Tensor:
        """The joined features; their statistics are needed before :class:`TrunkLeave`."""
        near = functional.relu(modulated(self.enter, features, style, statistics))
        enlarged = functional.interpolate(far, scale_factor=2.0, mode="nearest")
        return cast(Tensor, self.join(near + self.up(enlarged)))


class TrunkLeave(nn.Module):
    """A tile of what :class:`TrunkUp` gave, style and statistics ``(2, C)`` to what the decoder takes."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.leave = trunk.leave

    def forward(self, joined: Tensor, style: Tensor, statistics: Tensor) -> Tensor:
        """The styled features."""
        return functional.relu(modulated(self.leave, joined, style, statistics))


def build_down(weights: Path) -> nn.Module:
    """:class:`TrunkDown` with the weights of the safetensors file ``weights``."""
    return TrunkDown(_trunk(weights)).eval()


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
