"""A VGG's features and their gradients in float32 on the CPU, by the kernels of :mod:`minimoto.engines.winograd`.

The weights are fixed, so a gradient needs of each layer only where its ReLU let through (a bit a value) and of each
pooling only where its maximum was (a byte): no feature is kept but those that losses are taken of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from minimoto.engines.vgg import Layer, Vgg
from minimoto.engines.winograd import CHUNK, Kernels, room, transformed

Size = tuple[int, int]

_SHARED = 256 * 256
"""Weights from which on a layer has one copy for both ways, transposed piece by piece on the way back."""


def fits(vgg: Vgg) -> bool:
    """Whether the kernels can do this network: channels in sixteens."""
    return all(layer.weight.shape[0] % 16 == 0 for layer in vgg.layers)


class WinogradFeatures:
    """As :class:`~minimoto.engines.vgg_torch.TorchFeatures`; features may be written over with their gradients.

    What :meth:`forward` returns is valid until the next one. Memory that was once used is kept for the next picture.
    """

    overwrites = True

    def __init__(self, vgg: Vgg, layers: Collection[str], pooling: str, kernels: Kernels) -> None:
        self.device = torch.device("cpu")
        self._kernels = kernels
        self._wanted = frozenset(layers)
        self._maximum = pooling == "max"
        # Nothing holds on to the weights as they are.
        given = vgg.until(list(layers))
        self._layers = given.outline().layers
        first = given.layers[0].weight
        self._first = first.permute(2, 3, 1, 0).contiguous()
        self._first_back = first.flip(2, 3).permute(2, 3, 1, 0).contiguous()
        rest = given.layers[1:]
        self._weights = [transformed(layer.weight) for layer in rest]
        self._weights_back = [
            transformed(layer.weight.flip(2, 3).transpose(0, 1)) if layer.weight[..., 0, 0].numel() < _SHARED else None
            for layer in rest
        ]
        self._memory: dict[str, Tensor] = {}
        self._sizes: list[Size] = []
        self._turn = 0

    def forward(self, pixels: Tensor, *, gradient: bool = True) -> dict[str, Tensor]:
        """Features by layer, each (h, w, channels); see :class:`~minimoto.engines.vgg_torch.TorchFeatures`."""
        height, width = pixels.shape[:2]
        self._sizes = [(height, width)]
        found: dict[str, Tensor] = {}
        x = torch.nn.functional.pad(pixels, (0, 0, 1, 1, 1, 1)).contiguous()
        for index, layer in enumerate(self._layers):
            x, features = self._convolve(index, layer, x, gradient)
            if layer.name in self._wanted:
                assert features is not None
                found[layer.name] = features
        return found

    def _convolve(self, index: int, layer: Layer, x: Tensor, gradient: bool) -> tuple[Tensor, Tensor | None]:
        """What goes into the next layer, and this layer's features where they are needed themselves."""
        height, width = self._sizes[-1]
        outputs, inputs = layer.weight.shape[:2]
        pools = index + 1 < len(self._layers) and self._layers[index + 1].pools
        wanted = layer.name in self._wanted
        # Bits are needed wherever a gradient is masked by itself, not through the places of the maxima.
        masked = gradient and not (pools and self._maximum and not wanted)
        tensors: dict[str, Tensor | None] = {
            "out": self._features(layer.name, (height, width, outputs), keep=wanted) if wanted or not pools else None,
            "mask": self._bytes(f"mask {index}", (height, width, outputs // 8)) if masked else None,
        }
        size = height // 2, width // 2
        if pools:
            tensors["pooled"] = self._features("", (*size, outputs), keep=False)
            tensors["pooled_codes"] = self._bytes(f"codes {index}", (*size, outputs)) if self._maximum else None
        if index == 0 and pools:
            raise ValueError("a block has at least two convolutions")
        kernel, weights = ("3x3", self._weights[index - 1]) if index else ("first", self._first)
        sizes = height, width, inputs, outputs
        self._kernels.run(kernel, sizes, tensors | {"input": x, "weights": weights, "bias": layer.bias})
        self._sizes.append(size if pools else (height, width))
        x = tensors["pooled"] if pools else tensors["out"]  # type: ignore[assignment]
        return x, tensors["out"]

    def backward(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """The gradient with respect to the pixels; see :class:`~minimoto.engines.vgg_torch.TorchFeatures`."""
        last = max(index for index, layer in enumerate(self._layers) if layer.name in gradients)
        g, codes = self._unpooled(last, None, gradients), None
        for index in range(last, 0, -1):
            layer, below = self._layers[index], self._layers[index - 1]
            outputs, inputs = layer.weight.shape[:2]
            height, width = self._sizes[index]
            sizes = height, width, outputs, inputs
            own = gradients.get(below.name)
            out = (
                own if own is not None and not layer.pools else self._features("", (height, width, inputs), keep=False)
            )
            weights = self._weights_back[index - 1]
            tensors = {
                "input": g,
                "codes": codes,
                "weights": weights if weights is not None else self._weights[index - 1],
                "out": out,
                "mask": None if layer.pools else self._memory[f"mask {index - 1}"],
            }
            self._kernels.run("3x3", sizes, tensors, add=out is own, transposed=weights is None)
            g, codes = out, None
            if layer.pools and self._maximum and below.name not in self._wanted:
                codes = self._memory[f"codes {index - 1}"]
            elif layer.pools:
                g = self._unpooled(index - 1, out, gradients)
        height, width = self._sizes[0]
        found = torch.empty(height, width, 3)
        sizes = height, width, g.shape[2], 3
        self._kernels.run("first_gradient", sizes, {"input": g, "weights": self._first_back, "out": found})
        return found

    def gram(self, features: Tensor) -> Tensor:
        """As :func:`~minimoto.engines.style_losses.gram`: each pair of channels is multiplied once."""
        pixels, channels = features.shape[0] * features.shape[1], features.shape[2]
        parts = min(2 * self._kernels.threads, pixels)
        sums = torch.empty(-(-pixels // -(-pixels // parts)), channels, channels)
        sizes = pixels, 1, channels, channels
        self._kernels.run("gram", sizes, {"input": features, "out": sums}, parts=parts)
        upper = sums.sum(0).triu_()
        return upper + upper.triu(1).T

    def product(self, features: Tensor, matrix: Tensor, out: Tensor) -> None:
        """As :func:`~minimoto.engines.style_losses.product`; ``out`` may be ``features`` themselves."""
        pixels, channels = features.shape[0] * features.shape[1], features.shape[2]
        panels = matrix.view(channels, channels // 16, 16).transpose(0, 1).contiguous()
        sizes = pixels, 1, channels, channels
        parts = -(-pixels // (CHUNK // channels))
        self._kernels.run("product", sizes, {"input": features, "weights": panels, "out": out}, parts=parts)

    def _unpooled(self, index: int, pooled: Tensor | None, gradients: Mapping[str, Tensor]) -> Tensor:
        """The gradient at a layer's convolution: its own and, if it is pooled, the pooling's, where its ReLU let by."""
        layer = self._layers[index]
        outputs = layer.weight.shape[0]
        height, width = self._sizes[index]
        own = gradients.get(layer.name)
        out = own if own is not None else self._features("", (height, width, outputs), keep=False)
        codes = self._memory[f"codes {index}"] if pooled is not None and self._maximum else None
        mask = self._memory[f"mask {index}"]
        sizes = height, width, outputs, outputs
        tensors = {"input": pooled, "codes": codes, "out": out, "mask": mask}
        self._kernels.run("unpool", sizes, tensors, add=own is not None)
        return out

    def _features(self, name: str, shape: tuple[int, int, int], *, keep: bool) -> Tensor:
        """Memory for features: of their own, or one of two that are used in turn."""
        if not keep:
            self._turn = 1 - self._turn
            name = f"turn {self._turn}"
        return self._take(name, shape, torch.float32)

    def _bytes(self, name: str, shape: tuple[int, int, int]) -> Tensor:
        return self._take(name, shape, torch.uint8)

    def _take(self, name: str, shape: tuple[int, int, int], kind: torch.dtype) -> Tensor:
        count = shape[0] * shape[1] * shape[2]
        whole = self._memory.get(f"all {name}")
        if whole is None or whole.numel() < count:
            whole = self._memory[f"all {name}"] = room(-(-count * kind.itemsize // 4)).view(kind)
        self._memory[name] = whole[:count].view(shape)
        return self._memory[name]
