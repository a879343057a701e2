"""The feature extractor of a VGG network: its 3x3 convolutions, each with a ReLU, in blocks that begin with a pooling.

Source: Simonyan and Zisserman 2014, "Very deep convolutional networks for large-scale image recognition", table 1, D
and E. Weights are torchvision's (``features.N.weight``, trained on RGB 0..1 less ImageNet's mean, over its deviation),
held here for pixels in steps of 1/255: features come out 255 times as large, which is the scale that the weights of
neural-style's losses are made for (its network, trained in Caffe, sees BGR 0..255 less the mean).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from minimoto.engines.style_optimise_settings import BLOCKS, layer_names
from minimoto.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
LEVELS = 255.0


@dataclass(frozen=True)
class Layer:
    """A convolution and its ReLU.

    Parameters:
        name: of the ReLU, such as ``relu3_1``.
        weight: (out, in, 3, 3), float32; padding is 1.
        bias: (out,), float32.
        pools: whether a 2x2 pooling comes before the convolution.
    """

    name: str
    weight: Tensor
    bias: Tensor
    pools: bool


@dataclass(frozen=True)
class Vgg:
    """The layers of a network, from the first to the last one that is wanted; made for what :func:`to_pixels` gives."""

    layers: tuple[Layer, ...]

    def until(self, names: Sequence[str]) -> Vgg:
        """The network up to the last of ``names``."""
        last = max(index for index, layer in enumerate(self.layers) if layer.name in names)
        return Vgg(self.layers[: last + 1])

    def outline(self) -> Vgg:
        """The same layers without the numbers of their weights, which take 50 MB: these are on torch's ``meta``."""
        return Vgg(tuple(replace(layer, weight=layer.weight.to("meta")) for layer in self.layers))

    @property
    def stride(self) -> int:
        """Pixels of the picture for one of the last layer's, each way."""
        return 1 << sum(layer.pools for layer in self.layers)

    @property
    def radius(self) -> int:
        """How many pixels away from a feature's own a pixel can change it."""
        stride, reach = 1, 0
        for layer in self.layers:
            if layer.pools:
                reach, stride = reach + stride, stride * 2
            reach += stride
        return reach


def load_vgg(path: Path, model: str) -> Vgg:
    """The network in a safetensors file with torchvision's names.

    Raises:
        InvalidInput: the file is no such network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InvalidInput(f"{path.name}: no readable safetensors file ({error})") from error
    return from_tensors(tensors, model, path.name)


def from_tensors(tensors: Mapping[str, Tensor], model: str, source: str = "weights") -> Vgg:
    """The network of torchvision's tensors, ``features.N.weight`` and ``features.N.bias``.

    Parameters:
        source: what to call them in an error.

    Raises:
        InvalidInput: a tensor is missing or has a wrong shape.
    """
    parts: list[tuple[Tensor, Tensor]] = []
    channels = 3
    for number in _numbers(model):
        weight, bias = (tensors.get(f"features.{number}.{kind}") for kind in ("weight", "bias"))
        if weight is None or bias is None:
            raise InvalidInput(f"{source}: features.{number} is missing; this is not {model} with torchvision's names")
        if weight.shape[1:] != (channels, 3, 3) or bias.shape != weight.shape[:1]:
            raise InvalidInput(f"{source}: features.{number} has the shape {tuple(weight.shape)}; this is not {model}")
        channels = weight.shape[0]
        parts.append((weight.float(), bias.float()))
    return from_parts(parts, model)


def from_parts(parts: Sequence[tuple[Tensor, Tensor]], model: str) -> Vgg:
    """The network of its convolutions' (weight, bias), made for RGB 0..1 less :data:`MEAN` over :data:`DEVIATION`."""
    names = layer_names(model)
    layers = [
        Layer(name, weight, bias * LEVELS, pools=index > 0 and name.endswith("_1"))
        for index, (name, (weight, bias)) in enumerate(zip(names, parts, strict=True))
    ]
    first = layers[0]
    layers[0] = Layer(first.name, first.weight / torch.tensor(DEVIATION).view(1, 3, 1, 1), first.bias, pools=False)
    return Vgg(tuple(layers))


def random_vgg(model: str, widths: Sequence[int] = (64, 128, 256, 512, 512), seed: int = 0) -> Vgg:
    """A network with random weights that keep the features' size from layer to layer (He et al. 2015).

    Parameters:
        widths: channels of each block.
    """
    chance = torch.Generator().manual_seed(seed)
    parts, inputs = [], 3
    for count, width in zip(BLOCKS[model], widths, strict=True):
        for _ in range(count):
            weight = torch.randn(width, inputs, 3, 3, generator=chance) * (2 / (9 * inputs)) ** 0.5
            parts.append((weight, torch.randn(width, generator=chance) * 0.1))
            inputs = width
    return from_parts(parts, model)


def to_pixels(picture: NDArray[np.float32]) -> Tensor:
    """(H, W, 3), RGB, 0..1, to what the network sees: the same less the mean, in steps of 1/255."""
    return torch.from_numpy((np.asarray(picture, np.float32) - np.array(MEAN, np.float32)) * np.float32(LEVELS))


def from_pixels(pixels: Tensor) -> NDArray[np.float32]:
    """The inverse of :func:`to_pixels`, cut to 0..1."""
    values = pixels.detach().float().cpu().numpy() / np.float32(LEVELS) + np.array(MEAN, np.float32)
    return np.clip(values, 0, 1).astype(np.float32)


def _numbers(model: str) -> list[int]:
    """Torchvision's numbers of the convolutions: a ReLU follows each, a pooling each block."""
    numbers, at = [], 0
    for count in BLOCKS[model]:
        numbers += [at + 2 * n for n in range(count)]
        at += 2 * count + 1
    return numbers
