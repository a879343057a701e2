"""Small networks of the kinds of layers that the engines use, for the tests of the runtime and its processes."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional


class Every(nn.Module):
    """Of each kind of layer one."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 16, 3, padding=1, padding_mode="reflect")
        self.norm = nn.InstanceNorm2d(16, affine=True)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.prelu = nn.PReLU(16)
        self.down = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.leave = nn.Conv2d(16, 12, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, photo: Tensor) -> Tensor:
        features = self.prelu(self.depthwise(torch.relu(self.norm(self.enter(photo)))))
        features = features + self.up(self.down(features))
        larger = functional.interpolate(photo, scale_factor=2.0, mode="bilinear", align_corners=False)
        return larger + self.shuffle(self.leave(features))


class Joined(nn.Module):
    """Two inputs of sizes that depend on each other, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 12)

    def forward(self, features: Tensor, photo: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
        scale = self.mix(vector)[:, :, None, None]
        return photo + functional.pixel_shuffle(features * scale, 2), scale


class Untraceable(nn.Module):
    """What is traced is not what it computes: the path depends on the values."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, photo: Tensor) -> Tensor:
        self.calls += 1
        return self.conv(photo) * self.calls


class Rough(nn.Module):
    """Differences of large numbers: half precision leaves nothing of them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, photo: Tensor) -> Tensor:
        return (self.conv(photo) + 4096.0) - 4096.0


def build_every(weights: Path) -> nn.Module:
    return _filled(Every(), weights)


def build_joined(weights: Path) -> nn.Module:
    return _filled(Joined(), weights)


def build_untraceable(weights: Path) -> nn.Module:
    return _filled(Untraceable(), weights)


def build_rough(weights: Path) -> nn.Module:
    return _filled(Rough(), weights)


def build_numbered(number: int):
    assert number == 3
    return build_every


def save(kind: type[nn.Module], file: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Random weights, always the same ones, of a network."""
    torch.manual_seed(5)
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in kind().state_dict().items()}, file)
    return file


def _filled(module: nn.Module, weights: Path) -> nn.Module:
    module.load_state_dict({name: tensor.float() for name, tensor in load_file(weights).items()})
    return module.eval()
