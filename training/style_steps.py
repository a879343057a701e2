"""What one step of the ``fast`` style's training asks of the network."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from minimoto.engines.style_net import StyleNetwork
from training.style_data import Photos, Styles, skies
from training.style_losses import Aim, Judged, lattice, plain, recolour, variation
from training.style_pattern import WINDOW, excess, flatness, weave

Judge = Callable[[Tensor, Tensor, dict[str, Tensor], Aim, Tensor], Judged]
"""See :meth:`training.style_losses.Perception.judge`."""
SKY_CONTENT = 0.1
"""Weight of the content loss of plain crops. They have little that it could be divided by: it is 10 and more."""
SUMS = 5
"""Numbers that :func:`means` are made of."""
LAYOUT = 8
"""Pixels a side of the squares whose mean colour a painting keeps."""


@dataclass(frozen=True)
class Drawn:
    """What chance decides of a step before it is done.

    Parameters:
        photos, places: see :meth:`training.style_data.Photos.draw`.
        styles: see :meth:`training.style_data.Styles.draw`.
        windows: row and column, ``(2,)``, from which on patterns are looked for: they have no place to hide.
    """

    photos: Tensor
    places: Tensor
    styles: Tensor
    windows: Tensor

    @classmethod
    def by(cls, photos: Photos, styles: Styles, options: argparse.Namespace, size: int, choice: random.Random) -> Drawn:
        """With crops of ``size`` pixels a side."""
        windows = torch.tensor([choice.randint(0, size - _extent(size)) for _ in range(2)])
        drawn = photos.draw(options.batch, size, choice), styles.draw(options.styles_a_step, choice)
        return cls(*drawn[0], drawn[1], windows)

    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        return self.photos, self.places, self.styles, self.windows

    def on(self, device: torch.device) -> Drawn:
        """The same on ``device``, without waiting for what that still does."""
        if device.type != "cuda":
            return self
        return Drawn(*(one.pin_memory().to(device, non_blocking=True) for one in self.tensors()))


def painted(
    network: StyleNetwork,
    judge: Judge,
    photos: Photos,
    styles: Styles,
    options: argparse.Namespace,
    size: int,
    drawn: Drawn,
) -> tuple[Tensor, Tensor]:
    """The loss of photos that are painted in other pictures' styles, and sums for :func:`means`.

    Nothing here waits for the device, so that a GPU can replay it. The network alone runs in half the precision, if it
    does (``options.half``).
    """
    looks = styles.looks(drawn.styles)
    each = options.batch // options.styles_a_step
    forth, back = (part.repeat_interleave(each, 0, output_size=options.batch) for part in looks.colours)
    crops, sky = skies(photos.crops(drawn.photos, drawn.places, size), options.plain)
    given = recolour(crops, forth)
    look = plain(looks.crops, looks.colours)
    # Casts that are kept would be those of the step that a GPU replays.
    with torch.autocast(crops.device.type, torch.bfloat16, enabled=options.half, cache_enabled=not crops.is_cuda):
        result = network(plain(given, (forth, back)), look, forth)
    result = result.float()
    aim = Aim(options.style, options.power, options.others)
    style, kept, pull = judge(result.detach(), crops, looks.grams, aim, 1 - (1 - SKY_CONTENT) * sky.float())
    layout = (functional.avg_pool2d(result, LAYOUT) - functional.avg_pool2d(given, LAYOUT)).abs().mean()
    outside = (result - result.clamp(0, 1)).abs().mean()
    # Its gradient is ``pull``, whatever its value.
    loss = (result * pull).sum() + options.layout * layout + 10 * outside
    loss = loss + options.variation * variation(result) + options.lattice * lattice(result)
    rows, columns = drawn.windows[:, None] + torch.arange(_extent(size), device=crops.device)
    seen, there = (one.index_select(2, rows).index_select(3, columns) for one in (result, crops))
    regular, flat = weave(seen), flatness(there)
    loss = loss + options.weave * excess(regular, flat, options.regular)
    photo = (~sky).float()
    with torch.no_grad():
        highest = regular.amax(2) * flat
        sums = torch.stack([(style * photo).sum(), (kept * photo).sum(), photo.sum(), highest.sum(), flat.sum()])
    return loss, sums


def means(sums: Tensor) -> tuple[float, float, float]:
    """Mean style and content loss of the photos of all steps summed up, and the weave of what was flat; waits."""
    style, content, photos, regular, flat = sums.tolist()
    return style / max(1.0, photos), content / max(1.0, photos), regular / max(1e-6, flat)


def _extent(size: int) -> int:
    """Of as many windows as find room in ``size`` pixels with some left."""
    return max(1, (size - WINDOW // 4) // WINDOW) * WINDOW
