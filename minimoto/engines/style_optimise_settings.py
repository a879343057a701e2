"""How a picture is styled by optimisation. Free of numpy, so that a pipeline can be checked without loading the engine.

Names and meanings are those of jcjohnson/neural-style (README, "Usage"), where it has the option.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from minimoto.errors import InvalidInput

BLOCKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions between two poolings, by network (Simonyan and Zisserman 2014, table 1, D and E)."""

Model = Literal["vgg16", "vgg19"]
Init = Literal["random", "image"]
Optimizer = Literal["lbfgs", "adam"]
Pooling = Literal["max", "avg"]

_CHOICES = {"model": ("vgg19", "vgg16"), "init": ("random", "image"), "optimizer": ("lbfgs", "adam")} | {
    "pooling": ("max", "avg")
}
RANGES: dict[str, tuple[float, float]] = {
    "content_weight": (0, 1e9),
    "style_weight": (0, 1e9),
    "tv_weight": (0, 1e6),
    "num_iterations": (1, 10_000),
    "learning_rate": (1e-6, 1e3),
    "lbfgs_num_correction": (1, 200),
    "style_scale": (0.05, 10),
    "strength": (0, 1),
    "image_size": (0, 16_384),
    "scales": (0, 8),
    "seed": (0, 2**63 - 1),
}
"""Lowest and highest value of each number among the options."""


def layer_names(model: str) -> tuple[str, ...]:
    """``relu1_1`` … ``relu5_4``: the layers that losses can be taken at, in order."""
    return tuple(f"relu{block}_{n}" for block, count in enumerate(BLOCKS[model], 1) for n in range(1, count + 1))


@dataclass(frozen=True)
class OptimiseOptions:
    """The options of an optimisation.

    Parameters:
        model: the network whose features are compared.
        image_size: longer side of the result in pixels; 0 keeps the photo's. A photo is never enlarged.
        style_scale: longer side of the style picture, as a multiple of the result's.
        style_blend_weights: one weight for each style picture, only their ratios count; empty for equal ones.
        content_layers, style_layers: where the losses are taken, of :func:`layer_names`.
        content_weight, style_weight, tv_weight: weights of the three losses.
        normalize_gradients: divide each layer's gradient by its L1 norm before its weight is applied.
        num_iterations: evaluations of the loss, over all scales together.
        scales: sizes that are gone through, from coarse to fine, each half of the next; 0 chooses by the size, 1 works
            at full size only, as neural-style does.
        init: ``image`` starts at the photo (or the picture given for it), ``random`` at noise.
        optimizer: ``lbfgs`` or ``adam``.
        learning_rate: Adam's, in steps of 1/255; L-BFGS takes full steps.
        lbfgs_num_correction: how many updates L-BFGS remembers.
        pooling: ``max`` or ``avg``.
        original_colors: keep the photo's colours: only the luminance is styled.
        strength: 0..1: how far the style aimed at lies from the photo's own, at 0, towards the style pictures'.
        seed: of the noise.

    Raises:
        InvalidInput: a value out of its range (:data:`RANGES`) or an unknown name.
    """

    model: Model = "vgg19"
    image_size: int = 512
    style_scale: float = 1.0
    style_blend_weights: tuple[float, ...] = ()
    content_layers: tuple[str, ...] = ("relu4_2",)
    style_layers: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    content_weight: float = 5e0
    style_weight: float = 1e2
    tv_weight: float = 1e-3
    normalize_gradients: bool = False
    num_iterations: int = 500
    scales: int = 0
    init: Init = "image"
    optimizer: Optimizer = "lbfgs"
    learning_rate: float = 1e1
    lbfgs_num_correction: int = 100
    pooling: Pooling = "max"
    original_colors: bool = False
    strength: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InvalidInput(f"{name} must be one of {', '.join(choices)}, not '{getattr(self, name)}'")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise InvalidInput(f"{name} must be from {low:g} to {high:g}, not {value}")
        self._check_layers()
        weights = self.style_blend_weights
        if weights and (min(weights) < 0 or not 0 < sum(weights) < math.inf):
            raise InvalidInput("style_blend_weights must be numbers from 0 on, one of them at least above 0")

    def _check_layers(self) -> None:
        known = layer_names(self.model)
        for name in ("content_layers", "style_layers"):
            for layer in getattr(self, name):
                if layer not in known:
                    raise InvalidInput(f"{name}: {self.model} has no layer '{layer}'; it has {known[0]} to {known[-1]}")
        if not (self.content_layers or self.style_layers):
            raise InvalidInput("content_layers and style_layers must not both be empty")


@dataclass(frozen=True)
class Iteration:
    """What an optimisation is at; told after each evaluation of the loss.

    Parameters:
        done: 0..1 of the whole work.
        iteration: evaluations so far; ``iterations`` is how many there will be.
        size: (width, height) of the scale being worked at.
        loss: the total, weights applied; so are the three parts.
    """

    done: float
    iteration: int
    iterations: int
    size: tuple[int, int]
    loss: float
    content: float
    style: float
    tv: float
