"""The perceptual losses and their gradient with respect to the pictures, by the compiled kernels of ``optimise``.

As :mod:`training.style_losses` computes them by torch; on a CPU without bfloat16 in a third of its time.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from minimoto.engines.vgg import LEVELS, MEAN, Vgg, load_vgg
from minimoto.engines.vgg_winograd import WinogradFeatures
from minimoto.engines.winograd import Kernels
from training.style_losses import CONTENT, LAYERS, Aim, Judged, sizes, style_distances


class CompiledJudge:
    """VGG16, which looks at one picture after the other.

    Parameters:
        weights: safetensors with torchvision's names.
    """

    def __init__(self, weights: Path, kernels: Kernels) -> None:
        vgg = load_vgg(weights, "vgg16")
        vgg = Vgg(tuple(replace(layer, bias=layer.bias / LEVELS) for layer in vgg.layers))
        self._mean = torch.tensor(MEAN)
        self._all = WinogradFeatures(vgg, LAYERS, "max", kernels)
        self._content = WinogradFeatures(vgg, (CONTENT,), "max", kernels)

    def grams(self, pictures: Tensor) -> dict[str, Tensor]:
        """As :meth:`training.style_losses.Perception.grams`."""
        each = []
        for picture in pictures:
            found = self._all.forward(self._pixels(picture), gradient=False)
            each.append({name: self._all.gram(f) / (f.shape[0] * f.shape[1]) for name, f in found.items()})
        return {name: torch.stack([found[name] for found in each]) for name in LAYERS}

    def judge(self, pictures: Tensor, photos: Tensor, grams: dict[str, Tensor], aim: Aim, weights: Tensor) -> Judged:
        """As :meth:`training.style_losses.Perception.judge`."""
        gradient = torch.empty_like(pictures)
        losses = torch.empty(2, len(pictures))
        count = len(grams[CONTENT])
        for i, (picture, photo) in enumerate(zip(pictures, photos, strict=True)):
            wanted = self._content.forward(self._pixels(photo), gradient=False)[CONTENT]
            found = self._all.forward(self._pixels(picture))
            own = {n: self._all.gram(f) / (f.shape[0] * f.shape[1]) for n, f in found.items()}
            styles = style_distances({n: g[None] for n, g in own.items()}, grams)[0]
            mine = i * count // len(pictures)
            style, others = styles[mine], float(styles.sum() - styles[mine]) / max(1, count - 1)
            away = found[CONTENT] - wanted
            norm = wanted.square().sum()
            losses[0, i], losses[1, i] = style, away.square().sum() / norm
            pull, push = aim.slopes(float(style), others)
            shares = torch.full_like(styles, push / max(1, count - 1))
            shares[mine] = pull
            for name, features in found.items():
                pixels = features.shape[0] * features.shape[1]
                scaled = shares / sizes(grams[name])
                error = own[name] * scaled.sum() - torch.einsum("n,nij->ij", scaled, grams[name])
                self._all.product(features, error * (4 / pixels), features)
            found[CONTENT].add_(away, alpha=float(2 * weights[i] / norm))
            gradient[i] = self._all.backward(found).permute(2, 0, 1)
        return losses[0], losses[1], gradient / len(pictures)

    def _pixels(self, picture: Tensor) -> Tensor:
        return (picture.permute(1, 2, 0) - self._mean).contiguous()
