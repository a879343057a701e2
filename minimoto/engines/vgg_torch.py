"""A VGG's features and their gradients by torch's own convolutions: on any device, in any precision."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from minimoto.engines.style_losses import gram, product
from minimoto.engines.vgg import Vgg


class TorchFeatures:
    """Features of pictures and the gradient of what is made of them, by autograd.

    Parameters:
        vgg: the network.
        layers: the names of the layers whose features are wanted.
        pooling: ``max`` or ``avg``.
        device: torch's name of it.
        precision: of the convolutions; features and gradients are float32.
    """

    overwrites = False
    """See :class:`~minimoto.engines.style_objective.Features`."""

    def __init__(
        self,
        vgg: Vgg,
        layers: Collection[str],
        pooling: str = "max",
        device: str = "cpu",
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.device = torch.device(device)
        self._precision = precision
        self._pool = functional.max_pool2d if pooling == "max" else functional.avg_pool2d
        self._wanted = frozenset(layers)
        self._layers = [
            (layer.name, self._placed(layer.weight), layer.bias.to(self.device, precision), layer.pools)
            for layer in vgg.until(list(layers)).layers
        ]
        self._picture: Tensor | None = None
        self._found: dict[str, Tensor] = {}

    def _placed(self, weight: Tensor) -> Tensor:
        return weight.to(self.device, self._precision).contiguous(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor, *, gradient: bool = True) -> dict[str, Tensor]:
        """Features by layer, each (h, w, channels), float32.

        Parameters:
            pixels: (H, W, 3), as :func:`~minimoto.engines.vgg.to_pixels` gives them.
            gradient: whether :meth:`backward` will follow.
        """
        with torch.set_grad_enabled(gradient):
            picture = pixels.detach().to(self.device).requires_grad_(gradient)
            # The scale goes out and in again, for half precision ends at 65504.
            x = (picture / 255).permute(2, 0, 1)[None].to(self._precision)
            self._found = {}
            for name, weight, bias, pools in self._layers:
                x = self._pool(x, 2) if pools else x
                x = functional.conv2d(x, weight, bias / 255, padding=1).relu_()
                if name in self._wanted:
                    self._found[name] = x[0].permute(1, 2, 0).float() * 255
        self._picture = picture if gradient else None
        return {name: found.detach() for name, found in self._found.items()}

    def backward(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """The gradient with respect to the pixels of the last :meth:`forward`, (H, W, 3), float32.

        Parameters:
            gradients: with respect to the features, by layer; a layer may be left out.
        """
        assert self._picture is not None, "backward needs a forward with a gradient"
        names = list(gradients)
        (found,) = torch.autograd.grad([self._found[n] for n in names], [self._picture], [gradients[n] for n in names])
        self._picture, self._found = None, {}
        return found

    def gram(self, features: Tensor) -> Tensor:
        """As :func:`~minimoto.engines.style_losses.gram`."""
        return gram(features)

    def product(self, features: Tensor, matrix: Tensor, out: Tensor) -> None:
        """As :func:`~minimoto.engines.style_losses.product`."""
        product(features, matrix, out)
