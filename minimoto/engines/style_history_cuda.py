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
        self._put(row, vector, vector, 1)

    def put_both(self, row: int, one: Tensor, other: Tensor) -> None:
        """Remember two vectors in this row and the next one, as :meth:`put` does."""
        self._put(row, one, other, 2)

    def sums(self, vectors: Sequence[Tensor], first: int, last: int) -> Tensor:
        """Inner products of the rows from ``first`` to ``last`` with one vector or two, on the device.

        Returns:
            (rows, vectors), float64.
        """
        rows = last - first
        given = [self._checked(vectors[min(place, len(vectors) - 1)]) for place in range(_VECTORS)]
        found = torch.empty(rows, _VECTORS, self._parts, device=self._values.device)
        grid = cuda_kernel.blocks(self._parts, _WARPS), cuda_kernel.blocks(rows, _GROUP), 1
        sizes = rows, self._blocks, self._length, self._parts
        self._kernels.launch("dots", grid, _BLOCK, *given, self._values[first], self._scales[first], found, *sizes)
        return found.sum(2, dtype=torch.float64)[:, : len(vectors)]

    def dots(self, vectors: Sequence[Tensor], first: int, last: int) -> Tensor:
        """See :class:`~minimoto.engines.style_history.Rows`."""
        return self.sums(vectors, first, last).cpu()

    def combined(self, weights: Tensor, vector: Tensor, own: float) -> Tensor:
        """See :class:`~minimoto.engines.style_history.Rows`."""
        kept, out = weights.float().to(vector.device), torch.empty_like(vector)
        given = self._checked(vector), float(own), kept, self._values, self._scales, out
        grid = cuda_kernel.blocks(self._blocks, _WARPS), 1, 1
        self._kernels.launch("combine", grid, _BLOCK, *given, len(kept), self._blocks, self._length)
        return out

    def _put(self, row: int, one: Tensor, other: Tensor, count: int) -> None:
        given = self._checked(one), self._checked(other), self._values[row], self._scales[row]
        grid = cuda_kernel.blocks(self._blocks, _WARPS), count, 1
        self._kernels.launch("put", grid, _BLOCK, *given, self._blocks, self._length)

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
