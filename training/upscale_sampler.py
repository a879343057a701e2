"""Draws batches of patches on the device, by arithmetic on indices alone: nothing waits for the host."""

from __future__ import annotations

import torch
from torch import Tensor

from training.upscale_data import Pairs

CANDIDATES = 4
MOST_GAIN = 4.0
"""Times that the contrast of a patch is raised at most."""


class Patches:
    """Draws batches of patches, turned and mirrored, more often where bicubic fails than where anything would do.

    Parameters:
        pairs: what is drawn from: a random picture by its area, and a random place in it.
        patch: the side of the small patch in pixels.
        batch: patches that are drawn at once.
        generator: of the random numbers; ``None`` for torch's own, which a CUDA graph replays with new numbers.
        contrast: the share of patches whose contrast is raised (:meth:`stretched`).
    """

    def __init__(
        self, pairs: Pairs, patch: int, batch: int, generator: torch.Generator | None = None, contrast: float = 0.0
    ) -> None:
        self.generator = generator
        self._contrast = contrast
        self._pairs, self._patch, self._batch = pairs, patch, batch
        area = (pairs.height * pairs.width).double()
        # Without the last, which rounding might leave below the largest random number.
        self._chance = (area.cumsum(0) / area.sum())[:-1].contiguous()
        device = pairs.small.device
        self._along = {side: torch.arange(side, device=device) for side in (patch, patch * pairs.factor)}
        self._number = torch.arange(CANDIDATES, device=device)[:, None]

    def _random(self, *shape: int, below: Tensor | int) -> Tensor:
        """Whole numbers from 0 to ``below`` - 1, ``shape``, int64."""
        device = self._pairs.small.device
        drawn = torch.rand(*shape, dtype=torch.float64, device=device, generator=self.generator)
        return (drawn * below).long()

    def places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Picture, top and left of each patch, ``(batch,)``: the hardest of one to four candidates."""
        pairs, p, shape = self._pairs, self._patch, (CANDIDATES, self._batch)
        device = self._chance.device
        drawn = torch.rand(*shape, dtype=torch.float64, device=device, generator=self.generator)
        picture = torch.searchsorted(self._chance, drawn, right=True)
        width = pairs.width[picture]
        top = self._random(*shape, below=pairs.height[picture] - p + 1)
        left = self._random(*shape, below=width - p + 1)
        corner, row = pairs.first_sum[picture] + top * (width + 1) + left, p * (width + 1)
        sums = pairs.missed
        hard = sums[corner + row + p] - sums[corner + row] - sums[corner + p] + sums[corner]
        count = 1 + self._random(self._batch, below=CANDIDATES)
        hardest = hard.masked_fill(self._number >= count, -1.0).argmax(0, keepdim=True)
        return picture.gather(0, hardest)[0], top.gather(0, hardest)[0], left.gather(0, hardest)[0]

    def cut(self, picture: Tensor, top: Tensor, left: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
        """The patches at these places, all ``(batch,)``, in the position 0..7 that ``turn`` has for each.

        ``turn``: 1 mirrors top and bottom, 2 left and right, 4 rows and columns (added up).
        """
        pairs, s = self._pairs, self._pairs.factor
        first, width = pairs.first[picture], pairs.width[picture]
        return (
            self._cut(pairs.small, first, width, (top, left), turn, self._patch),
            self._cut(pairs.large, first * s * s, width * s, (top * s, left * s), turn, self._patch * s),
        )

    def _cut(
        self, flat: Tensor, first: Tensor, width: Tensor, place: tuple[Tensor, Tensor], turn: Tensor, side: int
    ) -> Tensor:
        """``(batch, 1, side, side)``, float32: the index is linear in row and column, whatever the position."""
        down, across, swapped = turn & 1, (turn >> 1) & 1, turn >= 4
        corner = first + place[0] * width + place[1] + (side - 1) * (down * width + across)
        row, column = width * (1 - 2 * down), 1 - 2 * across
        row, column = torch.where(swapped, column, row), torch.where(swapped, row, column)
        along = self._along[side]
        rows = corner[:, None] + row[:, None] * along
        index = rows[:, :, None] + (column[:, None] * along)[:, None, :]
        return flat[index][:, None].float()

    def stretched(self, small: Tensor, large: Tensor) -> tuple[Tensor, Tensor]:
        """Some of the patches with more contrast, half of them as negatives: of 0..1 they take what they can, or less.

        Shrinking is linear, so such a pair is as right as it was. Strong edges are few in photos, and weigh most.
        """
        shape, device = (4, self._batch, 1, 1, 1), small.device
        chosen, gain, shift, turned = torch.rand(*shape, device=device, generator=self.generator).unbind()
        low, high = large.amin((1, 2, 3), keepdim=True), large.amax((1, 2, 3), keepdim=True)
        gain = (high - low).clamp(min=1 / MOST_GAIN).reciprocal().pow(gain)
        to = shift * (1 - gain * (high - low)).clamp(min=0)
        sign = torch.where(turned < 0.5, -1.0, 1.0)
        scale = torch.where(chosen < self._contrast, gain * sign, 1.0)
        base = torch.where(chosen < self._contrast, torch.where(turned < 0.5, 1 - to, to) - scale * low, 0.0)
        return small * scale + base, large * scale + base

    def draw(self) -> tuple[Tensor, Tensor]:
        """Small ``(batch, 1, p, p)`` and large ``(batch, 1, s * p, s * p)``, float32, 0..1."""
        small, large = self.cut(*self.places(), self._random(self._batch, below=8))
        return self.stretched(small, large) if self._contrast else (small, large)
