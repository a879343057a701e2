"""The pictures that ``training.upscale`` learns from, as pairs of small and large luma held in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from minimoto.engines.upscale_net import UpscaleNet
from training.bicubic import imresize

PICTURES = {".png", ".jpg", ".jpeg", ".bmp"}
BLOCK = 8
CANDIDATES = 4


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Y of BT.601 in its studio range, 16..235, as MATLAB's ``rgb2ycbcr`` and every published figure have it."""
    return np.asarray(16 + rgb.astype(np.float32) @ np.array([65.481, 128.553, 24.966], np.float32) / 255, np.float32)


def read(path: Path) -> NDArray[np.uint8]:
    """A picture as ``(h, w, 3)`` RGB."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in order."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)


@dataclass(frozen=True)
class Pair:
    """A picture's luma small and large, rounded to 8 bits as files are, and how hard each block is for bicubic."""

    small: NDArray[np.uint8]
    large: NDArray[np.uint8]
    hardness: NDArray[np.float32]


def _pair(rgb: NDArray[np.uint8], factor: int) -> Pair:
    """Shrink the colours, as files are shrunk, and take luma of both; luma here is full range, 0..255."""
    h, w = rgb.shape[0] // factor * factor, rgb.shape[1] // factor * factor
    large = rgb[:h, :w]
    small = np.clip(np.rint(imresize(large.astype(np.float32), 1 / factor)), 0, 255)
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    y_small, y_large = small @ weights, large.astype(np.float32) @ weights
    missed = np.abs(imresize(y_small, factor) - y_large)
    step = BLOCK * factor
    blocks = missed[: h // step * step, : w // step * step].reshape(h // step, step, w // step, step).mean(axis=(1, 3))
    return Pair(np.rint(y_small).astype(np.uint8), np.rint(y_large).astype(np.uint8), blocks.astype(np.float32))


def read_pairs(
    folders: Iterable[str], factor: int, patch: int, resize: Callable[..., NDArray[np.float32]]
) -> list[Pair]:
    """Read every photo of the folders (``FOLDER`` or ``FOLDER:SHRINK``) that is large enough for a patch."""
    pairs = []
    for folder in folders:
        name, _, shrink = folder.partition(":")
        for path in pictures(Path(name)):
            rgb = read(path)
            if shrink:
                rgb = np.clip(np.rint(resize(rgb.astype(np.float32), 1 / float(shrink))), 0, 255).astype(np.uint8)
            if min(rgb.shape[:2]) >= (patch + 1) * factor:
                pairs.append(_pair(rgb, factor))
    return pairs


class Patches:
    """Draws batches of patches, turned and mirrored, more often where bicubic fails than where anything would do."""

    def __init__(self, pairs: list[Pair], factor: int, patch: int, batch: int, rng: np.random.Generator) -> None:
        """``patch`` is the side of the small patch in pixels."""
        self._pairs, self._factor, self._patch, self._batch, self._rng = pairs, factor, patch, batch, rng
        sizes = np.array([p.small.size for p in pairs], np.float64)
        self._chance = np.cumsum(sizes / sizes.sum())

    def _candidate(self) -> tuple[float, Pair, int, int]:
        pair = self._pairs[min(int(np.searchsorted(self._chance, self._rng.random())), len(self._pairs) - 1)]
        h, w = pair.small.shape
        top, left = int(self._rng.integers(h - self._patch + 1)), int(self._rng.integers(w - self._patch + 1))
        rows, columns = (
            slice(top // BLOCK, (top + self._patch) // BLOCK),
            slice(left // BLOCK, (left + self._patch) // BLOCK),
        )
        return float(pair.hardness[rows, columns].mean()), pair, top, left

    def _one(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        _, pair, top, left = max(
            (self._candidate() for _ in range(int(self._rng.integers(1, CANDIDATES + 1)))), key=lambda c: c[0]
        )
        s, p = self._factor, self._patch
        small = pair.small[top : top + p, left : left + p]
        large = pair.large[s * top : s * (top + p), s * left : s * (left + p)]
        turns, mirror = int(self._rng.integers(4)), bool(self._rng.integers(2))
        small, large = np.rot90(small, turns), np.rot90(large, turns)
        return (small[:, ::-1], large[:, ::-1]) if mirror else (small, large)

    def draw(self) -> tuple[Tensor, Tensor]:
        """Small ``(batch, 1, p, p)`` and large ``(batch, 1, s * p, s * p)``, 0..1."""
        both = [self._one() for _ in range(self._batch)]
        small, large = (np.stack([np.ascontiguousarray(b[i]) for b in both])[:, None] for i in (0, 1))
        return torch.from_numpy(small).float() / 255, torch.from_numpy(large).float() / 255


def psnr(a: NDArray[np.float32], b: NDArray[np.float32], border: int) -> float:
    """The PSNR in dB of two pictures of 0..255, without ``border`` pixels on each side."""
    inner = (slice(border, -border), slice(border, -border))
    return float(10 * np.log10(255**2 / np.mean((a[inner].astype(np.float64) - b[inner]) ** 2)))


@torch.no_grad()
def evaluate(network: UpscaleNet, folder: Path, factor: int) -> float:
    """The mean PSNR-Y of the folder's pictures, shrunk by MATLAB's bicubic and enlarged again, borders cropped."""
    figures = []
    for path in pictures(folder):
        rgb = read(path)
        rgb = rgb[: rgb.shape[0] // factor * factor, : rgb.shape[1] // factor * factor]
        small = np.clip(np.rint(imresize(rgb.astype(np.float32), 1 / factor)), 0, 255)
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        y = np.asarray(small @ weights / 255, np.float32)
        missed = network(torch.from_numpy(y)[None, None])[0, 0].numpy()
        enlarged = missed + cv2.resize(y, missed.shape[::-1], interpolation=cv2.INTER_CUBIC)
        # The full-range luma of the network, brought to the studio range of the published figures.
        studio = 16 + np.clip(enlarged, 0, 1) * 219
        figures.append(psnr(studio, luma(rgb), factor))
    return float(np.mean(figures))
