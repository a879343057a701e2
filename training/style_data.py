"""The pictures that the ``fast`` style is trained on, and what is kept of each style once it was computed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from minimoto.engines.style_net import STYLE_SIZE
from training.style_losses import palette

KEPT_BACK = 17
"""Every 17th style and every 17th photo is never trained on."""
PHOTO_SIZE = 320
"""Pixels of the shorter side of the photos that crops are taken of."""
PHOTO_LONGER = 480
"""Pixels of their longer side that are used: those in the middle."""

_LEAST_SIDE = 200
"""Pixels of a style picture that its further crops have at least a side, before they are brought to STYLE_SIZE."""
_ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}


def read(path: Path, shorter: int) -> Tensor:
    """The picture at ``path``, ``(3, H, W)`` uint8, its shorter side ``shorter`` pixels."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    scale = shorter / min(image.size)
    size = (max(shorter, round(image.width * scale)), max(shorter, round(image.height * scale)))
    return torch.from_numpy(np.asarray(image.resize(size, Image.Resampling.LANCZOS)).copy()).permute(2, 0, 1)


def read_all(paths: Sequence[Path], shorter: int) -> list[Tensor]:
    """As :func:`read`, several at a time."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return list(threads.map(partial(read, shorter=shorter), paths))


def listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """Pictures of ``folder`` to train on, and those kept back: the same ones if all are saved in another format."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in _ENDINGS)
    pictures = sorted(found, key=lambda p: (p.with_suffix(".jpg"), p))
    return [p for i, p in enumerate(pictures) if i % KEPT_BACK], pictures[::KEPT_BACK]


class Photos:
    """Crops of photos, anywhere in them, from a little enlarged to all of their shorter side.

    Parameters:
        pictures: ``(3, H, W)`` uint8 each.
        device: where they are kept, one beside the other, and cropped.
    """

    def __init__(self, pictures: Iterable[Tensor], device: torch.device) -> None:
        middles = [_middle(picture) for picture in pictures]
        self.sizes = [(int(p.shape[1]), int(p.shape[2])) for p in middles]
        height, width = (max(size[i] for size in self.sizes) for i in range(2))
        self._sheet = torch.empty(len(middles), 3, height, width, dtype=torch.uint8)
        for room, picture, (rows, columns) in zip(self._sheet, middles, self.sizes, strict=True):
            # Going on with the last row and column: what lies half a pixel over the edge is asked for too.
            room[:, :rows, :columns] = picture
            room[:, rows:, :columns] = picture[:, -1:]
            room[:, :, columns:] = room[:, :, columns - 1 : columns]
        self._sheet = self._sheet.to(device)

    def draw(self, count: int, size: int, choice: random.Random) -> tuple[Tensor, Tensor]:
        """For ``count`` crops of ``size`` pixels a side: which photos, ``(N,)``, and where in them, ``(N, 2, 3)``."""
        chosen = choice.choices(range(len(self.sizes)), k=count)
        return torch.tensor(chosen), torch.tensor([self._place(self.sizes[index], size, choice) for index in chosen])

    def crops(self, index: Tensor, places: Tensor, size: int) -> Tensor:
        """What was drawn, ``(N, 3, size, size)``, 0..1."""
        # Two samples a pixel, and their mean: photos are reduced by less than 2.
        grid = functional.affine_grid(places, [len(index), 3, 2 * size, 2 * size], False)
        fine = functional.grid_sample(self._sheet[index].float() / 255, grid, "bilinear", "border", align_corners=False)
        return functional.avg_pool2d(fine, 2)

    def _place(self, extent: tuple[int, int], size: int, choice: random.Random) -> list[list[float]]:
        """A crop's place on the sheet of a photo of ``extent`` rows and columns, as ``affine_grid`` asks for it."""
        shorter = min(extent)
        side = choice.randint(min(size * 3 // 4, shorter), shorter)
        top, left = choice.randint(0, extent[0] - side), choice.randint(0, extent[1] - side)
        height, width = self._sheet.shape[2:]
        turn = -1 if choice.random() < 0.5 else 1
        return [
            [turn * side / width, 0, (2 * left + side) / width - 1],
            [0, side / height, (2 * top + side) / height - 1],
        ]


def _middle(picture: Tensor) -> Tensor:
    top, left = (max(0, (side - PHOTO_LONGER) // 2) for side in picture.shape[1:])
    return picture[:, top : top + PHOTO_LONGER, left : left + PHOTO_LONGER]


def skies(crops: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """``crops`` ``(N, 3, H, W)``, of which a ``share`` is plain, and which of them are: ``(N,)``, bool.

    Plain ones are a gradient of the crop's own colours, softer than they are, with a little noise; every other one ends
    at a slanting line, below which the crop goes on. On photos alone, flat parts are too rare to learn from.
    """
    count, _, height, width = crops.shape
    chance = torch.rand(5, count, 1, 1, 1, device=crops.device)
    few = functional.adaptive_avg_pool2d(crops, 3)
    middle = few.mean((2, 3), keepdim=True)
    few = middle + (few - middle) * chance[0]
    noise = torch.randn_like(crops) * (0.012 * chance[1])
    sky = functional.interpolate(few, (height, width), mode="bicubic", align_corners=False) + noise
    down = torch.linspace(0, 1, height, device=crops.device)[:, None]
    right = torch.linspace(-0.5, 0.5, width, device=crops.device)
    above = down < 0.4 + 0.4 * chance[2] + (chance[3] - 0.5) * right
    all_of_it = chance[4] < share / 2
    plain = chance[4] < share
    return torch.where(plain & (above | all_of_it), sky.clamp(0, 1), crops), plain.flatten()


@dataclass(frozen=True)
class Looks:
    """What is kept of crops of style pictures.

    Parameters:
        crops: ``(N, 3, 256, 256)``, 0..1; uint8 while they are kept.
        colours: the :func:`training.style_losses.palette`, ``(N, 3, 4)`` and ``(N, 3, 3)``.
        grams: by layer, ``(N, C, C)``; bfloat16 while they are kept.
    """

    crops: Tensor
    colours: tuple[Tensor, Tensor]
    grams: dict[str, Tensor]

    @classmethod
    def joined(cls, parts: Sequence[Looks]) -> Looks:
        """Those of all parts, one after the other."""
        return cls(
            torch.cat([part.crops for part in parts]),
            (torch.cat([part.colours[0] for part in parts]), torch.cat([part.colours[1] for part in parts])),
            {name: torch.cat([part.grams[name] for part in parts]) for name in parts[0].grams},
        )

    def chosen(self, numbers: Tensor) -> Looks:
        """Some of them, ``(S,)``."""
        forth, back = self.colours
        grams = {name: found[numbers] for name, found in self.grams.items()}
        return Looks(self.crops[numbers], (forth[numbers], back[numbers]), grams)

    def widened(self) -> Looks:
        """The same, as they are used: float32."""
        return Looks(
            self.crops.float() / 255, self.colours, {name: found.float() for name, found in self.grams.items()}
        )


@dataclass
class Styles:
    """Crops of style pictures; a picture has a few fixed ones, of which everything is computed once and kept.

    Parameters:
        pictures, times: ``(3, H, W)`` uint8 each, and how often it is shown against the others.
        grams: Gram matrices of pictures ``(N, 3, H, W)``, by layer.
        kinds: crops of each: two as they are, all further ones stretched, turned or in other colours.
    """

    pictures: list[Tensor]
    times: list[int]
    grams: Callable[[Tensor], dict[str, Tensor]]
    kinds: int
    kept: dict[int, Looks] = field(default_factory=dict)
    _all: Looks | None = None

    def prepare(self) -> None:
        """Compute all that is kept now, many at a time, and lay it side by side: for a GPU."""
        numbers = list(range(len(self.pictures) * self.kinds))
        parts = [self._computed(numbers[begin : begin + 32]) for begin in range(0, len(numbers), 32)]
        self._all = Looks.joined(parts)

    def draw(self, count: int, choice: random.Random) -> Tensor:
        """The numbers of ``count`` styles: those of their pictures times ``kinds``, and which crop."""
        chosen = choice.choices(range(len(self.pictures)), self.times, k=count)
        return torch.tensor([index * self.kinds + choice.randrange(self.kinds) for index in chosen])

    def looks(self, numbers: Tensor) -> Looks:
        """What was drawn; once all is prepared, on its device and without a word to the host."""
        if self._all is not None:
            return self._all.chosen(numbers).widened()
        chosen = numbers.tolist()
        for number in chosen:
            if number not in self.kept:
                self.kept[number] = self._computed([number])
        return Looks.joined([self.kept[number] for number in chosen]).widened()

    def _computed(self, numbers: Sequence[int]) -> Looks:
        crops = torch.stack([self._crop(*divmod(number, self.kinds)) for number in numbers])
        real = crops.float() / 255
        return Looks(crops, palette(real), {name: found.bfloat16() for name, found in self.grams(real).items()})

    def _crop(self, index: int, crop: int) -> Tensor:
        place = random.Random(index * 1013 + crop)
        picture = self.pictures[index]
        further = crop > 1
        height, width = (place.randint(_LEAST_SIDE, side) if further else STYLE_SIZE for side in picture.shape[1:])
        top, left = place.randint(0, picture.shape[1] - height), place.randint(0, picture.shape[2] - width)
        part = picture[:, top : top + height, left : left + width]
        if further:
            part = _changed(part, place)
        return part.flip(2) if crop % 2 else part


def _changed(part: Tensor, place: random.Random) -> Tensor:
    """``(3, H, W)`` uint8 brought to the size of a style, turned and in other colours by chance."""
    size = (STYLE_SIZE, STYLE_SIZE)
    part = functional.interpolate(part[None].float(), size, mode="bilinear", antialias=True)[0].round().byte()
    part = part.transpose(1, 2) if place.random() < 0.5 else part
    part = part.flip(1) if place.random() < 0.5 else part
    return part[place.sample(range(3), 3)] if place.random() < 0.25 else part
