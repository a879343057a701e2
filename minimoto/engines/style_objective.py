"""The loss of a picture and its gradient: at once, or in strips where the features of all of it would not fit.

In strips, Gram matrices are summed over the whole picture first; then the gradient is added up strip by strip. A strip
is read with as many more rows as a feature can see, so the result is that of the whole picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from minimoto.engines.style_losses import (
    Pull,
    add_tv_gradient,
    blended,
    content_pull,
    joined,
    normalising,
    squared_distance,
    style_loss,
    style_pull,
    tv_loss,
)
from minimoto.engines.style_optimise_settings import OptimiseOptions
from minimoto.engines.style_whole import USED, WholeEvaluation
from minimoto.engines.vgg import Vgg
from minimoto.engines.vgg_cuda import CudaFeatures

STRIP_PIXELS = 2_500_000
"""Pixels that are worked on at once."""
_LEAST_ROWS = 256


class Features(Protocol):
    """Features of pictures and the gradient of what is made of them."""

    overwrites: bool
    """Whether :meth:`product` and :meth:`backward` may be given gradients that are written over the features."""
    device: torch.device

    def forward(self, pixels: Tensor, *, gradient: bool = True) -> dict[str, Tensor]:
        """Features by layer, (h, w, channels)."""

    def backward(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """The gradient with respect to the pixels, from those with respect to the features."""

    def gram(self, features: Tensor) -> Tensor:
        """The products of all pairs of channels, summed over the pixels: (channels, channels)."""

    def product(self, features: Tensor, matrix: Tensor, out: Tensor) -> None:
        """Each pixel's channels times ``matrix``, (channels, channels), into ``out``."""


@dataclass(frozen=True)
class Losses:
    """The parts of a loss, their weights applied."""

    content: float
    style: float
    tv: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.content + self.style + self.tv


@dataclass(frozen=True)
class Strip:
    """Rows of a picture: those that are read, and those that count."""

    top: int
    bottom: int
    read_top: int
    read_bottom: int


def strips(height: int, width: int, vgg: Vgg, pixels: int) -> list[Strip]:
    """Strips of at most about ``pixels``; their tops are multiples of the network's stride."""
    stride = vgg.stride
    margin = -(-vgg.radius // stride) * stride
    rows = height if height * width <= pixels else max(pixels // width - 2 * margin, min(_LEAST_ROWS, pixels // width))
    rows = max(rows // stride, 1) * stride if rows < height else height
    tops = list(range(0, height, rows))
    # A last strip too low to be pooled all the way joins the one before it.
    if len(tops) > 1 and height - tops[-1] < stride:
        tops.pop()
    ends = [*tops[1:], height]
    return [Strip(a, b, max(0, a - margin), min(height, b + margin)) for a, b in zip(tops, ends, strict=True)]


class Objective:
    """What is minimised.

    Parameters:
        features: of the layers that ``options`` name.
        vgg: the network that they are of, up to the last of those layers.
        photo: (H, W, 3), pixels; so is each of ``styles``, at any size.
        strip_pixels: pixels that are worked on at once.
    """

    def __init__(
        self,
        features: Features,
        vgg: Vgg,
        photo: Tensor,
        styles: Sequence[Tensor],
        options: OptimiseOptions,
        strip_pixels: int = STRIP_PIXELS,
    ) -> None:
        self._features, self._vgg, self._options = features, vgg.outline(), options
        self._pixels = strip_pixels
        self._strides = _strides(vgg)
        self._content = self._content_of(photo) if options.content_layers and options.content_weight else {}
        self._style: dict[str, Tensor] = {}
        if options.style_layers and options.style_weight:
            grams = [self._grams(style)[0] for style in styles]
            weights = options.style_blend_weights or (1.0,) * len(styles)
            self._style = {name: blended([g[name] for g in grams], weights) for name in options.style_layers}
            if options.strength < 1:
                own, share = self._grams(photo)[0], options.strength
                self._style = {name: blended([own[name], aim], (1 - share, share)) for name, aim in self._style.items()}
        self._whole, self._size = self._at_once(photo), photo.shape

    def __call__(self, pixels: Tensor) -> tuple[Losses, Tensor]:
        """The loss at a picture, (H, W, 3), and its gradient there, of the same shape."""
        if self._whole is not None and pixels.shape == self._size:
            found_losses, gradient = self._whole(pixels)
            return Losses(*found_losses.tolist()), gradient
        parts = self._strips(pixels)
        found = self._features.forward(pixels) if len(parts) == 1 else None
        grams, counts = self._grams(pixels, found)
        style, pulls = self._style_pulls(grams, counts)
        content = self._content_error(pixels, parts, found, counts)
        pulled = self._joined(pixels, parts, found, pulls, counts)
        whole = torch.zeros_like(pixels) if len(parts) > 1 else None
        for index, strip in enumerate(parts):
            at = found if found is not None else self._features.forward(pixels[strip.read_top : strip.read_bottom])
            gradients = {name: self._pulled(name, pull, at[name], strip, index) for name, pull in pulled.items()}
            gradient = self._features.backward(gradients)
            if whole is not None:
                whole[strip.read_top : strip.read_bottom] += gradient
        gradient = gradient if whole is None else whole
        weight = self._options.tv_weight
        tv = tv_loss(pixels) * weight if weight else torch.zeros((), device=pixels.device)
        if weight:
            add_tv_gradient(gradient, pixels, weight)
        # All at once: to read a number off a GPU is to wait for it.
        return Losses(*torch.stack([content, style, tv]).tolist()), gradient

    def _at_once(self, photo: Tensor) -> WholeEvaluation | None:
        """A faster way for pictures of the photo's size, if there is one."""
        whole = len(self._strips(photo)) == 1 and not self._options.normalize_gradients
        if not (USED and whole and isinstance(self._features, CudaFeatures)):
            return None
        content = {name: parts[0] for name, parts in self._content.items()}
        return WholeEvaluation(self._features, self._options, self._style, content)

    def _strips(self, pixels: Tensor) -> list[Strip]:
        return strips(pixels.shape[0], pixels.shape[1], self._vgg, self._pixels)

    def _grams(
        self, pixels: Tensor, found: Mapping[str, Tensor] | None = None
    ) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Gram matrices over a whole picture, divided by the number of features, and that number by layer."""
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        for strip in self._strips(pixels):
            at = found or self._features.forward(pixels[strip.read_top : strip.read_bottom], gradient=False)
            for name, features in at.items():
                rows = features[self._rows(name, strip, features)]
                counts[name] = counts.get(name, 0) + rows.numel()
                if name in self._options.style_layers:
                    products = self._features.gram(rows)
                    sums[name] = sums[name] + products if name in sums else products
        return {name: total / counts[name] for name, total in sums.items()}, counts

    def _content_of(self, photo: Tensor) -> dict[str, list[Tensor]]:
        """The photo's features, strip by strip."""
        kept: dict[str, list[Tensor]] = {name: [] for name in self._options.content_layers}
        for strip in self._strips(photo):
            at = self._features.forward(photo[strip.read_top : strip.read_bottom], gradient=False)
            for name, parts in kept.items():
                parts.append(at[name][self._rows(name, strip, at[name])].clone())
        return kept

    def _rows(self, name: str, strip: Strip, features: Tensor) -> slice:
        """The rows of a strip's features that count."""
        stride = self._strides[name]
        end = features.shape[0] if strip.bottom == strip.read_bottom else (strip.bottom - strip.read_top) // stride
        return slice((strip.top - strip.read_top) // stride, end)

    def _style_pulls(self, grams: Mapping[str, Tensor], counts: Mapping[str, int]) -> tuple[Tensor, dict[str, Pull]]:
        pulls = {name: style_pull(grams[name], target, counts[name]) for name, target in self._style.items()}
        losses = [style_loss(grams[name], target) for name, target in self._style.items()]
        loss = torch.stack(losses).sum() if losses else torch.zeros((), device=self._features.device)
        return loss * self._options.style_weight, pulls

    def _content_error(
        self, pixels: Tensor, parts: Sequence[Strip], found: Mapping[str, Tensor] | None, counts: Mapping[str, int]
    ) -> Tensor:
        error = torch.zeros((), device=pixels.device)
        if not self._content:
            return error
        for index, strip in enumerate(parts):
            at = found or self._features.forward(pixels[strip.read_top : strip.read_bottom], gradient=False)
            for name, targets in self._content.items():
                rows = at[name][self._rows(name, strip, at[name])]
                error = error + squared_distance(rows, targets[index]) / counts[name]
        return error * self._options.content_weight

    def _joined(
        self,
        pixels: Tensor,
        parts: Sequence[Strip],
        found: Mapping[str, Tensor] | None,
        styles: Mapping[str, Pull],
        counts: Mapping[str, int],
    ) -> dict[str, Pull]:
        """The pull on each layer, weighted, and normalised if asked for."""
        options = self._options
        contents = {name: content_pull(counts[name]) for name in self._content}
        weights = {("style", name): options.style_weight for name in styles}
        weights |= {("content", name): options.content_weight for name in contents}
        if options.normalize_gradients:
            norms = dict.fromkeys(weights, 0.0)
            for index, strip in enumerate(parts):
                at = found or self._features.forward(pixels[strip.read_top : strip.read_bottom], gradient=False)
                for kind, name in norms:
                    rows = at[name][self._rows(name, strip, at[name])]
                    pull = (styles if kind == "style" else contents)[name]
                    norms[kind, name] += pull.l1(rows, self._content[name][index] if kind == "content" else None)
            weights = {key: normalising(weight, norms[key]) for key, weight in weights.items()}
        return {
            name: joined(
                styles.get(name), weights.get(("style", name), 0), contents.get(name), weights.get(("content", name), 0)
            )
            for name in sorted({*styles, *contents})
        }

    def _pulled(self, name: str, pull: Pull, features: Tensor, strip: Strip, index: int) -> Tensor:
        """The gradient at a strip's features: nothing outside of the rows that count."""
        rows = self._rows(name, strip, features)
        targets = self._content.get(name)
        target = targets[index] if targets else None
        gradient = features if self._features.overwrites else torch.empty_like(features)
        pull.gradient(features[rows], target, gradient[rows], self._features.product)
        gradient[: rows.start] = 0
        gradient[rows.stop :] = 0
        return gradient


def _strides(vgg: Vgg) -> dict[str, int]:
    found, stride = {}, 1
    for layer in vgg.layers:
        stride *= 2 if layer.pools else 1
        found[layer.name] = stride
    return found
