"""What one step of the ``fast`` style's training asks of the network."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable

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
LAYOUT = 8
"""Pixels a side of the squares whose mean colour a painting keeps."""


def painted(
    network: StyleNetwork,
    judge: Judge,
    photos: Photos,
    styles: Styles,
    options: argparse.Namespace,
    size: int,
    choice: random.Random,
) -> tuple[Tensor, Tensor]:
    """The loss of photos that are painted in other pictures' styles, and sums for :func:`means`.

    Nothing here waits for the device. The network alone runs in half the precision, if it does (``options.half``).
    """
    looks = styles.batch(options.styles_a_step, choice)
    each = options.batch // options.styles_a_step
    forth, back = (part.repeat_interleave(each, 0) for part in looks.colours)
    crops, sky = skies(photos.batch(options.batch, size, choice), options.plain)
    given = recolour(crops, forth)
    look = plain(looks.crops, looks.colours)
    with torch.autocast(crops.device.type, torch.bfloat16, enabled=options.half):
        result = network(plain(given, (forth, back)), look, forth)
    result = result.float()
    aim = Aim(options.style, options.power, options.others)
    style, kept, pull = judge(result.detach(), crops, looks.grams, aim, 1 - (1 - SKY_CONTENT) * sky.float())
    layout = (functional.avg_pool2d(result, LAYOUT) - functional.avg_pool2d(given, LAYOUT)).abs().mean()
    outside = (result - result.clamp(0, 1)).abs().mean()
    # Its gradient is ``pull``, whatever its value.
    loss = (result * pull).sum() + options.layout * layout + 10 * outside
    loss = loss + options.variation * variation(result) + options.lattice * lattice(result)
    rows, columns = (_some_windows(size, choice) for _ in range(2))
    regular, flat = weave(result[:, :, rows, columns]), flatness(crops[:, :, rows, columns])
    loss = loss + options.weave * excess(regular, flat, options.regular)
    photo = (~sky).float()
    with torch.no_grad():
        highest = regular.amax(2) * flat
        sums = torch.stack([(style * photo).sum(), (kept * photo).sum(), photo.sum(), highest.sum(), flat.sum()])
    return loss, sums


def means(steps: list[Tensor]) -> tuple[float, float, float]:
    """Mean style and content loss of the photos of several steps, and the weave of what was flat; waits for them."""
    sums = torch.stack(steps).double()
    style, content, photos, regular, flat = sums[sums.isfinite().all(1)].sum(0).tolist()
    return style / max(1.0, photos), content / max(1.0, photos), regular / max(1e-6, flat)


def _some_windows(size: int, choice: random.Random) -> slice:
    """As many windows as find room with some left, anywhere in ``size`` pixels: patterns have no place to hide."""
    extent = max(1, (size - WINDOW // 4) // WINDOW) * WINDOW
    begin = choice.randint(0, size - extent)
    return slice(begin, begin + extent)
