"""The two networks of Real-ESRGAN (Wang et al. 2021), with the names of its published files.

:class:`RRDBNet` is ESRGAN's generator (Wang et al. 2018, section 3.1), which for a factor of two folds the picture
first (Real-ESRGAN, section 3.4). :class:`Compact` is the small network that came with its later releases: convolutions
in a row, a pixel shuffle, and the photo itself added.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from minimoto.engines.published import load_weights

BETA = 0.2
SLOPE = 0.2


class _Dense(nn.Module):
    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        for k in range(5):
            outputs = growth if k < 4 else channels
            self.add_module(f"conv{k + 1}", nn.Conv2d(channels + k * growth, outputs, 3, padding=1))

    def forward(self, features: Tensor) -> Tensor:
        seen = features
        for k in range(1, 5):
            new = functional.leaky_relu(self.get_submodule(f"conv{k}")(seen), SLOPE)
            seen = torch.cat((seen, new), 1)
        fused: Tensor = self.get_submodule("conv5")(seen)
        return features + BETA * fused


class _Block(nn.Module):
    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (_Dense(channels, growth) for _ in range(3))

    def forward(self, features: Tensor) -> Tensor:
        inner: Tensor = self.rdb3(self.rdb2(self.rdb1(features)))
        return features + BETA * inner


class RRDBNet(nn.Module):
    """Photos to photos of ``factor`` times the size, 2 or 4; for 2, width and height must be even."""

    def __init__(self, blocks: int, factor: int = 4, channels: int = 64, growth: int = 32) -> None:
        super().__init__()
        self.fold = 4 // factor
        self.conv_first = nn.Conv2d(3 * self.fold**2, channels, 3, padding=1)
        self.body = nn.ModuleList(_Block(channels, growth) for _ in range(blocks))
        self.conv_body, self.conv_up1, self.conv_up2, self.conv_hr = (
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(4)
        )
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, photo: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, factor H, factor W)."""
        if self.fold > 1:
            photo = functional.pixel_unshuffle(photo, self.fold)
        outer = features = self.conv_first(photo)
        for block in self.body:
            features = block(features)
        features = self.conv_body(features) + outer
        for up in (self.conv_up1, self.conv_up2):
            larger = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = functional.leaky_relu(up(larger), SLOPE)
        enlarged: Tensor = self.conv_last(functional.leaky_relu(self.conv_hr(features), SLOPE))
        return enlarged


class Compact(nn.Module):
    """Photos to photos of four times the size, by ``convolutions`` and one before and one after them."""

    def __init__(self, convolutions: int, factor: int = 4, channels: int = 64) -> None:
        super().__init__()
        self.factor = factor
        layers: list[nn.Module] = []
        for number in range(convolutions + 1):
            layers += [nn.Conv2d(channels if number else 3, channels, 3, padding=1), nn.PReLU(channels)]
        self.body = nn.ModuleList([*layers, nn.Conv2d(channels, 3 * factor**2, 3, padding=1)])

    def forward(self, photo: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, 4 H, 4 W)."""
        features = photo
        for layer in self.body:
            features = layer(features)
        photo = functional.interpolate(photo, scale_factor=float(self.factor), mode="nearest")
        return functional.pixel_shuffle(features, self.factor) + photo


def build_realesrgan_x4plus(path: Path) -> nn.Module:
    """``RealESRGAN_x4plus`` from its safetensors file."""
    return load_weights(lambda: RRDBNet(blocks=23), path)


def build_realesrgan_x2plus(path: Path) -> nn.Module:
    """``RealESRGAN_x2plus`` from its safetensors file."""
    return load_weights(lambda: RRDBNet(blocks=23, factor=2), path)


def build_realesrgan_x4plus_anime(path: Path) -> nn.Module:
    """``RealESRGAN_x4plus_anime_6B`` from its safetensors file."""
    return load_weights(lambda: RRDBNet(blocks=6), path)


def build_realesr_general_x4v3(path: Path) -> nn.Module:
    """``realesr-general-x4v3`` or its twin from its safetensors file."""
    return load_weights(lambda: Compact(convolutions=32), path)


def build_realesr_animevideov3(path: Path) -> nn.Module:
    """``realesr-animevideov3`` from its safetensors file."""
    return load_weights(lambda: Compact(convolutions=16), path)
