"""The two ways of going down: L-BFGS with full steps, and Adam."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from minimoto.engines.style_history import rows_on
from minimoto.engines.style_history_cuda import CudaRows

Evaluate = Callable[[Tensor], tuple[float, Tensor]]
_LEAST_GROWTH = 1e-10
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
        evaluate: the loss at a point and its gradient there, a tensor of its own: it is written over later.
        start: any shape; not changed.
        iterations: evaluations.
        corrections: updates that are remembered.
    """
    x = start.clone()
    loss, gradient = evaluate(x)
    best, lowest = x.clone(), loss
    history = History(corrections, x.numel(), x.device)
    flat = gradient.reshape(-1)
    direction = _first(flat, float(flat.abs().sum()))
    for left in reversed(range(iterations - 1)):
        if direction is None:
            break
        x += direction.view_as(x)
        loss, gradient = evaluate(x)
        if loss < lowest:
            best.copy_(x)
            lowest = loss
        if left:
            before, flat = flat, gradient.reshape(-1)
            direction = history.following(direction, before, flat)
    return best


def _first(gradient: Tensor, length: float) -> Tensor | None:
    """A step down of at most 1 in the L1 norm; ``length`` is the gradient's. ``None`` where there is nowhere to go."""
    return gradient * -min(1.0, 1.0 / length) if 0 < length < math.inf else None


class History:
    """The last steps and the gradient's changes over them, in 8 bits (:mod:`minimoto.engines.style_history`).

    A direction needs inner products alone (Chen et al. 2014, "Large-scale L-BFGS using MapReduce", algorithm 3), so all
    that is long is read three times an iteration, and the update is exact for the rounded vectors.
    """

    def __init__(self, corrections: int, length: int, device: torch.device) -> None:
        # One more than counts, for a pair that is found not to.
        count = 2 * (corrections + 1)
        # Of the vectors: each step, and behind it the change over it.
        self._rows = rows_on(device, count, length)
        # From the oldest pair on: the inverse of the products of steps with changes that are no older, the products of
        # each step with its own change, those of changes. numpy takes a third of the time that torch takes for them.
        self._inverse = np.zeros((corrections, corrections))
        self._grown, self._squares = np.zeros(corrections), np.zeros((corrections, corrections))
        self._corrections = corrections
        self._order: list[int] = []

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take a direction from."""
        return not self._order

    def following(self, step: Tensor, before: Tensor, gradient: Tensor) -> Tensor | None:
        """The direction after a step, which is remembered as by :meth:`add`; ``None`` where there is nowhere to go.

        Parameters:
            before: the gradient before the step, which is written over, as the step may be.
        """
        if isinstance(self._rows, CudaRows):
            return self._following(self._rows, step, before, gradient)
        self.add(step, torch.sub(gradient, before, out=before))
        length = float(gradient.abs().sum())
        return _first(gradient, length) if self.empty or not 0 < length < math.inf else self.direction(gradient)

    def _following(self, rows: CudaRows, step: Tensor, before: Tensor, gradient: Tensor) -> Tensor | None:
        """The same with one word from the device, for to ask it anything is to wait for it."""
        slot = self._free()
        products = rows.remember(2 * slot, step, before, gradient, 2 * (max([*self._order, slot]) + 1))
        grown, length = products[-1].tolist()
        if grown > _LEAST_GROWTH and float(products[2 * slot, 0]) > _LEAST_GROWTH:
            self._remembered(slot, products[:-1, 0])
        if self.empty or not 0 < length < math.inf:
            return _first(gradient, length)
        weights, scale = self._weights(products[: self._used(), 1])
        return rows.combined(weights, gradient, -scale)

    def add(self, step: Tensor, change: Tensor) -> None:
        """Remember a step, one over which the gradient did not grow along it left out; both may be written over."""
        if not float(torch.dot(step, change)) > _LEAST_GROWTH:
            return
        slot = self._free()
        first = 2 * slot
        self._rows.put(first, step)
        self._rows.put(first + 1, change)
        # Rounding may have turned what grew hardly at all.
        if not float(self._rows.dots([change], first, first + 1)) > _LEAST_GROWTH:
            return
        used = 2 * (max([*self._order, slot]) + 1)
        self._remembered(slot, self._rows.dots([change], 0, used)[:, 0])

    def direction(self, gradient: Tensor) -> Tensor:
        """The way to go: minus the inverse Hessian's estimate times ``gradient``."""
        weights, scale = self._weights(self._rows.dots([gradient], 0, self._used())[:, 0])
        return self._rows.combined(weights, gradient, -scale)

    def _free(self) -> int:
        return next(slot for slot in range(self._corrections + 1) if slot not in self._order)

    def _remembered(self, slot: int, products: Tensor) -> None:
        """Counts the pair of a slot; ``products``, (rows,), are those of all rows so far with its change."""
        if len(self._order) == self._corrections:
            del self._order[0]
            self._grown[:-1] = self._grown[1:].copy()
            for kept in (self._inverse, self._squares):
                kept[:-1, :-1] = kept[1:, 1:].copy()
        last = len(self._order)
        self._order.append(slot)
        pairs = products.numpy().reshape(-1, 2)[self._order]
        before, grown = pairs[:-1, 0], pairs[-1, 0]
        self._inverse[:last, last] = self._inverse[:last, :last] @ before / -grown
        self._inverse[last, last], self._grown[last] = 1 / grown, grown
        self._squares[: last + 1, last] = self._squares[last, : last + 1] = pairs[:, 1]

    def _used(self) -> int:
        """Vectors up to the last one that counts; one slot among them may be free."""
        return 2 * (max(self._order) + 1)

    def _weights(self, along: Tensor) -> tuple[Tensor, float]:
        """The direction as weights of the steps and changes, and minus its weight of the gradient.

        Source: Byrd, Nocedal and Schnabel 1994, "Representations of quasi-Newton matrices and their use in limited
        memory methods", theorem 2.2: what the two loops (Nocedal and Wright 2006, algorithm 7.4) come to.
        """
        count = len(self._order)
        inverse, squares = self._inverse[:count, :count], self._squares[:count, :count]
        scale = float(self._grown[count - 1] / squares[-1, -1])
        pairs = along.numpy().reshape(-1, 2)
        step, change = pairs[self._order].T
        solved = inverse @ step
        weights = np.zeros_like(pairs)
        weights[self._order, 0] = -((self._grown[:count] * solved + scale * (squares @ solved - change)) @ inverse)
        weights[self._order, 1] = scale * solved
        return torch.from_numpy(weights.reshape(-1)), scale
