"""One step of ``training.upscale``: sampling, both ways through the network, the optimisers and the running mean.

On a GPU all of it is one CUDA graph that is replayed; whatever changes from step to step (learning rates, the loss, the
decay of the mean) is read from tensors on the device. Where it cannot be captured the steps are done one by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minimoto.engines.compiled import cpu_flags
from minimoto.engines.cuda_graph import Captured
from training.muon import Muon
from training.reparameterised import TrainedUpscaleNet
from training.upscale_sampler import Patches

EMA = 0.999
WARM_STEPS = 200
CAPTURE_AFTER = 12
"""Steps that are done one by one before the graph is captured: libraries choose their algorithms in them."""


@dataclass(frozen=True)
class Plan:
    """What one factor gets: its share of the time, its patches, its highest learning rates and its last loss.

    Parameters:
        share: 0..1 of the seconds.
        patch: side of a small patch in pixels.
        mse_share: 0..1, the last part of its time, in which the root of the mean squared error is the loss.
    """

    factor: int
    share: float
    patch: int = 48
    batch: int = 6
    rate_adam: float = 2e-3
    rate_muon: float = 2e-2
    mse_share: float = 0.15


@dataclass
class State:
    """All that a checkpoint keeps."""

    network: TrainedUpscaleNet
    average: TrainedUpscaleNet
    optimisers: list[torch.optim.Optimizer]
    step: int = 0
    seconds: float = 0.0


def half_precision(device: torch.device) -> torch.dtype:
    """What the stack is computed in: with tiles of bfloat16 (GPUs, AMX) a step takes half as long.

    With AVX-512's instructions for bfloat16 alone it takes 1.7 times as long as in float32 (Xeon, torch 2.13).
    """
    fast = device.type == "cuda" or "amx_bf16" in cpu_flags().split()
    return torch.bfloat16 if fast else torch.float32


def schedule(progress: float, step: int) -> float:
    """The share of the highest learning rate at ``progress`` 0..1: a short rise, then a cosine to zero."""
    return min(1.0, (step + 1) / WARM_STEPS) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def optimisers(network: TrainedUpscaleNet, plan: Plan) -> list[torch.optim.Optimizer]:
    """Return Muon for the kernels of the body and Adam for everything else; their rates are tensors on the device."""
    kernel = network.body.kernel
    rest = [p for p in network.parameters() if p is not kernel]
    gpu = kernel.is_cuda
    muon, adam = (torch.tensor(rate, device=kernel.device) for rate in (plan.rate_muon, plan.rate_adam))
    return [
        Muon([kernel], lr=muon, dtype=torch.bfloat16 if gpu else torch.float32),
        torch.optim.Adam(rest, lr=adam, betas=(0.9, 0.99), capturable=gpu, fused=gpu),
    ]


def loss_of(enlarged: Tensor, wanted: Tensor, late: Tensor) -> Tensor:
    """The mean Charbonnier distance; where ``late`` is 1 the root of the mean squared error, which PSNR measures."""
    squared = (enlarged - wanted) ** 2
    root = torch.sqrt(squared.mean(dim=(1, 2, 3)) + 1e-8).mean()
    return torch.lerp(torch.sqrt(squared + 1e-6).mean(), root, late)


class Steps:
    """Does steps of training on ``state``.

    Parameters:
        patches: what is learned from, on the network's device.
        graph: whether to capture a step as a CUDA graph; only where the device is a GPU.
        dtype: what the stack is computed in; ``None``: what :func:`half_precision` says.
    """

    def __init__(
        self, state: State, plan: Plan, patches: Patches, graph: bool = True, dtype: torch.dtype | None = None
    ) -> None:
        self._state, self._plan, self._patches = state, plan, patches
        self._parameters: list[Tensor] = list(state.network.parameters())
        self._average: list[Tensor] = list(state.average.parameters())
        device = self._parameters[0].device
        self._dtype = dtype or half_precision(device)
        self._late, self._fresh, self._total = (torch.zeros((), device=device) for _ in range(3))
        self._counted = 0
        self._wanted = graph and device.type == "cuda"
        self._graph: Captured[None] | None = None
        self._done: torch.cuda.Event | None = None

    def run(self, count: int, progress: float) -> None:
        """Do ``count`` steps with the learning rates of ``progress`` 0..1.

        On a GPU it returns before they are done, but after those of the call before: at most two calls' steps wait.
        """
        self._tell(progress)
        if self._wanted:
            self._wanted = False
            self._capture()
        for _ in range(count):
            if self._graph is None:
                self._one()
            else:
                self._graph()
        self._state.step += count
        self._counted += count
        if self._total.is_cuda:
            before, self._done = self._done, torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record()
            if before is not None:
                before.synchronize()

    def loss(self) -> float:
        """The mean loss since it was last asked for; waits for the device."""
        mean = float(self._total) / max(1, self._counted)
        self._total.zero_()
        self._counted = 0
        return mean

    def _tell(self, progress: float) -> None:
        share, step = schedule(progress, self._state.step), self._state.step
        for optimiser, highest in zip(
            self._state.optimisers, (self._plan.rate_muon, self._plan.rate_adam), strict=True
        ):
            optimiser.param_groups[0]["lr"].fill_(highest * share)
        self._fresh.fill_(1 - min(EMA, 1 - 10 / (step + 20)))
        self._late.fill_(float(progress > 1 - self._plan.mse_share))

    def _one(self) -> None:
        """One step; it reads nothing from the device and may be captured."""
        small, large = self._patches.draw()
        enlarged = self._state.network(small, self._dtype)
        loss = loss_of(enlarged, large, self._late)
        # Not backward(): what accumulates gradients remembers the stream it was made on, which a capture may not use.
        for parameter, gradient in zip(self._parameters, torch.autograd.grad(loss, self._parameters), strict=True):
            parameter.grad = gradient.contiguous()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for optimiser in self._state.optimisers:
            optimiser.step()
        with torch.no_grad():
            apart = torch._foreach_sub(self._parameters, self._average)
            torch._foreach_mul_(apart, self._fresh)
            torch._foreach_add_(self._average, apart)
            self._total.add_(loss.detach())

    def _capture(self) -> None:
        """Do the first steps aside, as capturing asks for, and capture one more without doing it."""
        try:
            self._graph = Captured(self._one, CAPTURE_AFTER)
        except RuntimeError as error:
            print(f"no CUDA graph, so steps are done one by one: {' '.join(str(error).split())[:300]}", flush=True)
            # What failed may leave torch's generator waiting.
            self._patches.generator = torch.Generator(self._total.device).manual_seed(self._state.step)
        self._state.step += CAPTURE_AFTER
        self._counted += CAPTURE_AFTER
