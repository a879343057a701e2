"""What one step of the ``fast`` style's training asks of the network."""

from __future__ import annotations

import argparse
import random

import torch
from torch import Tensor
from torch.nn import functional

from minimoto.engines.style_net import StyleNetwork
from training.style_data import Photos, Styles
from training.style_losses import CONTENT, Perception, content_loss, recolour, style_loss, variation

LAYOUT = 8
"""Pixels a side of the squares whose mean colour a painting keeps."""


def painted(
    network: StyleNetwork,
    perception: Perception,
    photos: Photos,
    styles: Styles,
    options: argparse.Namespace,
    size: int,
    choice: random.Random,
) -> tuple[Tensor, list[tuple[float, float]]]:
    """The loss of photos that are painted in other pictures' styles; style and content loss of each photo."""
    looks, grams = styles.batch(options.styles_a_step, choice)
    each = options.batch // options.styles_a_step
    crops, looks = photos.batch(options.batch, size, choice).to(perception.device), looks.to(perception.device)
    given = recolour(crops, looks.repeat_interleave(each, 0))
    result = network(given, looks).float()
    with torch.no_grad():
        content = perception(crops)[CONTENT]
    found = perception(result)
    style = style_loss(found, {name: g.to(perception.device).repeat_interleave(each, 0) for name, g in grams.items()})
    kept = content_loss(found[CONTENT], content)
    layout = (functional.avg_pool2d(result, LAYOUT) - functional.avg_pool2d(given, LAYOUT)).abs().mean()
    outside = (result - result.clamp(0, 1)).abs().mean()
    # The root keeps pale styles, which anything painted is far from, from ruling the step.
    loss = (options.style * (style + 0.01).sqrt() + kept).mean() + options.layout * layout + 10 * outside
    loss = loss + options.variation * variation(result)
    return loss, list(zip(style.tolist(), kept.tolist(), strict=True))
