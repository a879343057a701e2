"""A VGG's features and their gradients for a GPU of NVIDIA, written out: no autograd, and features that stay bfloat16.

cuDNN's convolutions have bias and ReLU in the same pass; a gradient goes back through one as a convolution with the
kernel turned around. Poolings are kernels of our own (``vgg_cuda.cu``), whose gradient has that of the ReLU before it
in it, and so are the picture's way in and its gradient's way out. The same code computes in float32 on any device, by
torch's operations, which is how it is tested.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from minimoto.engines import cuda_kernel
from minimoto.engines.runtime import ENOUGH
from minimoto.engines.runtime_check import psnr
from minimoto.engines.style_losses import gram, product
from minimoto.engines.vgg import LEVELS, Vgg
from minimoto.engines.vgg_torch import TorchFeatures

log = logging.getLogger("minimoto.style")

USED = True
"""Whether :func:`cuda_features` gives any."""
FUSED = True
"""Whether bias and ReLU are part of cuDNN's convolutions."""
KERNELS = True
"""Whether kernels of our own pool and do the first and the last step."""
_INPUTS = 8
"""Channels of the picture, those after the third zero: matrix units take no fewer."""
_THREADS = 256
_SIDE = 66
"""Pixels a side of the picture that they are tried on; odd after a pooling."""
_GRADIENT = 35.0
"""Decibels that a gradient must hold: a ReLU whose feature rounds to nothing changes it, and torch's own holds 41."""
_INSTEAD = "torch's operations pool VGG's features, more slowly"

Pulled = Callable[[str, Tensor, Tensor | None], Tensor | None]
"""Adds the gradient of the losses at a layer: its name, its features and the gradient so far, ``(1, C, h, w)``."""


@dataclass(frozen=True)
class Step:
    """What a layer leaves behind for the way back; all ``(1, C, h, w)``, channels last.

    Parameters:
        before: what was pooled, if this layer pools.
        places: where torch found the largest, if it was torch that pooled.
        found: the layer's features.
    """

    before: Tensor | None
    places: Tensor | None
    found: Tensor


class CudaFeatures:
    """Features of pictures and the gradient of what is made of them.

    Parameters:
        vgg: the network.
        layers: the names of the layers whose features are wanted.
        pooling: ``max`` or ``avg``.
        device: torch's name of it.
        precision: of the convolutions and of all that is kept; sums are float32.
    """

    overwrites = False
    """See :class:`~minimoto.engines.style_objective.Features`."""

    def __init__(
        self,
        vgg: Vgg,
        layers: Collection[str],
        pooling: str = "max",
        device: str = "cuda",
        precision: torch.dtype = torch.bfloat16,
    ) -> None:
        self.device, self.precision = torch.device(device), precision
        self._pooling, self._wanted = pooling, frozenset(layers)
        self._layers = vgg.until(list(layers)).layers
        self._weights, self._turned, self._biases = [], [], []
        for place, layer in enumerate(self._layers):
            weight = layer.weight
            if place == 0:
                # The scale of the pixels; features are kept in steps of 1.
                weight = functional.pad(weight / LEVELS, (0, 0, 0, 0, 0, _INPUTS - weight.shape[1]))
            self._weights.append(self._placed(weight))
            self._turned.append(self._placed(weight.flip(2, 3).transpose(0, 1)))
            self._biases.append((layer.bias / LEVELS).to(self.device, precision))
        self._kernels = self._pools() if self.device.type == "cuda" and KERNELS else None
        self._steps: list[Step] = []

    def forward(self, pixels: Tensor, *, gradient: bool = True) -> dict[str, Tensor]:
        """Features by layer, each (h, w, channels), float32.

        Parameters:
            pixels: (H, W, 3), as :func:`~minimoto.engines.vgg.to_pixels` gives them.
            gradient: whether :meth:`backward` will follow.
        """
        with torch.no_grad():
            steps = self.steps(pixels)
            self._steps = steps if gradient else []
            return {
                layer.name: step.found[0].permute(1, 2, 0).float() * LEVELS
                for layer, step in zip(self._layers, steps, strict=True)
                if layer.name in self._wanted
            }

    def backward(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """The gradient with respect to the pixels of the last :meth:`forward`, (H, W, 3), float32.

        Parameters:
            gradients: with respect to the features, by layer; a layer may be left out.
        """
        assert self._steps, "backward needs a forward with a gradient"

        def pulled(name: str, found: Tensor, gradient: Tensor | None) -> Tensor | None:
            if name not in gradients:
                return gradient
            own = (gradients[name] * LEVELS).to(found.dtype).permute(2, 0, 1)[None]
            return own if gradient is None else gradient + own

        with torch.no_grad():
            steps, self._steps = self._steps, []
            return self.back(steps, pulled)[0, :3].permute(1, 2, 0).float().contiguous()

    def gram(self, features: Tensor) -> Tensor:
        """As :func:`~minimoto.engines.style_losses.gram`."""
        return gram(features)

    def product(self, features: Tensor, matrix: Tensor, out: Tensor) -> None:
        """As :func:`~minimoto.engines.style_losses.product`."""
        product(features, matrix, out)

    def steps(self, pixels: Tensor) -> list[Step]:
        """All layers' features of (H, W, 3), each a 255th of what :meth:`forward` gives."""
        x, found = self._picture(pixels).permute(0, 3, 1, 2), []
        for layer, weight, bias in zip(self._layers, self._weights, self._biases, strict=True):
            before = x if layer.pools else None
            x, places = self._pooled(x) if layer.pools else (x, None)
            x = self._convolved(x, weight, bias)
            found.append(Step(before, places, x))
        return found

    def back(self, steps: list[Step], pulled: Pulled) -> Tensor:
        """The gradient with respect to the pixels, three of eight channels, ``(1, 8, H, W)``.

        Parameters:
            steps: of :meth:`steps`.
            pulled: told of each layer from the last on.
        """
        gradient: Tensor | None = None
        # Whether what is before the ReLU is not reached by the gradient any more.
        cut = False
        for place in reversed(range(len(steps))):
            layer, step = self._layers[place], steps[place]
            before = gradient
            gradient = pulled(layer.name, step.found, gradient)
            if gradient is None:
                continue
            if gradient is not before or not cut:
                gradient = torch.ops.aten.threshold_backward(gradient, step.found, 0)
            gradient, cut = functional.conv2d(gradient, self._turned[place], padding=1), False
            if step.before is not None:
                gradient, cut = self._unpooled(gradient, step), self._kernels is not None
        found = steps[0].found
        return found.new_zeros(1, _INPUTS, *found.shape[2:]) if gradient is None else gradient

    def varied(self, gradient: Tensor, pixels: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """What :meth:`back` gives, with the gradient of total variation, and that (``style_losses.tv_loss``).

        Parameters:
            pixels: (H, W, 3), contiguous.
            weight: of both.

        Returns:
            (H, W, 3), float32, and a number.
        """
        height, width = pixels.shape[:2]
        if self._kernels is None:
            out = gradient[0, :3].permute(1, 2, 0).float().contiguous()
            return out, _tv(pixels, weight, out) if weight else torch.zeros((), device=pixels.device)
        blocks = cuda_kernel.blocks(height * width, _THREADS)
        out, sums = torch.empty_like(pixels), torch.empty(blocks * _THREADS // 32, device=pixels.device)
        given = gradient.contiguous(memory_format=torch.channels_last), pixels, float(weight), out, sums
        self._kernels.launch("varied", (blocks, 1, 1), (_THREADS, 1, 1), *given, height, width)
        return out, sums.sum() * (weight / 2)

    def _picture(self, pixels: Tensor) -> Tensor:
        """``(1, H, W, 8)``."""
        height, width = pixels.shape[:2]
        if self._kernels is None:
            made = torch.zeros(1, height, width, _INPUTS, dtype=self.precision, device=self.device)
            made[0, :, :, :3] = pixels
            return made
        made = torch.empty(1, height, width, _INPUTS, dtype=self.precision, device=self.device)
        grid = cuda_kernel.blocks(height * width, _THREADS), 1, 1
        self._kernels.launch("picture", grid, (_THREADS, 1, 1), pixels.contiguous(), made, height * width)
        return made

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if FUSED and x.is_cuda:
            return torch.cudnn_convolution_relu(x, weight, bias, (1, 1), (1, 1), (1, 1), 1)
        return functional.conv2d(x, weight, bias, padding=1).relu_()

    def _pooled(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        if self._pooling == "avg":
            return functional.avg_pool2d(x, 2), None
        if self._kernels is None:
            found, places = torch.ops.aten.max_pool2d_with_indices(x, [2, 2], [2, 2])
            return found, places
        channels, height, width = x.shape[1:]
        out = torch.empty(1, height // 2, width // 2, channels, dtype=x.dtype, device=x.device)
        grid = cuda_kernel.blocks(out.numel() // 8, _THREADS), 1, 1
        x = x.contiguous(memory_format=torch.channels_last)
        self._kernels.launch("pool", grid, (_THREADS, 1, 1), x, out, height, width, channels // 8)
        return out.permute(0, 3, 1, 2), None

    def _unpooled(self, gradient: Tensor, step: Step) -> Tensor:
        """The gradient of the pooling, and by a kernel that of the ReLU before it."""
        x = step.before
        assert x is not None
        if self._pooling == "avg":
            over = gradient.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
            missing = x.shape[3] - over.shape[3], x.shape[2] - over.shape[2]
            return functional.pad(over, (0, missing[0], 0, missing[1]))
        if self._kernels is None:
            back = torch.ops.aten.max_pool2d_with_indices_backward
            there: Tensor = back(gradient, x, [2, 2], [2, 2], [0, 0], [1, 1], False, step.places)
            return there
        channels, height, width = x.shape[1:]
        out = torch.empty(1, height, width, channels, dtype=x.dtype, device=x.device)
        given = x.contiguous(memory_format=torch.channels_last), gradient.contiguous(memory_format=torch.channels_last)
        grid = cuda_kernel.blocks((height + 1) // 2 * ((width + 1) // 2) * (channels // 8), _THREADS), 1, 1
        self._kernels.launch("unpool", grid, (_THREADS, 1, 1), *given, out, height, width, channels // 8)
        return out.permute(0, 3, 1, 2)

    def _pools(self) -> cuda_kernel.Kernels | None:
        eights = all(layer.weight.shape[0] % 8 == 0 for layer in self._layers)
        if self._pooling != "max" or self.precision != torch.bfloat16 or not eights:
            return None
        return cuda_kernel.kernels("vgg_cuda", _INSTEAD)

    def _placed(self, weight: Tensor) -> Tensor:
        return weight.to(self.device, self.precision).contiguous(memory_format=torch.channels_last)


def cuda_features(vgg: Vgg, layers: Collection[str], pooling: str, device: str = "cuda") -> CudaFeatures | None:
    """:class:`CudaFeatures` in bfloat16, if they hold :data:`ENOUGH` to float32; ``None``, said in the log, if not."""
    if not USED:
        return None
    made = CudaFeatures(vgg, layers, pooling, device)
    chance = torch.Generator().manual_seed(0)
    pixels = ((torch.rand(_SIDE, _SIDE, 3, generator=chance) - 0.5) * LEVELS).to(device)
    exact, near = (_tried(way, pixels) for way in (TorchFeatures(vgg, layers, pooling, device), made))
    held, turned = min(map(psnr, near[:-1], exact[:-1])), psnr(near[-1], exact[-1])
    if held > ENOUGH and turned > _GRADIENT:
        log.info("optimise: VGG written out in bfloat16, features %.1f, gradients %.1f dB from fp32", held, turned)
        return made
    text = "optimise: VGG written out holds only %.1f dB to fp32, its gradients %.1f, so autograd is used, more slowly"
    log.warning(text, held, turned)
    return None


def _tried(way: CudaFeatures | TorchFeatures, pixels: Tensor) -> list[NDArray[np.float32]]:
    """The features of all layers, and the gradient of a sum of them."""
    found = way.forward(pixels)
    chance = torch.Generator().manual_seed(1)
    directions = {name: torch.randn(found[name].shape, generator=chance).to(way.device) for name in sorted(found)}
    features = [found[name].cpu().numpy() for name in directions]
    return [*features, way.backward(directions).cpu().numpy()]


def _tv(pixels: Tensor, weight: float, gradient: Tensor) -> Tensor:
    """``weight`` times :func:`~minimoto.engines.style_losses.tv_loss`; its gradient is added."""
    down, across = pixels[1:] - pixels[:-1], pixels[:, 1:] - pixels[:, :-1]
    gradient[1:].add_(down, alpha=weight)
    gradient[:-1].sub_(down, alpha=weight)
    gradient[:, 1:].add_(across, alpha=weight)
    gradient[:, :-1].sub_(across, alpha=weight)
    both: Tensor = torch.linalg.vector_norm(down).square() + torch.linalg.vector_norm(across).square()
    return both * (weight / 2)
