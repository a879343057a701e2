"""Muon: momentum whose matrix is made nearly orthogonal before it is applied (Jordan et al. 2024).

A kernel ``(out, in, 3, 3)`` is treated as a matrix ``(out, in * 9)``; a stack of kernels of five dimensions,
``(count, out, ...)``, as that many matrices. All matrices of a shape are orthogonalised in one batched product.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

# The quintic of Jordan et al.: five rounds bring every singular value near 1.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STACK = 5


def orthogonalised(matrices: Tensor, rounds: int = 5) -> Tensor:
    """The matrices ``(..., rows, columns)`` with their singular values drawn to about 1 (Newton-Schulz)."""
    shape = matrices.shape
    x = matrices.reshape(-1, *shape[-2:])
    x = x / (torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) + 1e-7)
    turned = shape[-2] > shape[-1]
    x = x.mT if turned else x
    for _ in range(rounds):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=_B, alpha=_C), x, beta=_A)
    return (x.mT if turned else x).reshape(shape)


def _matrices(parameter: Tensor) -> Tensor:
    """A kernel or a stack of them as ``(count, rows, columns)``."""
    return parameter.flatten(2) if parameter.ndim == _STACK else parameter.flatten(1)[None]


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, for parameters of two or more dimensions."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float | Tensor = 0.02,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """``lr`` is the largest singular value of a step; a tensor may be changed between replays of a CUDA graph.

        ``dtype`` is what the matrices are made orthogonal in: the quintic forgives bfloat16.
        """
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Apply one step to every parameter that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"]
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                ahead = _matrices(parameter.grad.lerp(momentum, group["momentum"]))
                alike.setdefault(ahead.shape[1:], []).append((parameter, ahead))
            for (rows, columns), members in alike.items():
                done = orthogonalised(torch.cat([ahead for _, ahead in members]).to(self._dtype)).float()
                scaled = done * (group["lr"] * max(1.0, rows / columns) ** 0.5)
                counts = [len(ahead) for _, ahead in members]
                for (parameter, _), part in zip(members, scaled.split(counts), strict=True):
                    parameter.sub_(part.reshape(parameter.shape))
