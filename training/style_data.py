"""The pictures that the ``fast`` style is trained on, and what is kept of each style once it was computed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from minimoto.engines.style_net import STYLE_SIZE

KEPT_BACK = 17
"""Every 17th style and every 17th photo is never trained on."""
PHOTO_SIZE = 320
"""Pixels of the shorter side of the photos that crops are taken of."""


def read(path: Path, shorter: int) -> Tensor:
    """The picture at ``path``, ``(3, H, W)`` uint8, its shorter side ``shorter`` pixels."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    scale = shorter / min(image.size)
    size = (max(shorter, round(image.width * scale)), max(shorter, round(image.height * scale)))
    return torch.from_numpy(np.asarray(image.resize(size, Image.Resampling.LANCZOS)).copy()).permute(2, 0, 1)


def listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """Pictures of ``folder`` to train on, and those kept back."""
    pictures = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    return [p for i, p in enumerate(pictures) if i % KEPT_BACK], pictures[::KEPT_BACK]


@dataclass
class Photos:
    """Crops of photos, anywhere in them, from a little enlarged to all of their shorter side."""

    pictures: list[Tensor]

    def batch(self, count: int, size: int, choice: random.Random) -> Tensor:
        """``count`` crops ``(N, 3, size, size)``."""
        return torch.stack([self._crop(size, choice) for _ in range(count)])

    def _crop(self, size: int, choice: random.Random) -> Tensor:
        picture = choice.choice(self.pictures)
        shorter = min(picture.shape[1:])
        side = choice.randint(min(size * 3 // 4, shorter), shorter)
        top, left = choice.randint(0, picture.shape[1] - side), choice.randint(0, picture.shape[2] - side)
        part = picture[None, :, top : top + side, left : left + side].float() / 255
        part = functional.interpolate(part, (size, size), mode="bilinear", antialias=True)[0]
        return part.flip(2) if choice.random() < 0.5 else part


@dataclass
class Styles:
    """Crops of style pictures; a picture has a few fixed ones, whose Gram matrices are kept.

    Parameters:
        pictures, times: ``(3, H, W)`` uint8 each, and how often it is shown against the others.
        grams: Gram matrices of a picture ``(3, H, W)``, by layer.
        kinds: crops of each.
    """

    pictures: list[Tensor]
    times: list[int]
    grams: Callable[[Tensor], dict[str, Tensor]]
    kinds: int
    kept: dict[tuple[int, int], dict[str, Tensor]] = field(default_factory=dict)

    def batch(self, count: int, choice: random.Random) -> tuple[Tensor, dict[str, Tensor]]:
        """``count`` styles ``(N, 3, 256, 256)`` and their Gram matrices ``(N, C, C)`` by layer."""
        chosen = choice.choices(range(len(self.pictures)), self.times, k=count)
        keys = [(index, choice.randrange(self.kinds)) for index in chosen]
        crops = [self._crop(*key) for key in keys]
        for key, crop in zip(keys, crops, strict=True):
            if key not in self.kept:
                self.kept[key] = {name: found.bfloat16() for name, found in self.grams(crop).items()}
        names = self.kept[keys[0]]
        return torch.stack(crops), {n: torch.stack([self.kept[key][n].float() for key in keys]) for n in names}

    def _crop(self, index: int, crop: int) -> Tensor:
        place = random.Random(index * 1013 + crop)
        picture = self.pictures[index]
        height, width = picture.shape[1:]
        top, left = place.randint(0, height - STYLE_SIZE), place.randint(0, width - STYLE_SIZE)
        part = picture[:, top : top + STYLE_SIZE, left : left + STYLE_SIZE].float() / 255
        return part.flip(2) if crop % 2 else part
