"""What the training and the measuring of the ``fast`` style look at: VGG16's features, Gram matrices and colours.

Perceptual losses of Johnson et al. (2016) under VGG16: content at relu3_3, Gram matrices at relu1_2, relu2_2, relu3_3
and relu4_3. Each layer's distance is divided by the size of what it is measured from, so that pale and strong styles
count alike.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from minimoto.engines.vgg import LEVELS, MEAN, load_vgg
from minimoto.engines.vgg_torch import TorchFeatures
from minimoto.engines.vgg_winograd import WinogradFeatures
from minimoto.engines.winograd import kernels

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
"""Whose Gram matrices are the style."""
CONTENT = "relu3_3"


class Perception:
    """VGG16's features of one picture, and the gradient that losses of them have at the picture.

    On a CPU with a C compiler by the compiled Winograd kernels, which take a third of torch's time or less.

    Parameters:
        weights: safetensors with torchvision's names.
        threads: of the kernels.
        device: where torch computes, if it is not the CPU.
    """

    def __init__(self, weights: Path, threads: int, device: torch.device) -> None:
        network = load_vgg(weights, "vgg16")
        found = kernels(threads) if device.type == "cpu" else None
        self.device = device
        self._features: WinogradFeatures | TorchFeatures = (
            WinogradFeatures(network, LAYERS, "max", found)
            if found
            else TorchFeatures(network, LAYERS, "max", device.type)
        )

    def features(self, picture: Tensor) -> dict[str, Tensor]:
        """Features ``(h, w, C)`` by layer of a picture ``(3, H, W)``, RGB 0..1."""
        return {n: f.clone() for n, f in self._features.forward(self._pixels(picture), gradient=False).items()}

    def gradient(self, picture: Tensor, loss: Callable[[dict[str, Tensor]], Tensor]) -> Tensor:
        """The gradient ``(3, H, W)`` at ``picture`` of what ``loss`` makes of its features."""
        found = self._features.forward(self._pixels(picture))
        leaves = {name: feature.detach().clone().requires_grad_() for name, feature in found.items()}
        gradients = torch.autograd.grad(loss(leaves), list(leaves.values()))
        at_pixels = self._features.backward(dict(zip(leaves, (g.contiguous() for g in gradients), strict=True)))
        return at_pixels.permute(2, 0, 1) * LEVELS

    def _pixels(self, picture: Tensor) -> Tensor:
        return (picture.detach().permute(1, 2, 0) - torch.tensor(MEAN, device=self.device)) * LEVELS


def gram(features: Tensor) -> Tensor:
    """``(h, w, C)`` to ``(C, C)``: mean products of channels."""
    flat = features.flatten(0, 1)
    return flat.T @ flat / flat.shape[0]


def statistics(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(N, 3, 1)`` and covariance ``(N, 3, 3)`` of the pixels of ``(N, 3, H, W)``."""
    flat = picture.flatten(2)
    mean = flat.mean(2, keepdim=True)
    centred = flat - mean
    return mean, centred @ centred.transpose(1, 2) / flat.shape[2] + 1e-4 * torch.eye(3)


def _root(matrix: Tensor, power: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix.double())
    return cast(Tensor, (vectors * values.clamp(min=1e-6)[:, None, :] ** power @ vectors.transpose(1, 2)).float())


def recolour(photo: Tensor, style: Tensor) -> Tensor:
    """The photo with the style's mean and covariance of RGB, by the least linear map (Monge-Kantorovich)."""
    (mean, covariance), (style_mean, style_covariance) = statistics(photo), statistics(style)
    root, inverse = _root(covariance, 0.5), _root(covariance, -0.5)
    change = inverse @ _root(root @ style_covariance @ root, 0.5) @ inverse
    return (change @ (photo.flatten(2) - mean) + style_mean).view_as(photo).clamp(0, 1)


def style_loss(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
    """Squared distances of Gram matrices over the squared size of the wanted ones, summed over layers."""
    return torch.stack([((gram(found[n]) - g) ** 2).sum() / (g**2).sum() for n, g in wanted.items()]).sum()


def content_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared distance of features over their squared size."""
    return ((found - wanted) ** 2).sum() / (wanted**2).sum()


def variation(picture: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels."""
    down = (picture[:, :, 1:] - picture[:, :, :-1]) ** 2
    right = (picture[:, :, :, 1:] - picture[:, :, :, :-1]) ** 2
    return down.mean() + right.mean()
