"""The vectors that L-BFGS remembers, in 8 bits: half of bfloat16's memory, and enough for a direction.

A block of :data:`BLOCK` values is one scale, a 127th of the largest magnitude, and for each value a whole number of it.
A value is at most half a scale away from what is remembered; on normal noise that is 0.7 % of its deviation.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from minimoto.engines.compiled import library
from minimoto.engines.heap import trim
from minimoto.engines.runtime_device import threads

log = logging.getLogger("minimoto.style")

BLOCK = 128
"""Values with one scale."""
SOURCE = Path(__file__).with_suffix(".c")

_LEVELS = 127
_TINY = 1e-30
_WIDENED = {"cpu": 2**20, "cuda": 2**25, "mps": 2**24}
"""Values that torch widens at once: as many as stay in a processor's cache, or keep a GPU busy."""


class Rows(Protocol):
    """Vectors that are remembered, a row each, all of the same length."""

    def put(self, row: int, vector: Tensor) -> None:
        """Remember ``vector``, (length,), float32, which becomes what is remembered of it."""

    def dots(self, vectors: Sequence[Tensor], first: int, last: int) -> Tensor:
        """Inner products of the rows from ``first`` to ``last`` with one vector or two: (rows, vectors), float64."""

    def combined(self, weights: Tensor, vector: Tensor, own: float) -> Tensor:
        """``vector`` times ``own`` plus the first rows, each times its weight of ``weights``, (rows,)."""


def rows_on(device: torch.device, count: int, length: int) -> Rows:
    """Room for ``count`` vectors of ``length`` values."""
    # This is when memory runs highest, and transforming the weights left 50 to 90 MB.
    trim()
    if device.type == "cuda":
        from minimoto.engines.style_history_cuda import cuda_rows

        found = cuda_rows(count, length, device)
        if found is not None:
            return found
    compiled = _library() if device.type == "cpu" else None
    return CompiledRows(compiled, count, length, threads()) if compiled else TorchRows(count, length, device)


class TorchRows:
    """Rows in torch, on any device."""

    def __init__(self, count: int, length: int, device: torch.device) -> None:
        self._length, self._blocks = length, -(-length // BLOCK)
        self._values = torch.empty(count, self._blocks, BLOCK, dtype=torch.int8, device=device)
        self._scales = torch.empty(count, self._blocks, device=device)
        # Apple's GPU knows no double precision.
        self._exact = torch.float32 if device.type == "mps" else torch.float64

    def put(self, row: int, vector: Tensor) -> None:
        """See :class:`Rows`."""
        blocks = self._blocked(vector)
        scales = blocks.abs().amax(1) / _LEVELS
        scales = torch.where(scales > _TINY / _LEVELS, scales, 0)
        steps = torch.where(scales > 0, 1 / scales, 0)
        near = (blocks * steps[:, None]).round_()
        self._values[row], self._scales[row] = near.to(torch.int8), scales
        vector.copy_((near * scales[:, None]).view(-1)[: self._length])

    def dots(self, vectors: Sequence[Tensor], first: int, last: int) -> Tensor:
        """See :class:`Rows`."""
        blocked = torch.stack([self._blocked(vector) for vector in vectors])
        total = torch.zeros(last - first, len(vectors), dtype=self._exact, device=self._values.device)
        for part in self._parts(last - first):
            wide = self._wide(slice(first, last), part)
            total += (wide @ blocked[:, part].flatten(1).T).to(self._exact)
        return total.cpu().double()

    def combined(self, weights: Tensor, vector: Tensor, own: float) -> Tensor:
        """See :class:`Rows`."""
        out = self._blocked(vector) * own
        kept = weights.to(vector)
        for part in self._parts(len(kept)):
            out[part] += (kept @ self._wide(slice(len(kept)), part)).view(-1, BLOCK)
        return out.view(-1)[: self._length]

    def _blocked(self, vector: Tensor) -> Tensor:
        missing = self._blocks * BLOCK - self._length
        return torch.nn.functional.pad(vector, (0, missing)).view(-1, BLOCK)

    def _parts(self, rows: int) -> list[slice]:
        step = max(1, _WIDENED[self._values.device.type] // (BLOCK * max(1, rows)))
        return [slice(at, at + step) for at in range(0, self._blocks, step)]

    def _wide(self, rows: slice, part: slice) -> Tensor:
        return (self._values[rows, part] * self._scales[rows, part, None]).flatten(1)


class CompiledRows:
    """Rows that the kernels of ``style_history.c`` read, on the CPU: nothing is widened but in registers."""

    def __init__(self, kernels: ctypes.CDLL, count: int, length: int, threads: int) -> None:
        self._kernels, self._length, self._blocks = kernels, length, -(-length // BLOCK)
        self._values = torch.empty(count, self._blocks, BLOCK, dtype=torch.int8)
        self._scales = torch.empty(count, self._blocks)
        each = -(-self._blocks // threads)
        self._shares = [(at, min(at + each, self._blocks)) for at in range(0, self._blocks, each)]

    def put(self, row: int, vector: Tensor) -> None:
        """See :class:`Rows`."""
        at = self._vector(vector), self._length, _at(self._values[row]), _at(self._scales[row])
        self._share(lambda first, last, _: self._kernels.history_round(*at, first, last))

    def dots(self, vectors: Sequence[Tensor], first: int, last: int) -> Tensor:
        """See :class:`Rows`."""
        one, two = self._vector(vectors[0]), self._vector(vectors[1]) if len(vectors) > 1 else None
        rows = _at(self._values[first]), _at(self._scales[first]), self._blocks, last - first
        sums = torch.zeros(len(self._shares), last - first, len(vectors), dtype=torch.float64)
        call = self._kernels.history_dots
        self._share(lambda begin, end, share: call(one, two, self._length, *rows, begin, end, _at(sums[share])))
        return sums.sum(0)

    def combined(self, weights: Tensor, vector: Tensor, own: float) -> Tensor:
        """See :class:`Rows`."""
        kept, out = weights.float(), torch.empty_like(vector)
        rows = _at(self._values), _at(self._scales), self._blocks, len(kept)
        call = self._kernels.history_combine
        given = self._vector(vector), own, _at(kept), self._length, *rows
        self._share(lambda first, last, _: call(*given, first, last, _at(out)))
        return out

    def _vector(self, vector: Tensor) -> ctypes.c_void_p:
        """Where it lies. The kernels cannot see that it is as long as they think."""
        if vector.shape != (self._length,) or vector.dtype != torch.float32 or not vector.is_contiguous():
            raise ValueError(f"not {self._length} float32 in a row: {tuple(vector.shape)} {vector.dtype}")
        return _at(vector)

    def _share(self, call: Callable[[int, int, int], object]) -> None:
        """Calls with (first block, last block, number of the share), side by side."""
        others = [_pool().submit(call, *blocks, share) for share, blocks in enumerate(self._shares) if share]
        call(*self._shares[0], 0)
        for other in others:
            other.result()


def _at(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, threads() - 1), "history")


@functools.cache
def _library() -> ctypes.CDLL | None:
    kernels = library(SOURCE, "torch remembers L-BFGS's steps, more slowly", log)
    if kernels is not None:
        pointer, number = ctypes.c_void_p, ctypes.c_long
        rows = pointer, pointer, number, number, number, number, pointer
        kernels.history_round.argtypes = (pointer, number, pointer, pointer, number, number)
        kernels.history_dots.argtypes = (pointer, pointer, number, *rows)
        kernels.history_combine.argtypes = (pointer, ctypes.c_float, pointer, number, *rows)
    return kernels
