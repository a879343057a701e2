"""The losses of styling by optimisation and their gradients with respect to features, written out.

Source: Gatys, Ecker and Bethge 2016, "Image style transfer using convolutional neural networks", equations 1 to 7, with
the normalisations of jcjohnson/neural-style (``neural_style.lua``): a Gram matrix is divided by the number of features,
both losses are means of squares. Features are (h, w, channels), float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_TINY = 1e-8
_ROWS = {"cpu": 64, "cuda": 1024, "mps": 512}
"""Rows whose differences are held at once: few on a CPU, whose cache they stay in."""

Product = Callable[[Tensor, Tensor, Tensor], None]
Places = tuple[slice, slice]


def gram(features: Tensor) -> Tensor:
    """The products of all pairs of channels, summed over the pixels and not divided yet: (channels, channels)."""
    flat = features.reshape(-1, features.shape[2])
    return flat.T @ flat


def product(features: Tensor, matrix: Tensor, out: Tensor) -> None:
    """Each pixel's channels times ``matrix``, (channels, channels), into ``out``, which shares no memory."""
    channels = features.shape[2]
    torch.mm(features.reshape(-1, channels), matrix, out=out.view(-1, channels))


def blended(grams: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The mean of Gram matrices, weighted; only the weights' ratios count."""
    total = sum(weights)
    return torch.stack([g * (weight / total) for g, weight in zip(grams, weights, strict=True)]).sum(0)


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """The mean square of the features' difference."""
    return torch.mean((features - target) ** 2)


def style_loss(normalised: Tensor, target: Tensor) -> Tensor:
    """The mean square of the difference of two Gram matrices, each divided by its number of features."""
    return torch.mean((normalised - target) ** 2)


def tv_loss(pixels: Tensor) -> Tensor:
    """Total variation: half the sum of squared differences of neighbours.

    neural-style has this one's gradient, and counts no loss for it; neural-style-pt takes the differences' magnitudes.

    Parameters:
        pixels: (H, W, 3), in steps of 1/255.
    """
    return torch.stack([_squares(part) for part, _, _ in _differences(pixels)]).sum() / 2


def add_tv_gradient(gradient: Tensor, pixels: Tensor, weight: float) -> None:
    """Adds the gradient of ``weight`` times :func:`tv_loss` to ``gradient``."""
    for part, here, there in _differences(pixels):
        gradient[there].add_(part, alpha=weight)
        gradient[here].sub_(part, alpha=weight)


def squared_distance(features: Tensor, target: Tensor) -> Tensor:
    """The sum of the squares of the features' difference, of which a few rows are held at once."""
    return torch.stack([_squares(features[part] - target[part]) for part in _parts(features)]).sum()


def _parts(picture: Tensor) -> list[slice]:
    """Rows that are worked on together."""
    rows = _ROWS[picture.device.type]
    return [slice(top, top + rows) for top in range(0, len(picture), rows)]


def _squares(values: Tensor) -> Tensor:
    return torch.dot(values.reshape(-1), values.reshape(-1))


def _differences(pixels: Tensor) -> Iterator[tuple[Tensor, Places, Places]]:
    """All differences of neighbours, some rows at a time, with the places of what is taken off and of what it is of."""
    for rows in _parts(pixels):
        below = slice(rows.start + 1, rows.stop + 1)
        above = slice(rows.start, min(rows.stop, len(pixels) - 1))
        left, right = (rows, slice(None, -1)), (rows, slice(1, None))
        for here, there in (((above, slice(None)), (below, slice(None))), (left, right)):
            yield pixels[there] - pixels[here], here, there


@dataclass(frozen=True)
class Pull:
    """The gradient of a layer's losses with respect to its features F: F D + c (F - P).

    Parameters:
        style: D, (channels, channels), symmetric; ``None`` for none.
        content: c.
    """

    style: Tensor | None = None
    content: float = 0.0

    def gradient(self, features: Tensor, target: Tensor | None, out: Tensor, product: Product = product) -> Tensor:
        """The gradient, which is written to ``out``.

        Parameters:
            target: P; needed where there is a ``content``.
            out: as large as ``features``; these themselves if ``product`` can write there.
            product: as :func:`product`.
        """
        matrix = self.style
        if matrix is None:
            assert target is not None
            return torch.sub(features, target, out=out).mul_(self.content)
        if target is None or not self.content:
            product(features, matrix, out)
            return out
        product(features, matrix + self.content * torch.eye(len(matrix), device=matrix.device), out)
        return out.sub_(target, alpha=self.content)

    def l1(self, features: Tensor, target: Tensor | None) -> float:
        """The sum of the gradient's magnitudes."""
        return float(self.gradient(features, target, torch.empty_like(features)).abs_().sum())


def style_pull(normalised: Tensor, target: Tensor, count: int) -> Pull:
    """The pull of :func:`style_loss` on the ``count`` features whose Gram matrix, divided by it, is ``normalised``."""
    channels = len(normalised)
    return Pull(style=(normalised - target) * (4.0 / (channels * channels * count)))


def content_pull(count: int) -> Pull:
    """The pull of :func:`content_loss` on ``count`` features."""
    return Pull(content=2.0 / count)


def joined(style: Pull | None, style_weight: float, content: Pull | None, content_weight: float) -> Pull:
    """Both pulls together, each with its weight."""
    matrix = style.style * style_weight if style is not None and style.style is not None else None
    return Pull(style=matrix, content=content.content * content_weight if content is not None else 0.0)


def normalising(weight: float, l1: float) -> float:
    """The weight that makes a gradient of this L1 norm one of norm ``weight``."""
    return weight / (l1 + _TINY)
