"""The pictures that the ``fast`` style is trained on, and what is kept of each once it was computed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from minimoto.engines.style_net import STYLE_SIZE
from training.style_losses import CONTENT, Perception, gram

KEPT_BACK = 17
"""Every 17th style and every 17th photo is never trained on."""


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
    """Crops of photos; a photo has a few fixed ones, whose content features are kept."""

    pictures: list[Tensor]
    perception: Perception
    size: int
    crops: int

    def __post_init__(self) -> None:
        self.kept: dict[tuple[int, int], Tensor] = {}

    def batch(self, count: int, choice: random.Random) -> tuple[Tensor, list[Tensor]]:
        """``count`` crops ``(N, 3, size, size)`` and their content features."""
        keys = [(choice.randrange(len(self.pictures)), choice.randrange(self.crops)) for _ in range(count)]
        crops = [self._crop(*key) for key in keys]
        for key, crop in zip(keys, crops, strict=True):
            if key not in self.kept:
                self.kept[key] = self.perception.features(crop)[CONTENT].half()
        return torch.stack(crops), [self.kept[key].float() for key in keys]

    def _crop(self, index: int, crop: int) -> Tensor:
        place = random.Random(index * 1009 + crop)
        picture = self.pictures[index]
        shorter = min(picture.shape[1:])
        side = place.randint(min(self.size, shorter), shorter)
        top, left = place.randint(0, picture.shape[1] - side), place.randint(0, picture.shape[2] - side)
        part = picture[None, :, top : top + side, left : left + side].float() / 255
        part = functional.interpolate(part, (self.size, self.size), mode="bilinear", antialias=True)[0]
        return part.flip(2) if place.random() < 0.5 else part


@dataclass
class Styles:
    """Crops of style pictures, whose Gram matrices are kept."""

    pictures: list[Tensor]
    perception: Perception
    crops: int

    def __post_init__(self) -> None:
        self.kept: dict[tuple[int, int], dict[str, Tensor]] = {}

    def batch(self, count: int, choice: random.Random) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """``count`` styles ``(N, 3, 256, 256)`` and their Gram matrices."""
        keys = [(choice.randrange(len(self.pictures)), choice.randrange(self.crops)) for _ in range(count)]
        crops = [self._crop(*key) for key in keys]
        for key, crop in zip(keys, crops, strict=True):
            if key not in self.kept:
                # Products of features in steps of 1/255 go beyond what half floats can hold.
                self.kept[key] = {n: gram(f).bfloat16() for n, f in self.perception.features(crop).items()}
        return torch.stack(crops), [{n: g.float() for n, g in self.kept[key].items()} for key in keys]

    def _crop(self, index: int, crop: int) -> Tensor:
        place = random.Random(index * 1013 + crop)
        picture = self.pictures[index]
        height, width = picture.shape[1:]
        top, left = place.randint(0, height - STYLE_SIZE), place.randint(0, width - STYLE_SIZE)
        part = picture[:, top : top + STYLE_SIZE, left : left + STYLE_SIZE].float() / 255
        return part.flip(2) if crop % 2 else part
