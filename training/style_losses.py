"""What the training and the measuring of the ``fast`` style look at: VGG16's features, Gram matrices and colours.

Perceptual losses of Johnson et al. (2016) under VGG16: content at relu3_3, Gram matrices at relu1_2, relu2_2, relu3_3
and relu4_3. Each layer's distance is divided by the size of what it is measured from, so that pale and strong styles
count alike. Pictures are ``(N, 3, H, W)``, RGB 0..1, and every loss has one number a picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from minimoto.engines.style_net import statistics
from minimoto.engines.vgg import LEVELS, MEAN, load_vgg

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
"""Whose Gram matrices are the style."""
CONTENT = "relu3_3"
PALE = 0.01
"""Added to a style loss before its logarithm is taken, which would be too steep at nothing."""
Features = dict[str, Tensor]
Judged = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Aim:
    """What is asked of a painting's style, against its content loss.

    Parameters:
        weight: of the style.
        power: of the style loss that is descended, 0 to 1. 0 is its logarithm, which keeps pale styles, which anything
            painted is far from, from ruling the step; 1 is the loss itself, whose mean is measured in the end.
        others: how much of what brings a picture nearer to the other styles of a step is taken off again. Without it
            the network first learns the one texture that is nearest to all styles, and then little else.
    """

    weight: float
    power: float = 0.0
    others: float = 0.7

    def value(self, style: Tensor, others: Tensor) -> Tensor:
        """Of style losses, and of the mean losses to the other styles, both ``(N,)``."""
        own = (style + PALE).log() if self.power == 0 else (style + PALE) ** self.power / self.power
        return self.weight * (own - self.others * (others + PALE).log())

    def slopes(self, style: float, others: float) -> tuple[float, float]:
        """The derivatives of :meth:`value` by ``style`` and by ``others``."""
        return self.weight * (style + PALE) ** (self.power - 1), -self.weight * self.others / (others + PALE)


class Perception:
    """VGG16's features of pictures, through which gradients go.

    Parameters:
        weights: safetensors with torchvision's names.
        device: where torch computes.
        precision: of the convolutions. bfloat16 takes half the time where the CPU multiplies it.
    """

    def __init__(self, weights: Path, device: torch.device, precision: torch.dtype = torch.float32) -> None:
        self.device = device
        self._mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1)
        self._precision = precision
        self._layers = [
            (
                layer.name,
                layer.weight.to(device, precision).contiguous(memory_format=torch.channels_last),
                (layer.bias / LEVELS).to(device, precision),
                layer.pools,
            )
            for layer in load_vgg(weights, "vgg16").until(LAYERS).layers
        ]

    def __call__(self, pictures: Tensor, until: str = LAYERS[-1]) -> Features:
        """Features ``(N, C, h, w)`` by layer, as far as ``until``."""
        found = {}
        x = (pictures - self._mean).to(self._precision).contiguous(memory_format=torch.channels_last)
        for name, weight, bias, pools in self._layers:
            x = functional.max_pool2d(x, 2) if pools else x
            x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
            if name in LAYERS:
                found[name] = x
            if name == until:
                break
        return found

    def grams(self, pictures: Tensor) -> dict[str, Tensor]:
        """Those of ``(N, 3, H, W)``, by layer: ``(N, C, C)``."""
        with torch.no_grad():
            return {name: gram(features) for name, features in self(pictures.to(self.device)).items()}

    def judge(self, pictures: Tensor, photos: Tensor, grams: dict[str, Tensor], aim: Aim, weights: Tensor) -> Judged:
        """Style and content loss ``(N,)`` and the gradient ``(N, 3, H, W)`` of what training descends.

        That is the mean over pictures of ``aim`` and of content loss times its ``weights`` ``(N,)``. ``grams`` are
        those of fewer styles ``(S, C, C)``: the first N / S pictures are in the first style, and so on.
        """
        with torch.no_grad():
            content = self(photos, CONTENT)[CONTENT]
        asked = pictures.detach().requires_grad_(True)
        with torch.enable_grad():
            found = self(asked)
            pairs = style_distances({name: gram(features) for name, features in found.items()}, grams)
            count = pairs.shape[1]
            style = pairs.view(count, -1, count).diagonal(dim1=0, dim2=2).T.flatten()
            others = (pairs.sum(1) - style) / max(1, count - 1)
            kept = content_loss(found[CONTENT], content)
            (pull,) = torch.autograd.grad((aim.value(style, others) + weights * kept).mean(), [asked])
        return style.detach(), kept.detach(), pull


def gram(features: Tensor) -> Tensor:
    """``(N, C, h, w)`` to ``(N, C, C)``, float32: mean products of channels."""
    flat = features.flatten(2)
    return (flat @ flat.transpose(1, 2)).float() / flat.shape[2]


def root(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Square root of a positive definite ``(N, 3, 3)``, and its inverse, ``(N, 3, 3)`` in double precision.

    In closed form, for which a GPU's host does not wait: Franca 1989, "An algorithm to compute the square root of a 3x3
    positive definite matrix" (Cayley and Hamilton's theorem on the root, whose eigenvalues are the roots of Smith's
    1961, "Eigenvalues of a symmetric 3x3 matrix"). Good to 1e-4 for eigenvalues of 1 to 1e-8.
    """
    matrix = matrix.double()
    one = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    mean = matrix.diagonal(dim1=1, dim2=2).mean(1)
    apart = matrix - mean[:, None, None] * one
    size = (apart.square().sum((1, 2)) / 6).sqrt().clamp(min=1e-150)
    turned = (_determinant(apart) / (2 * size**3)).clamp(-1, 1).acos() / 3
    values = mean[:, None] + 2 * size[:, None] * torch.stack(
        [turned.cos(), (turned + 4 * math.pi / 3).cos(), (turned + 2 * math.pi / 3).cos()], 1
    )
    # Of the least, a difference of large ones would leave little: the determinant has it whole.
    least = (_determinant(matrix) / (values[:, 0] * values[:, 1])).clamp(min=1e-300)
    a, b, c = values[:, 0].sqrt(), values[:, 1].sqrt(), least.sqrt()
    first, second, third = (n[:, None, None] for n in (a + b + c, a * b + b * c + c * a, a * b * c))
    found = (first * third * one + (first**2 - second) * matrix - matrix @ matrix) / (first * second - third)
    return found, (matrix - first * found + second * one) / third


def _determinant(matrix: Tensor) -> Tensor:
    """Of ``(N, 3, 3)``."""
    return (matrix[:, 0] * torch.linalg.cross(matrix[:, 1], matrix[:, 2])).sum(1)


def recolour(photo: Tensor, colours: Tensor) -> Tensor:
    """The photo with a style's mean and covariance of RGB, by the least linear map (Monge-Kantorovich).

    Parameters:
        colours: of the style, the first of :func:`palette`.
    """
    mean, covariance = statistics(photo)
    own, inverse = root(covariance + 1e-4 * torch.eye(3, device=photo.device))
    wanted = colours[:, :, :3].double()
    change = inverse @ root(own @ wanted @ wanted @ own)[0] @ inverse
    return (change.float() @ (photo.flatten(2) - mean) + colours[:, :, 3:]).view_as(photo).clamp(0, 1)


def palette(style: Tensor) -> tuple[Tensor, Tensor]:
    """The square root of the covariance of a style's RGB beside its mean, ``(N, 3, 4)``, and the inverse of the root.

    As in use (:func:`minimoto.engines.style_colour.palette`).
    """
    mean, covariance = statistics(style)
    covariance = covariance + 1e-4 * torch.eye(3, device=style.device)
    forth, back = root(covariance)
    return torch.cat([forth.float(), mean], 2), back.float()


def plain(picture: Tensor, colours: tuple[Tensor, Tensor]) -> Tensor:
    """``picture``, which has the colours of a style, without them: mean 0 and deviation 1, none like the other."""
    (forth, back) = colours
    return (back @ (picture.flatten(2) - forth[:, :, 3:])).view_as(picture)


def style_loss(found: Features, wanted: dict[str, Tensor]) -> Tensor:
    """Squared distances of Gram matrices over the squared size of the wanted ones, summed over layers: ``(N,)``."""
    layers = [((gram(found[n]) - g) ** 2).sum((1, 2)) / (g**2).sum((1, 2)) for n, g in wanted.items()]
    return torch.stack(layers).sum(0)


def sizes(grams: Tensor) -> Tensor:
    """Squared sizes of Gram matrices ``(N, C, C)``."""
    return grams.square().sum((1, 2))


def style_distances(own: dict[str, Tensor], grams: dict[str, Tensor]) -> Tensor:
    """The :func:`style_loss` of pictures, by their Gram matrices ``(N, C, C)``, to each of S styles: ``(N, S)``.

    By squares and products, so that no difference of every pair is held. In single precision that loses 1e-6 of the
    squares, and paintings are far from their styles: 0.01 and more.
    """
    layers = []
    for name, g in grams.items():
        mine, size = own[name].float(), sizes(g)
        products = mine.flatten(1) @ g.flatten(1).T
        layers.append((sizes(mine)[:, None] - 2 * products + size) / size)
    return torch.stack(layers).sum(0)


def content_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared distance of features over their squared size: ``(N,)``."""
    wanted = wanted.float()
    return ((found.float() - wanted) ** 2).sum((1, 2, 3)) / (wanted**2).sum((1, 2, 3))


def lattice(picture: Tensor, period: int = 8) -> Tensor:
    """Energy of the pattern of ``period`` pixels that is the same all over each picture: a grid, not a stroke."""
    fine = picture - functional.avg_pool2d(picture, 5, stride=1, padding=2, count_include_pad=False)
    count, channels, height, width = picture.shape
    rows, columns = height // period, width // period
    cells = fine[:, :, : rows * period, : columns * period].reshape(count, channels, rows, period, columns, period)
    return cells.mean((2, 4)).square().mean()


def variation(picture: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels."""
    down = (picture[:, :, 1:] - picture[:, :, :-1]) ** 2
    right = (picture[:, :, :, 1:] - picture[:, :, :, :-1]) ** 2
    return down.mean() + right.mean()
