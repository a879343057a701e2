"""What one step of the ``fast`` style's training asks of the network."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from minimoto.engines.style_net import StyleNetwork
from training.style_data import Photos, Styles
from training.style_losses import Aim, Judged, lattice, palette, plain, recolour, variation

Judge = Callable[[Tensor, Tensor, dict[str, Tensor], Aim], Judged]
"""See :meth:`training.style_losses.Perception.judge`."""
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
) -> tuple[Tensor, list[tuple[float, float]]]:
    """The loss of photos that are painted in other pictures' styles; style and content loss of each photo."""
    looks, grams = styles.batch(options.styles_a_step, choice)
    each = options.batch // options.styles_a_step
    device = next(network.parameters()).device
    crops, looks = photos.batch(options.batch, size, choice).to(device), looks.to(device)
    given = recolour(crops, looks.repeat_interleave(each, 0))
    colours = palette(looks)
    each_colours = (colours[0].repeat_interleave(each, 0), colours[1].repeat_interleave(each, 0))
    result = network(plain(given, each_colours), plain(looks, colours), each_colours[0]).float()
    wanted = {name: g.to(device).repeat_interleave(each, 0) for name, g in grams.items()}
    style, kept, pull = judge(result.detach(), crops, wanted, Aim(options.style, options.power, options.others))
    layout = (functional.avg_pool2d(result, LAYOUT) - functional.avg_pool2d(given, LAYOUT)).abs().mean()
    outside = (result - result.clamp(0, 1)).abs().mean()
    # Its gradient is ``pull``, whatever its value.
    loss = (result * pull).sum() + options.layout * layout + 10 * outside
    loss = loss + options.variation * variation(result) + options.lattice * lattice(result)
    return loss, list(zip(style.tolist(), kept.tolist(), strict=True))
