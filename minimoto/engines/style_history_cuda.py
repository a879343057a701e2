"""L-BFGS's memory on a GPU of NVIDIA: rows that our kernels read as they lie, and one word to the host an iteration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from minimoto.engines import cuda_kernel
from minimoto.engines.style_history import BLOCK

USED = True
"""Whether a GPU's rows are these."""
_WARPS, _PART, _GROUP = 8, 8, 16
"""Those of ``style_history_cuda.cu``."""
_BLOCK = 32 * _WARPS, 1, 1
_VECTORS = 2
_INSTEAD = "torch remembers L-BFGS's steps, more slowly"


class CudaRows:
    """As :class:`~minimoto.engines.style_history.TorchRows`, with the kernels of ``style_history_cuda.cu``."""

    def __init__(self, kernels: cuda_kernel.Kernels, count: int, length: int, device: torch.device) -> None:
        self._kernels, self._length, self._blocks = kernels, length, -(-length // BLOCK)
        self._values = torch.empty(count, self._blocks, BLOCK, dtype=torch.int8, device=device)
        self._scales = torch.empty(count, self._blocks, device=device)
        self._parts = -(-self._blocks // _PART)

    def put(self, row: int, vector: Tensor) -> None:
        """See :class:`~minimoto.engines.style_history.Rows`."""
        given = self._checked(vector), self._values[row], self._scales[row]
        grid = cuda_kernel.blocks(self._blocks, _WARPS), 1, 1
        self._kernels.launch("put", grid, _BLOCK, *given, self._blocks, self._length)

    def remember(self, row: int, step: Tensor, before: Tensor, gradient: Tensor, last: int) -> Tensor:
        """Remember a step in this row, and in the next one the gradient's change over it.

        Parameters:
            before: the gradient there; the change takes its place. Change and step become what is remembered of them.
            last: up to which row inner products are wanted.

        Returns:
            On the CPU, float64, ``(last + 1, 2)``: the inner products of the rows with the change and the gradient, and
            behind them that of step and change before they were rounded, and the gradient's L1 norm.
        """
        found = torch.empty(last + 1, _VECTORS, self._parts, device=self._values.device)
        given = self._checked(step), self._checked(before), self._checked(gradient)
        grid = cuda_kernel.blocks(self._parts, _WARPS), 1, 1
        sizes = self._blocks, self._length, self._parts
        own = self._values[row], self._scales[row], found[last]
        self._kernels.launch("remember", grid, _BLOCK, *given, *own, *sizes)
        self._dots((before, gradient), 0, last, found)
        return found.sum(2, dtype=torch.float64).cpu()

    def dots(self, vectors: Sequence[Tensor], first: int, last: int) -> Tensor:
        """See :class:`~minimoto.engines.style_history.Rows`."""
        found = torch.empty(last - first, _VECTORS, self._parts, device=self._values.device)
        self._dots((vectors[0], vectors[-1]), first, last, found)
        return found.sum(2, dtype=torch.float64).cpu()[:, : len(vectors)]

    def _dots(self, vectors: tuple[Tensor, Tensor], first: int, last: int, found: Tensor) -> None:
        """Inner products of the rows from ``first`` to ``last``, part by part, into ``(rows, 2, parts)``."""
        rows = last - first
        given = self._checked(vectors[0]), self._checked(vectors[1]), self._values[first], self._scales[first]
        grid = cuda_kernel.blocks(self._parts, _WARPS), cuda_kernel.blocks(rows, _GROUP), 1
        self._kernels.launch("dots", grid, _BLOCK, *given, found, rows, self._blocks, self._length, self._parts)

    def combined(self, weights: Tensor, vector: Tensor, own: float) -> Tensor:
        """See :class:`~minimoto.engines.style_history.Rows`."""
        kept, out = weights.float().to(vector.device), torch.empty_like(vector)
        given = self._checked(vector), float(own), kept, self._values, self._scales, out
        grid = cuda_kernel.blocks(self._blocks, _WARPS), 1, 1
        self._kernels.launch("combine", grid, _BLOCK, *given, len(kept), self._blocks, self._length)
        return out

    def _checked(self, vector: Tensor) -> Tensor:
        """The kernels cannot see that it is as long, and lies as, they think."""
        plain = vector.shape == (self._length,) and vector.dtype == torch.float32 and vector.is_contiguous()
        if not plain or vector.device.type != self._values.device.type:
            raise ValueError(f"not {self._length} float32 in a row: {tuple(vector.shape)} {vector.dtype}")
        return vector


def cuda_rows(count: int, length: int, device: torch.device) -> CudaRows | None:
    """Room for ``count`` vectors of ``length`` values on a GPU; ``None``, said in the log, without kernels."""
    kernels = cuda_kernel.kernels("style_history_cuda", _INSTEAD) if USED and length < 2**31 else None
    return None if kernels is None else CudaRows(kernels, count, length, device)
