"""The pictures that ``training.upscale`` learns from and is measured on: read, shrunk, and held on the device.

Photos are decoded by a pool of threads once and stay on the device as bytes; the pairs of each factor are made there
when its turn comes, MATLAB's bicubic being two products by matrices.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from minimoto.engines.upscale_net import UpscaleNet
from training.bicubic import imresize, taps

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
CLEANER = 0.8
"""How much of its size a photo may keep at most for the traces of JPEG to fade."""
LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601-7, section 2.5.1, full range."""


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Y of BT.601 in its studio range, 16..235, as MATLAB's ``rgb2ycbcr`` and every published figure have it."""
    return np.asarray(16 + rgb.astype(np.float32) @ np.array([65.481, 128.553, 24.966], np.float32) / 255, np.float32)


def read(path: Path) -> NDArray[np.uint8]:
    """A picture as ``(h, w, 3)`` RGB."""
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))


def pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in order."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)


@functools.lru_cache(maxsize=64)
def _matrix(length: int, scale: float, device: torch.device) -> Tensor:
    """What resizes a column of ``length`` as :func:`training.bicubic.imresize` does, ``(out, length)``."""
    index, weight = taps(length, scale)
    matrix = np.zeros((len(index), length), np.float32)
    np.add.at(matrix, (np.arange(len(index))[:, None], index), weight)
    return torch.from_numpy(matrix).to(device)


def resized(picture: Tensor, scale: float) -> Tensor:
    """A picture ``(..., h, w)``, float32, resized by ``scale``, not rounded and not clipped, on its own device."""
    height, width = picture.shape[-2:]
    rows = _matrix(height, scale, picture.device) @ picture
    return rows @ _matrix(width, scale, picture.device).t()


def _bytes(picture: Tensor) -> Tensor:
    """Rounded and clipped to 0..255 as files are, still float32."""
    return picture.round().clamp(0, 255)


def scale_of(shrink: str, longest: int) -> float:
    """By how much a photo is resized: ``1.5`` shrinks it by so much, ``800px`` to so many pixels on its longest side.

    0 if the photo, of ``longest`` pixels, is too small for it to be any cleaner for being shrunk.

    Raises:
        ValueError: it is no number.
    """
    if shrink.endswith("px"):
        scale = float(shrink.removesuffix("px")) / longest
        return scale if scale <= CLEANER else 0.0
    return 1 / float(shrink)


def read_photos(folders: Iterable[str], device: torch.device) -> list[Tensor]:
    """Every photo of the folders, ``FOLDER`` or ``FOLDER:SHRINK`` (:func:`scale_of`), ``(3, h, w)`` uint8.

    Raises:
        ValueError: a folder's SHRINK is no number.
        OSError: a folder or a picture cannot be read.
    """
    photos = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for folder in folders:
            name, _, shrink = folder.partition(":")
            for rgb in pool.map(read, pictures(Path(name))):
                photo = torch.from_numpy(rgb).to(device).permute(2, 0, 1).contiguous()
                scale = scale_of(shrink, max(rgb.shape[:2])) if shrink else 1.0
                if scale:
                    photos.append(_bytes(resized(photo.float(), scale)).byte() if shrink else photo)
    return photos


def _luma(rgb: Tensor) -> Tensor:
    """The luma ``(h, w)`` of ``(3, h, w)``, not rounded: what is enlarged is the luma of 8-bit colours."""
    red, green, blue = (share * plane for share, plane in zip(LUMA, rgb.unbind(), strict=True))
    return red + green + blue


@dataclass(frozen=True)
class Pairs:
    """The luma of all pictures, small and large, flat on the device, one picture after the other, row by row.

    Parameters:
        factor: 2, 3 or 4: how many times as wide and high the large ones are.
        small, large: float16, 0..1; the large picture's first pixel lies at ``factor^2`` times that of the small.
        missed: summed-area tables, ``(h + 1, w + 1)`` for each picture, float32, of what bicubic enlargement misses at
            the small picture's pixels (the mean distance, 0..255): the sum over any patch is that of four of them.
        first, first_sum: where each picture begins in ``small`` and in ``missed``.
        height, width: of the small pictures.
    """

    factor: int
    small: Tensor
    large: Tensor
    missed: Tensor
    first: Tensor
    first_sum: Tensor
    height: Tensor
    width: Tensor


def pair(photo: Tensor, factor: int) -> tuple[Tensor, Tensor, Tensor]:
    """The small ``(h, w)`` and the large luma, 0..255, and the summed-area table of one photo; see :class:`Pairs`.

    The colours are shrunk and rounded, as files are, before luma is taken of both.
    """
    h, w = photo.shape[1] // factor, photo.shape[2] // factor
    rgb = photo[:, : h * factor, : w * factor].float()
    small, large = _luma(_bytes(resized(rgb, 1 / factor))), _luma(rgb)
    missed = (resized(small, factor) - large).abs().view(h, factor, w, factor).mean(dim=(1, 3))
    sums = torch.nn.functional.pad(missed.double().cumsum(0).cumsum(1).float(), (1, 0, 1, 0))
    return small, large, sums


def shifts(factor: int, count: int) -> list[tuple[int, int]]:
    """How many rows and columns of a photo are left out at first, ``count`` ways, ``factor**2`` at most.

    A photo that is shrunk from another first pixel on has other small pixels: it is another example. Every row and
    every column comes once before any comes again.
    """
    return [(n % factor, (n + n // factor) % factor) for n in range(min(count, factor * factor))]


def make_pairs(photos: Iterable[Tensor], factor: int, patch: int, shifted: int = 1) -> Pairs:
    """The pairs of every photo that is large enough for a patch of ``patch`` small pixels a side.

    Parameters:
        shifted: pairs of each photo, shrunk from as many first pixels on (:func:`shifts`).

    Raises:
        ValueError: none of them is.
    """
    moved = (photo[:, top:, left:] for photo in photos for top, left in shifts(factor, shifted))
    made = [pair(photo, factor) for photo in moved if min(photo.shape[1:]) >= (patch + 1) * factor]
    if not made:
        raise ValueError(f"no photo is large enough for patches of {patch} pixels enlarged by {factor}")
    device = made[0][0].device
    sizes = np.array([small.shape for small, _, _ in made], np.int64)

    def starts(counts: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(np.concatenate([[0], np.cumsum(counts)[:-1]])).to(device)

    def flat(which: int) -> Tensor:
        return torch.cat([(p[which] / 255).half().flatten() for p in made])

    height, width = torch.from_numpy(sizes).to(device).unbind(1)
    return Pairs(
        factor, flat(0), flat(1), torch.cat([sums.flatten() for _, _, sums in made]),
        starts(sizes.prod(1)), starts((sizes + 1).prod(1)), height.contiguous(), width.contiguous(),
    )  # fmt: skip


def psnr(a: Tensor, b: Tensor, border: int) -> float:
    """The PSNR in dB of two pictures ``(h, w)`` of 0..255, without ``border`` pixels on each side."""
    inner = (slice(border, -border), slice(border, -border))
    return float(10 * torch.log10(255**2 / (a[inner].double() - b[inner]).square().mean()))


@dataclass(frozen=True)
class Measured:
    """A picture to measure on: small luma ``(1, 1, h, w)`` and its bicubic enlargement, 0..1, and the wanted one."""

    small: Tensor
    spread: Tensor
    wanted: Tensor


def read_measured(folder: Path, factor: int, device: torch.device) -> list[Measured]:
    """The folder's pictures, shrunk by MATLAB's bicubic, as every published figure is made."""
    found = []
    for path in pictures(folder):
        rgb = read(path)
        rgb = rgb[: rgb.shape[0] // factor * factor, : rgb.shape[1] // factor * factor]
        small = np.clip(np.rint(imresize(rgb.astype(np.float32), 1 / factor)), 0, 255)
        y = np.asarray(small @ np.array(LUMA, np.float32) / 255, np.float32)
        spread = cv2.resize(y, rgb.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        on = [torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in (y[None, None], spread, luma(rgb))]
        found.append(Measured(*on))
    return found


@torch.no_grad()
def evaluate(network: UpscaleNet, measured: list[Measured], factor: int) -> float:
    """The mean PSNR-Y in dB, borders of ``factor`` pixels cropped; the network is on the pictures' device."""
    figures = []
    # Trying every algorithm for each size of picture would take longer than the pictures.
    tried, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    for picture in measured:
        enlarged = network(picture.small)[0, 0] + picture.spread
        # The full-range luma of the network, brought to the studio range of the published figures.
        figures.append(psnr(16 + enlarged.clamp(0, 1) * 219, picture.wanted, factor))
    torch.backends.cudnn.benchmark = tried
    return float(np.mean(figures))
