"""One step of ``training.style``: what chance decides, both ways through the network, the optimisers, the running mean.

On a GPU all of it is one CUDA graph for each size of crops, which is replayed; whatever changes from step to step (what
was drawn, learning rates, the decay of the mean) is read from tensors there.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from minimoto.engines.cuda_graph import Captured
from minimoto.engines.style_net import StyleNetwork, mirrored
from training.muon import Muon
from training.style_data import Photos, Styles
from training.style_steps import SUMS, Drawn, Judge, painted

EMA = 0.998
WARM = 3
"""Steps that are done one by one before a graph is captured: libraries choose their algorithms in them."""


@dataclass
class Training:
    """The networks, their optimisers and how far they are.

    Parameters:
        network: what is trained.
        mean: the running mean of its weights, which is shipped.
        step, seconds: done so far, over all runs; seconds are those that :func:`training.style.train` counts.
    """

    network: StyleNetwork
    mean: StyleNetwork
    optimisers: tuple[torch.optim.Optimizer, ...]
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def resumed(cls, options: argparse.Namespace, device: torch.device) -> Training:
        """From the checkpoint of the folder, or from the start."""
        network, mean = (begun(options.begin).to(device, memory_format=torch.channels_last) for _ in range(2))
        training = cls(network, mean.requires_grad_(False), optimisers(network, options))
        checkpoint = options.out / "checkpoint.pt"
        if checkpoint.exists():
            kept = torch.load(checkpoint, weights_only=True, map_location=device)
            for part in ("network", "mean"):
                getattr(training, part).load_state_dict(kept[part])
            for optimiser, state in zip(training.optimisers, kept["optimisers"], strict=True):
                rates = [{name: group[name] for name in ("lr", "highest")} for group in optimiser.param_groups]
                optimiser.load_state_dict(state)
                for group, asked in zip(optimiser.param_groups, rates, strict=True):
                    group.update(asked)
            training.step, training.seconds = kept["step"], 0.0 if options.again else kept["seconds"]
        return training

    def save(self, out: Path) -> None:
        """Write checkpoint and weights, each whole or not at all."""
        kept = {part: getattr(self, part).state_dict() for part in ("network", "mean")}
        states = [optimiser.state_dict() for optimiser in self.optimisers]
        torch.save({**kept, "optimisers": states, "step": self.step, "seconds": self.seconds}, out / "checkpoint.part")
        (out / "checkpoint.part").replace(out / "checkpoint.pt")
        save_file({n: t.half().cpu().contiguous() for n, t in self.mean.state_dict().items()}, out / "style.part")
        (out / "style.part").replace(out / "style.safetensors")


class Steps:
    """Does steps of training.

    Parameters:
        graph: whether to capture a step as a CUDA graph; only where the device is a GPU.
    """

    def __init__(
        self,
        training: Training,
        judge: Judge,
        photos: Photos,
        styles: Styles,
        options: argparse.Namespace,
        *,
        graph: bool = True,
    ) -> None:
        self._training, self._judge, self._photos, self._styles = training, judge, photos, styles
        self._options = options
        self._parameters: list[Tensor] = list(training.network.parameters())
        self._mean: list[Tensor] = list(training.mean.parameters())
        self._device = self._parameters[0].device
        self._fresh = torch.zeros((), device=self._device)
        self._total = torch.zeros(SUMS, dtype=torch.float64, device=self._device)
        self._wanted = graph and self._device.type == "cuda"
        self._graph: Captured[None] | None = None
        self._size = 0
        self._drawn: Drawn | None = None

    def one(self, size: int, share: float, choice: random.Random) -> None:
        """A step on crops of ``size`` pixels a side, at ``share`` of the highest learning rates."""
        training = self._training
        for optimiser in training.optimisers:
            for group in optimiser.param_groups:
                group["lr"].fill_(group["highest"] * share)
        self._fresh.fill_(1 - min(EMA, (training.step + 1) / (training.step + 21)))
        drawn = Drawn.by(self._photos, self._styles, self._options, size, choice).on(self._device)
        if self._wanted and size != self._size:
            self._capture(size, drawn)
        if self._graph is None:
            self._step(size, drawn)
        else:
            assert self._drawn is not None
            for place, given in zip(self._drawn.tensors(), drawn.tensors(), strict=True):
                place.copy_(given)
            self._graph()
        training.step += 1

    def sums(self) -> Tensor:
        """See :func:`training.style_steps.means`: since they were last asked for; waits for the device."""
        found = self._total.clone().cpu()
        self._total.zero_()
        return found

    def _step(self, size: int, drawn: Drawn) -> None:
        """Reads nothing from the device, and may be captured."""
        network = self._training.network
        loss, sums = painted(network, self._judge, self._photos, self._styles, self._options, size, drawn)
        # Not backward(): what accumulates gradients remembers the stream it was made on, which a capture may not use.
        gradients = torch.autograd.grad(loss, self._parameters)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        norm = nn.utils.clip_grad_norm_(self._parameters, 1.0)
        # One step that went wrong must not be the end of all; to ask whether it did would be to wait for it.
        wrong = ~norm.isfinite()
        for parameter in self._parameters:
            assert parameter.grad is not None
            parameter.grad.masked_fill_(wrong, 0)
        for optimiser in self._training.optimisers:
            optimiser.step()
        with torch.no_grad():
            apart = torch._foreach_sub(self._parameters, self._mean)
            torch._foreach_mul_(apart, self._fresh)
            torch._foreach_add_(self._mean, apart)
            self._total.add_(torch.where(sums.isfinite().all(), sums, 0))

    def _capture(self, size: int, drawn: Drawn) -> None:
        """Do a few steps aside, as capturing asks for, and capture one more without doing it."""
        # The memory of the graph before is needed for this one.
        self._graph, self._size = None, size
        torch.cuda.empty_cache()
        static = Drawn(*(one.clone() for one in drawn.tensors()))
        try:
            self._graph, self._drawn = Captured(lambda: self._step(size, static), WARM), static
        except RuntimeError as error:
            print(f"no CUDA graph, so steps are done one by one: {' '.join(str(error).split())[:300]}", flush=True)
            self._wanted = False
        self._training.step += WARM


def optimisers(network: StyleNetwork, options: argparse.Namespace) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the 3x3 kernels between features, Adam for everything else; rates are tensors on the device."""
    kernels = [p for p in network.parameters() if p.ndim == 4 and min(p.shape[:2]) > 12] if options.muon else []
    chosen = {id(p) for p in kernels}
    rest = [p for p in network.parameters() if id(p) not in chosen]
    gpu = rest[0].is_cuda
    rates = [torch.tensor(rate, device=rest[0].device) for rate in (options.rate, options.muon)]
    adam = torch.optim.Adam(rest, lr=rates[0], betas=(0.9, 0.99), fused=gpu, capturable=gpu)
    made: tuple[torch.optim.Optimizer, ...] = (adam,)
    if kernels:
        made = (*made, Muon(kernels, lr=rates[1], dtype=torch.bfloat16 if gpu else torch.float32))
    for optimiser, highest in zip(made, (options.rate, options.muon), strict=False):
        for group in optimiser.param_groups:
            group["highest"] = highest
    return made


def begun(weights: Path | None) -> StyleNetwork:
    """A network with the tensors of ``weights`` that fit it, mirroring crops at their edges as photos are in use."""
    network = StyleNetwork()
    mirrored(network)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            # As large behind the layer as before it (He et al. 2015): torch's own start shrinks features to nothing.
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    with torch.no_grad():
        network.decoder.out.weight.mul_(0.3)
        for grain in (network.trunk.far_grain, network.trunk.near_grain):
            grain.weight.mul_(0.3)
    if weights:
        own = network.state_dict()
        fitting = {n: t.float() for n, t in load_file(weights).items() if n in own and own[n].shape == t.shape}
        network.load_state_dict({**own, **fitting})
    return network
