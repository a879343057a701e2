"""Muon: momentum whose matrix is made nearly orthogonal before it is applied (Jordan et al. 2024).

A kernel ``(out, in, 3, 3)`` is treated as a matrix ``(out, in * 9)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

# The quintic of Jordan et al.: five rounds bring every singular value near 1.
_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalised(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Matrices ``(N, rows, columns)`` with their singular values drawn to about 1 (Newton-Schulz)."""
    x = matrix / (torch.linalg.matrix_norm(matrix, keepdim=True) + 1e-7)
    turned = x.shape[-2] > x.shape[-1]
    x = x.mT if turned else x
    for _ in range(rounds):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=_B, alpha=_C), x, beta=_A)
    return x.mT if turned else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, for parameters of two or more dimensions.

    Parameters of one shape go together: a GPU is done with small products sooner than they are started.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 0.02, momentum: float = 0.95) -> None:
        """``lr`` is the largest singular value of a step."""
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Apply one step to every parameter that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault(parameter.shape, []).append(parameter)
            for parameters in alike.values():
                self._step(parameters, group["lr"], group["momentum"])

    def _step(self, parameters: list[Tensor], rate: float, kept: float) -> None:
        for parameter in parameters:
            if "momentum" not in self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        gradients = torch.stack([cast(Tensor, p.grad) for p in parameters])
        momentum = torch.stack([self.state[p]["momentum"] for p in parameters]).lerp_(gradients, 1 - kept)
        for parameter, own in zip(parameters, momentum, strict=True):
            self.state[parameter]["momentum"] = own
        ahead = gradients.lerp(momentum, kept).flatten(2)
        scale = max(1.0, ahead.shape[1] / ahead.shape[2]) ** 0.5
        steps = orthogonalised(ahead).unflatten(2, parameters[0].shape[1:])
        torch._foreach_add_(parameters, list(steps), alpha=-rate * scale)
