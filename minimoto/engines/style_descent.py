"""The two ways of going down: L-BFGS with full steps, and Adam."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[float, Tensor]]
_COLUMNS = 16_384
_BETAS, _EPSILON = (0.9, 0.999), 1e-8


def adam(evaluate: Evaluate, start: Tensor, iterations: int, learning_rate: float) -> Tensor:
    """Adam (Kingma and Ba 2015, algorithm 1), ``iterations`` evaluations from ``start`` on, which is not changed.

    torch.optim's takes seconds to import, for it brings the compiler along.
    """
    x, mean, square = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for step in range(1, iterations + 1):
        gradient = evaluate(x)[1]
        mean.lerp_(gradient, 1 - _BETAS[0])
        square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        root = (square / (1 - _BETAS[1] ** step)).sqrt_().add_(_EPSILON)
        x.addcdiv_(mean, root, value=-learning_rate / (1 - _BETAS[0] ** step))
    return x


def lbfgs(evaluate: Evaluate, start: Tensor, iterations: int, corrections: int) -> Tensor:
    """L-BFGS (Nocedal and Wright 2006, section 7.2) with full steps, the first one of length 1 in the L1 norm.

    No line search is done, as in neural-style. Of all points, the one with the lowest loss is returned.

    Parameters:
        evaluate: the loss and its gradient at a point.
        start: any shape; not changed.
        iterations: evaluations.
        corrections: updates that are remembered.
    """
    x = start.clone()
    loss, gradient = evaluate(x)
    best, lowest = x.clone(), loss
    history = History(x.numel(), corrections, x.device)
    for _ in range(iterations - 1):
        flat = gradient.reshape(-1)
        length = float(flat.abs().sum())
        if not 0 < length < math.inf:
            break
        direction = flat * -min(1.0, 1.0 / length) if history.empty else history.direction(flat)
        x += direction.view_as(x)
        loss, next_gradient = evaluate(x)
        history.add(direction, next_gradient.reshape(-1) - flat)
        gradient = next_gradient
        if loss < lowest:
            best.copy_(x)
            lowest = loss
    return best


class History:
    """The last steps and the gradient's changes over them, in bfloat16: half the memory, and enough for a direction.

    Only inner products enter the two loops (Chen et al. 2014, "Large-scale L-BFGS using MapReduce", algorithm 3), so
    all that is long is read twice an iteration, and the update is exact for the rounded vectors.
    """

    def __init__(self, length: int, corrections: int, device: torch.device) -> None:
        self._vectors = torch.empty(2, corrections, length, dtype=torch.bfloat16, device=device)
        self._products = torch.zeros(2 * corrections, 2 * corrections, dtype=torch.float64)
        self._corrections = corrections
        self._order: list[int] = []

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take a direction from."""
        return not self._order

    def add(self, step: Tensor, change: Tensor) -> None:
        """Remember a step; one over which the gradient did not grow along it is left out."""
        if not float(torch.dot(step, change)) > 1e-10:
            return
        slot = self._order.pop(0) if len(self._order) == self._corrections else len(self._order)
        self._vectors[0, slot], self._vectors[1, slot] = step, change
        self._order.append(slot)
        used = len(self._order)
        rounded = torch.stack([self._vectors[0, slot], self._vectors[1, slot]]).float()
        found = self._dots(rounded, used).view(2, used, 2)
        for kind, row in enumerate((slot, self._corrections + slot)):
            for other in range(2):
                columns = slice(other * self._corrections, other * self._corrections + used)
                self._products[row, columns] = found[other, :, kind]
                self._products[columns, row] = found[other, :, kind]

    def direction(self, gradient: Tensor) -> Tensor:
        """The way to go: minus the inverse Hessian's estimate times ``gradient``."""
        used, m = len(self._order), self._corrections
        along = torch.zeros(2 * m, dtype=torch.float64)
        dots = self._dots(gradient[None], used).view(2, used)
        along[:used], along[m : m + used] = dots[0], dots[1]
        weights, scale = self._two_loops(along)
        kept = torch.cat([weights[:used], weights[m : m + used]]).to(gradient)
        out = gradient * -scale
        for columns, part in self._parts(used):
            out[columns] += kept @ part
        return out

    def _two_loops(self, along: Tensor) -> tuple[Tensor, float]:
        """The direction as weights of the steps and changes, and minus its weight of the gradient."""
        m, products = self._corrections, self._products
        weights = torch.zeros(2 * m, dtype=torch.float64)
        own = -1.0
        alphas = {}
        for slot in reversed(self._order):
            alphas[slot] = (weights @ products[:, slot] + own * along[slot]) / products[slot, m + slot]
            weights[m + slot] -= alphas[slot]
        last = self._order[-1]
        scale = float(products[last, m + last] / products[m + last, m + last])
        weights *= scale
        own *= scale
        for slot in self._order:
            beta = (weights @ products[:, m + slot] + own * along[m + slot]) / products[slot, m + slot]
            weights[slot] += alphas[slot] - beta
        return weights, -own

    def _dots(self, vectors: Tensor, used: int) -> Tensor:
        """Inner products of the steps and changes, (2 * used), with the rows of ``vectors``."""
        total = torch.zeros(2 * used, len(vectors), dtype=torch.float64)
        for columns, part in self._parts(used):
            total += (part @ vectors[:, columns].T).cpu().double()
        return total

    def _parts(self, used: int) -> Iterator[tuple[slice, Tensor]]:
        """The remembered vectors, steps first, in float32, some columns at a time."""
        length = self._vectors.shape[2]
        for start in range(0, length, _COLUMNS):
            columns = slice(start, min(start + _COLUMNS, length))
            yield columns, self._vectors[:, :used, columns].reshape(2 * used, -1).float()
