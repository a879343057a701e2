"""Styling by optimisation as neural-style-pt does it, written anew: torch in eager mode, losses as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from minimoto.engines.style_optimise_settings import OptimiseOptions
from minimoto.engines.vgg import Layer, Vgg


class Run(Protocol):
    """A way of doing it, ready to go."""

    def __call__(self, iterations: int, start: Tensor = ...) -> list[float]:
        """The losses of ``iterations`` evaluations, from ``start``, (H, W, 3), on; from the photo if left out."""


class Tv(nn.Module):
    """Lets a picture through and keeps its total variation."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.loss = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        """``x`` itself."""
        down, right = x[:, :, 1:] - x[:, :, :-1], x[:, :, :, 1:] - x[:, :, :, :-1]
        self.loss = self.weight * ((down**2).sum() + (right**2).sum()) / 2
        return x


class Content(nn.Module):
    """Lets features through and keeps how far they are from the first ones seen after :attr:`target` was cleared."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.target: Tensor | None = None
        self.loss = torch.zeros(())

    def compared(self, x: Tensor) -> Tensor:
        """What the target is of."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        """``x`` itself."""
        own = self.compared(x)
        if self.target is None:
            self.target = own.detach().clone()
        self.loss = self.weight * nn.functional.mse_loss(own, self.target)
        return x


class Style(Content):
    """The same for their Gram matrices."""

    def compared(self, x: Tensor) -> Tensor:
        """The Gram matrix."""
        flat = x.view(x.shape[1], -1)
        return torch.mm(flat, flat.t()) / x.numel()


def sequential(
    vgg: Vgg, photo: Tensor, style: Tensor, options: OptimiseOptions
) -> tuple[nn.Sequential, list[Tv | Content]]:
    """The network with its modules of losses, and those modules, their targets set.

    Parameters:
        photo, style: (1, 3, H, W).
    """
    tv = Tv(options.tv_weight)
    net, contents, styles = nn.Sequential(tv), list[Content](), list[Content]()
    for layer in vgg.layers:
        if layer.pools:
            net.append(nn.MaxPool2d(2))
        net.append(_convolution(layer).to(photo.device)).append(nn.ReLU(inplace=True))
        if layer.name in options.content_layers:
            contents.append(Content(options.content_weight))
            net.append(contents[-1])
        if layer.name in options.style_layers:
            styles.append(Style(options.style_weight))
            net.append(styles[-1])
    for picture, others in ((photo, styles), (style, [])):
        for module in others or styles:
            module.target = None
        with torch.no_grad():
            net(picture)
    return net, [tv, *contents, *styles]


def _convolution(layer: Layer) -> nn.Conv2d:
    outputs, inputs = layer.weight.shape[:2]
    found = nn.Conv2d(inputs, outputs, 3, padding=1).requires_grad_(False)
    found.load_state_dict({"weight": layer.weight, "bias": layer.bias})
    return found


Watch = Callable[[Tensor, float], None]


def peer(vgg: Vgg, photo: Tensor, style: Tensor, options: OptimiseOptions, watch: Watch | None = None) -> Run:
    """Runs a number of iterations, from the photo on unless told otherwise, and returns the losses.

    Parameters:
        photo, style: (H, W, 3), as the network sees them.
        watch: told of each picture, (H, W, 3), and its loss.
    """
    content, aim = (picture.permute(2, 0, 1)[None].contiguous() for picture in (photo, style))
    net, losses = sequential(vgg, content, aim, options)

    def run(iterations: int, start: Tensor = photo) -> list[float]:
        image = nn.Parameter(start.permute(2, 0, 1)[None].clone(memory_format=torch.contiguous_format))
        seen: list[float] = []
        optimizer = _optimizer(image, options, iterations)

        def closure() -> float:
            optimizer.zero_grad()
            net(image)
            total = torch.stack([loss.loss for loss in losses]).sum()
            torch.autograd.backward(total)
            seen.append(total.item())
            if watch:
                watch(image.detach()[0].permute(1, 2, 0).contiguous(), seen[-1])
            return seen[-1]

        while len(seen) < iterations:
            optimizer.step(closure)
        return seen

    return run


def _optimizer(image: nn.Parameter, options: OptimiseOptions, iterations: int) -> torch.optim.Optimizer:
    if options.optimizer == "adam":
        return torch.optim.Adam([image], lr=options.learning_rate)
    return torch.optim.LBFGS(
        [image],
        max_iter=iterations,
        max_eval=iterations,
        tolerance_change=-1,
        tolerance_grad=-1,
        history_size=options.lbfgs_num_correction,
    )
