"""The network of the ``fast`` style: one feed-forward pass for any style picture.

Four parts. Only the trunk normalises, so only it has to see the whole picture, at a quarter of its size; the other
two work on tiles and give the same pixels whatever the tiling:

* :class:`StyleEncoder`: a style picture to a style vector, once a style (after Ghiasi et al. 2017, section 3.2, with
  the channel covariances of several depths instead of a classifier's activations);
* :class:`Encoder`: a tile of the photo to features at a quarter of its size;
* :class:`Trunk`: features of the whole photo, with conditional instance normalisation by the style vector (Dumoulin et
  al. 2017, equation 5);
* :class:`Decoder`: a tile of features and of the photo to a tile of the result, as a difference to the photo.

The photo that goes in has the style's colours already (``style_colour.match``). All arrays are ``(N, C, H, W)``,
RGB 0..1, float32. ``training/style.py`` trains it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

STYLE_SIZE = 256
"""Pixels a side of the style picture that :class:`StyleEncoder` is given."""
STYLE_DIMENSIONS = 192
FEATURES = 48
"""Channels at a quarter of the photo's size, between encoder, trunk and decoder."""
MULTIPLE = 8
"""The photo's sides, and the corners of its tiles, are multiples of this many pixels."""
ENCODER_MARGIN = 16
"""Pixels of the photo around a tile that the encoder's result depends on, rounded up to :data:`MULTIPLE`."""
DECODER_MARGIN = 16
"""Pixels around a tile that the decoder's result depends on, rounded up to :data:`MULTIPLE`."""

_TRUNK = 96
_HALF = 24
_STYLE_CHANNELS = (32, 64, 128, 192)
_COVARIANCE = 20


class StyleEncoder(nn.Module):
    """A style picture ``(N, 3, 256, 256)`` to its style vector ``(N, STYLE_DIMENSIONS)``."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = _STYLE_CHANNELS
        self.stages = nn.ModuleList(
            [
                nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, a, 3, padding=1), nn.ReLU()),
                nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()),
                nn.Sequential(
                    nn.Conv2d(b, c, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1), nn.ReLU()
                ),
                nn.Sequential(nn.Conv2d(c, d, 3, stride=2, padding=1), nn.ReLU()),
            ]
        )
        self.squeeze = nn.ModuleList([nn.Conv2d(n, _COVARIANCE, 1) for n in _STYLE_CHANNELS])
        upper = torch.triu_indices(_COVARIANCE, _COVARIANCE)
        self.register_buffer("upper", upper[0] * _COVARIANCE + upper[1], persistent=False)
        statistics = sum(n + upper.shape[1] for n in _STYLE_CHANNELS)
        self.mix = nn.Sequential(
            nn.LayerNorm(statistics), nn.Linear(statistics, 384), nn.ReLU(), nn.Linear(384, STYLE_DIMENSIONS)
        )

    def forward(self, style: Tensor) -> Tensor:
        """The style vector."""
        statistics = []
        features = style - 0.5
        for stage, squeeze in zip(self.stages, self.squeeze, strict=True):
            features = stage(features)
            statistics.append(features.mean((2, 3)))
            small = squeeze(features).flatten(2)
            covariance = small @ small.transpose(1, 2) / small.shape[2]
            statistics.append(covariance.flatten(1)[:, cast(Tensor, self.upper)])
        return cast(Tensor, self.mix(torch.cat(statistics, 1)))


class Encoder(nn.Module):
    """A tile ``(N, 3, h, w)`` of the recoloured photo to features ``(N, FEATURES, h/4, w/4)``."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, _HALF, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_HALF, FEATURES, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(FEATURES, FEATURES, 3, padding=1),
        )

    def forward(self, photo: Tensor) -> Tensor:
        """The features."""
        return cast(Tensor, self.layers(photo - 0.5))


class Modulated(nn.Module):
    """Instance normalisation whose scale and offset follow from the style vector."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.affine = nn.Linear(STYLE_DIMENSIONS, 2 * channels)
        nn.init.normal_(self.affine.weight, std=0.05)
        nn.init.zeros_(self.affine.bias)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        """``features`` with the style's mean and deviation in each channel."""
        scale, offset = self.affine(style)[:, :, None, None].split(self.channels, 1)
        return cast(Tensor, functional.instance_norm(features) * (1 + scale) + offset)


class Block(nn.Module):
    """A residual block of two modulated convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.after_first = Modulated(channels)
        self.after_second = Modulated(channels)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        """``features`` changed by the block."""
        inner = functional.relu(self.after_first(self.first(features), style))
        return features + cast(Tensor, self.after_second(self.second(inner), style))


class Trunk(nn.Module):
    """Features of the whole photo ``(N, FEATURES, H/4, W/4)`` and its style vector to styled features, same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = Modulated(FEATURES)
        self.down = nn.Conv2d(FEATURES, _TRUNK, 3, stride=2, padding=1, bias=False)
        self.after_down = Modulated(_TRUNK)
        self.blocks = nn.ModuleList([Block(_TRUNK) for _ in range(3)])
        self.up = nn.Conv2d(_TRUNK, FEATURES, 3, padding=1)
        self.join = nn.Conv2d(FEATURES, FEATURES, 3, padding=1, bias=False)
        self.leave = Modulated(FEATURES)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        """The styled features."""
        near = functional.relu(self.enter(features, style))
        far = functional.relu(self.after_down(self.down(near), style))
        for block in self.blocks:
            far = block(far, style)
        near = near + self.up(functional.interpolate(far, scale_factor=2.0, mode="nearest"))
        return functional.relu(self.leave(self.join(near), style))


class Decoder(nn.Module):
    """Styled features ``(N, FEATURES, h/4, w/4)``, the recoloured photo ``(N, 3, h, w)`` and the style to the result.

    Enlarging comes before each convolution, never by shuffled or transposed ones: no grid of 2 or 4 pixels can come
    from unequal phases (Odena et al. 2016, "Deconvolution and checkerboard artifacts").
    """

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Conv2d(FEATURES, _HALF, 3, padding=1)
        self.affine = nn.Linear(STYLE_DIMENSIONS, 2 * _HALF + 3)
        nn.init.normal_(self.affine.weight, std=0.05)
        nn.init.zeros_(self.affine.bias)
        self.refine = nn.Conv2d(_HALF, _HALF, 3, padding=1)
        self.out = nn.Conv2d(_HALF, 3, 3, padding=1)

    def forward(self, features: Tensor, photo: Tensor, style: Tensor) -> Tensor:
        """The styled tile; may leave 0..1."""
        half = functional.relu(self.up(functional.interpolate(features, scale_factor=2.0, mode="nearest")))
        scale, offset, share = self.affine(style)[:, :, None, None].split((_HALF, _HALF, 3), 1)
        half = functional.relu(self.refine(half) * (1 + scale) + offset)
        whole = functional.interpolate(half, scale_factor=2.0, mode="bilinear", align_corners=False)
        return cast(Tensor, photo * (1 + share) + self.out(whole))


class StyleNetwork(nn.Module):
    """The four parts in a row, as they are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.style_encoder = StyleEncoder()
        self.encoder = Encoder()
        self.trunk = Trunk()
        self.decoder = Decoder()

    def forward(self, photo: Tensor, style: Tensor) -> Tensor:
        """``photo`` ``(N, 3, H, W)``, recoloured, in the style of ``style`` ``(N, 3, 256, 256)``."""
        vector = self.style_encoder(style)
        return cast(Tensor, self.decoder(self.trunk(self.encoder(photo), vector), photo, vector))


def build_style_encoder(weights: Path) -> nn.Module:
    """:class:`StyleEncoder` with its part of the safetensors file ``weights``."""
    return _with_weights(StyleEncoder(), "style_encoder.", weights)


def build_encoder(weights: Path) -> nn.Module:
    """:class:`Encoder` with its part of the safetensors file ``weights``."""
    return _with_weights(Encoder(), "encoder.", weights)


def build_trunk(weights: Path) -> nn.Module:
    """:class:`Trunk` with its part of the safetensors file ``weights``."""
    return _with_weights(Trunk(), "trunk.", weights)


def build_decoder(weights: Path) -> nn.Module:
    """:class:`Decoder` with its part of the safetensors file ``weights``."""
    return _with_weights(Decoder(), "decoder.", weights)


def _with_weights(part: nn.Module, prefix: str, weights: Path) -> nn.Module:
    from safetensors.torch import load_file

    tensors: Mapping[str, Tensor] = load_file(weights)
    part.load_state_dict(
        {name.removeprefix(prefix): t.float() for name, t in tensors.items() if name.startswith(prefix)}
    )
    return part.eval()
