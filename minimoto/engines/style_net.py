"""The network of the ``fast`` style: one feed-forward pass for any style picture.

Four parts. Only the trunk needs to know the whole picture, and of its large arrays only their mean and covariance; the
other parts work on tiles and give the same pixels whatever the tiling:

* :class:`StyleLook`: a style picture to its code, by :class:`StyleEncoder` (after Ghiasi et al. 2017, section 3.2), and
  to the encoder's features, of which mean and covariance are taken;
* :class:`Encoder`: a tile of the photo to features at a quarter and at an eighth of its size. Those of the whole photo
  are brought to the style's mean and covariance (whitened and coloured, Li et al. 2017): :func:`transport` in training,
  ``style_transport.py`` in use, which needs no torch, and is exact whatever the precision of the network;
* :class:`Trunk`: those features through residual blocks with conditional instance normalisation by the style's code
  (Dumoulin et al. 2017, equation 5);
* :class:`Decoder`: a tile of features to a tile of the result, in the style's colours.

Photo and style picture go in without their colours (``style_colour.plain_map``): mean 0, deviation 1 along every axis
of colour. All arrays are ``(N, C, H, W)``, float32. ``training/style.py`` trains it.
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
FEATURES = 64
"""Channels at a quarter of the photo's size, between encoder, trunk and decoder."""
FAR = 128
"""Channels at an eighth of the photo's size."""
MULTIPLE = 8
"""The photo's sides, and the corners of its tiles, are multiples of this many pixels."""
ENCODER_MARGIN = 24
"""Pixels of the photo around a tile that the encoder's result depends on, rounded up to :data:`MULTIPLE`."""
DECODER_MARGIN = 16
"""Pixels around a tile that the decoder's result depends on, rounded up to :data:`MULTIPLE`."""

CODE = 192
"""Numbers of a style's code."""
GRAIN = 4
"""Channels of noise that the trunk is given at each of its two sizes."""
SPARE = 0.03
"""Of the mean variance, added to all: features that hardly vary in some direction must not be stretched to noise."""

_HALF = 32
_STYLE_CHANNELS = (32, 64, 128, 192)
_COVARIANCE = 20


class StyleEncoder(nn.Module):
    """A style picture ``(N, 3, 256, 256)`` to its code ``(N, 192)``, which residual blocks and decoder follow."""

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
        self.mix = nn.Sequential(nn.LayerNorm(statistics), nn.Linear(statistics, 384), nn.ReLU(), nn.Linear(384, CODE))

    def forward(self, style: Tensor) -> Tensor:
        """The code."""
        statistics = []
        features = style
        for stage, squeeze in zip(self.stages, self.squeeze, strict=True):
            features = stage(features)
            statistics.append(features.mean((2, 3)))
            small = squeeze(features).flatten(2)
            count = small.shape[2]
            if small.dtype == torch.float16:
                # Divided before they are summed up: the sums of a whole picture are beyond its range.
                small, count = small * count**-0.5, 1
            covariance = small @ small.transpose(1, 2) / count
            statistics.append(covariance.flatten(1)[:, cast(Tensor, self.upper)])
        return cast(Tensor, self.mix(torch.cat(statistics, 1)))


class Encoder(nn.Module):
    """A tile ``(N, 3, h, w)`` of the plain photo to its features at a quarter and at an eighth of its size."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, _HALF, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_HALF, FEATURES, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(FEATURES, FEATURES, 3, padding=1),
            nn.ReLU(),
        )
        self.far = nn.Sequential(
            nn.Conv2d(FEATURES, FAR, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(FAR, FAR, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Near ``(N, FEATURES, h/4, w/4)`` and far ``(N, FAR, h/8, w/8)``."""
        near = self.near(photo)
        return near, self.far(near)


class StyleLook(nn.Module):
    """A style picture ``(N, 3, 256, 256)`` to its code ``(N, CODE)`` and to its features, near and far."""

    def __init__(self, style_encoder: StyleEncoder, encoder: Encoder) -> None:
        super().__init__()
        self.style_encoder, self.encoder = style_encoder, encoder

    def forward(self, style: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The code and the features; the mean of several styles' codes, and of their statistics, is a style too."""
        near, far = self.encoder(style)
        return self.style_encoder(style), near, far


def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(N, C, 1)`` and covariance ``(N, C, C)`` of the channels of ``(N, C, H, W)``, in single precision."""
    with torch.autocast(features.device.type, enabled=False):
        flat = features.flatten(2).float()
        mean = flat.mean(2, keepdim=True)
        centred = flat - mean
        return mean, centred @ centred.transpose(1, 2) / flat.shape[2]


def _widened(covariance: Tensor) -> Tensor:
    one = torch.eye(covariance.shape[1], device=covariance.device)
    spread = (covariance * one).sum((1, 2), keepdim=True) / covariance.shape[1]
    return covariance + (SPARE * spread + 1e-5) * one


def _roots(matrix: Tensor, rounds: int = 14) -> tuple[Tensor, Tensor]:
    """Square root of a positive definite ``(N, C, C)`` and its inverse (Newton and Schulz; Higham 2008, 6.7)."""
    size = torch.sqrt((matrix * matrix).sum((1, 2), keepdim=True))
    one = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device).expand_as(matrix)
    root, inverse = matrix / size, one
    for _ in range(rounds):
        step = torch.baddbmm(one, inverse, root, beta=1.5, alpha=-0.5)
        root, inverse = root @ step, step @ inverse
    return root * torch.sqrt(size), inverse / torch.sqrt(size)


def transport(features: Tensor, wanted: tuple[Tensor, Tensor]) -> Tensor:
    """``features`` ``(N * M, C, h, w)`` of whole pictures, each M brought to one of N :func:`statistics` ``wanted``."""
    own = statistics(features)
    count, each = len(wanted[1]), len(features) // len(wanted[1])
    with torch.autocast(features.device.type, enabled=False):
        # All roots in one go, for a GPU, which is done with small products sooner than they are started.
        root, inverse = _roots(_widened(torch.cat([wanted[1], own[1]])))
        change = root[:count].repeat_interleave(each, 0) @ inverse[count:]
        offset = wanted[0].repeat_interleave(each, 0) - change @ own[0]
        return torch.baddbmm(offset, change, features.flatten(2).float()).view_as(features)


class Modulated(nn.Module):
    """Instance normalisation whose scale and offset follow from the style's code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.affine = nn.Linear(CODE, 2 * channels)
        nn.init.normal_(self.affine.weight, std=0.05)
        nn.init.zeros_(self.affine.bias)

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        """``features`` with the style's mean and deviation in each channel."""
        scale, offset = self.affine(code)[:, :, None, None].split(self.channels, 1)
        return cast(Tensor, functional.instance_norm(features) * (1 + scale) + offset)


class Block(nn.Module):
    """A residual block of two modulated convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False)
        self.after_first = Modulated(channels)
        self.after_second = Modulated(channels)

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        """``features`` changed by the block."""
        inner = functional.relu(self.after_first(self.first(features), code))
        return features + cast(Tensor, self.after_second(self.second(inner), code))


def enlarged(features: Tensor, times: int = 2) -> Tensor:
    """``features`` ``(N, C, h, w)`` at ``times`` their size, bilinear."""
    return functional.interpolate(features, scale_factor=float(times), mode="bilinear", align_corners=False)


class Trunk(nn.Module):
    """Features of the whole photo and the style's code to styled features ``(N, FEATURES, H/4, W/4)``.

    It mirrors at the photo's edges: with zeros there, the network learns where the edges are and draws along them.
    Noise at both sizes (Ulyanov et al. 2016, "Texture networks") is what it makes strokes of where the photo is flat:
    without it, the one thing there that tells pixels apart is where they lie in the grid of the enlargements.
    """

    def __init__(self) -> None:
        super().__init__()
        self.far_grain = nn.Conv2d(GRAIN, FAR, 1, bias=False)
        self.blocks = nn.ModuleList([Block(FAR) for _ in range(3)])
        self.near_grain = nn.Conv2d(GRAIN, FEATURES, 1, bias=False)
        self.up = nn.Conv2d(FAR, FEATURES, 3, padding=1, padding_mode="reflect")
        self.join = nn.Conv2d(FEATURES, FEATURES, 3, padding=1, padding_mode="reflect", bias=False)
        self.leave = Modulated(FEATURES)

    def forward(self, near: Tensor, far: Tensor, code: Tensor, near_grain: Tensor, far_grain: Tensor) -> Tensor:
        """The styled features, of those that have the style's statistics; noise is ``(N, GRAIN, ...)``, normal."""
        joined = self.joined(near, self.painted(far, code, far_grain), near_grain)
        return functional.relu(self.leave(joined, code))

    def painted(self, far: Tensor, code: Tensor, grain: Tensor) -> Tensor:
        """The features at an eighth of the whole photo's size, through the blocks."""
        far = far + self.far_grain(grain)
        for block in self.blocks:
            far = block(far, code)
        return far

    def joined(self, near: Tensor, far: Tensor, grain: Tensor) -> Tensor:
        """Both sizes together, before the last normalisation; tiles will do."""
        return cast(Tensor, self.join(near + self.near_grain(grain) + self.up(enlarged(far))))


class Decoder(nn.Module):
    """Styled features ``(N, FEATURES, h/4, w/4)``, the code and the style's palette to the result ``(N, 3, h, w)``.

    Nothing of the photo passes by the network: on its detail, or its colours, that are there already, training learns
    to draw one texture over all of it and stops there, whatever the style. Enlarging comes before each convolution,
    never by shuffled or transposed ones: no grid of 2 or 4 pixels can come from unequal phases (Odena et al. 2016,
    "Deconvolution and checkerboard artifacts").
    """

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Conv2d(FEATURES, _HALF, 3, padding=1)
        self.affine = nn.Linear(CODE, 2 * _HALF)
        nn.init.normal_(self.affine.weight, std=0.05)
        nn.init.zeros_(self.affine.bias)
        self.refine = nn.Conv2d(_HALF, _HALF, 3, padding=1)
        self.out = nn.Conv2d(_HALF, 3, 3, padding=1)

    def forward(self, features: Tensor, code: Tensor, palette: Tensor) -> Tensor:
        """The styled tile, RGB; may leave 0..1. ``palette`` is that of the style, ``(N, 3, 4)``: root and mean."""
        half = functional.relu(self.up(enlarged(features)))
        scale, offset = self.affine(code)[:, :, None, None].split(_HALF, 1)
        half = functional.relu(self.refine(half) * (1 + scale) + offset)
        plain = self.out(enlarged(half))
        colours = palette[:, :, :3] @ plain.flatten(2) + palette[:, :, 3:]
        return cast(Tensor, colours.view_as(plain))


class StyleNetwork(nn.Module):
    """The four parts in a row, as they are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.style_encoder = StyleEncoder()
        self.encoder = Encoder()
        self.trunk = Trunk()
        self.decoder = Decoder()

    def forward(self, photo: Tensor, style: Tensor, palette: Tensor) -> Tensor:
        """``photo`` ``(N * M, 3, H, W)``, each M in the style of one of ``style`` ``(N, 3, 256, 256)``, both plain.

        ``palette`` ``(N * M, 3, 4)`` is that of the style of each.
        """
        code, *wanted = StyleLook(self.style_encoder, self.encoder)(style)
        each = photo.shape[0] // style.shape[0]
        code = code.repeat_interleave(each, 0)
        near, far = (transport(f, statistics(w)) for f, w in zip(self.encoder(photo), wanted, strict=True))
        grains = (torch.randn(len(x), GRAIN, *x.shape[2:], device=x.device) for x in (near, far))
        return cast(Tensor, self.decoder(self.trunk(near, far, code, *grains), code, palette))


def mirrored(part: nn.Module) -> nn.Module:
    """``part``, whose convolutions from now on mirror at the edges: for pictures that are not tiles of larger ones."""
    for layer in part.modules():
        if isinstance(layer, nn.Conv2d):
            layer.padding_mode = "reflect"
    return part


def build_look(weights: Path) -> nn.Module:
    """:class:`StyleLook` with its parts of the safetensors file ``weights``."""
    encoder = mirrored(_with_weights(Encoder(), "encoder.", weights))
    style_encoder = _with_weights(StyleEncoder(), "style_encoder.", weights)
    return StyleLook(cast(StyleEncoder, style_encoder), cast(Encoder, encoder)).eval()


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
