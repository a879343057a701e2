"""The compiled kernels of ``winograd.c``, called from several threads."""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from minimoto.engines.compiled import library
from minimoto.engines.network_kernel_layout import aligned
from minimoto.engines.winograd_points import KERNEL, POINTS, tiles_of

log = logging.getLogger("minimoto.style")

SOURCE = Path(__file__).with_suffix(".c")

CHUNK = 32_768
"""Floats of scratch memory that the kernels have which need not say how much."""
_PACKED = 32 * 256
"""No less than the kernels' own ``32 * DEPTH``."""
_ROUND = 4
"""Rows of a product of matrices below which its vectors wait for each other."""


class _Task(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("input", "codes", "weights", "bias", "out", "mask", "pooled")),
        ("pooled_codes", ctypes.c_void_p),
        *((name, ctypes.c_int32) for name in ("height", "width", "in_channels", "out_channels")),
        *((name, ctypes.c_int32) for name in ("transposed", "add", "block")),
        ("next", ctypes.c_int32),
    )


class Kernels:
    """The kernels, and the threads that share their work.

    Parameters:
        library: the compiled ``winograd.c``.
        threads: how many work together.
    """

    def __init__(self, library: ctypes.CDLL, threads: int) -> None:
        self._library = library
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "winograd") if threads > 1 else None
        self._scratch: list[Tensor] = [torch.empty(0)] * threads

    def run(
        self,
        kernel: str,
        sizes: tuple[int, int, int, int],
        tensors: Mapping[str, Tensor | None],
        parts: int = 0,
        **flags: bool,
    ) -> None:
        """Run one kernel to its end.

        Parameters:
            kernel: its name in ``winograd.c`` after ``winograd_``.
            sizes: height, width, channels in, channels out.
            tensors: contiguous, by their names in ``winograd.c``'s ``task`` (``input`` is its ``in``).
            parts: how many blocks the rows are divided into; 0 leaves that to the kernel.
            flags: ``add`` and ``transposed``, as in ``task``; both are off if left out.
        """
        height, width, inputs, outputs = sizes
        block = self._tiles(height, width, inputs, outputs) if kernel == "3x3" else -(-height // parts) if parts else 8
        floats = POINTS * (block * (inputs + outputs) + 32) + _PACKED if kernel == "3x3" else CHUNK
        numbers = dict(zip(("height", "width", "in_channels", "out_channels"), sizes, strict=True))
        pointers = {name: tensor.data_ptr() for name, tensor in tensors.items() if tensor is not None}
        task = _Task(**pointers, **numbers, **{name: int(flag) for name, flag in flags.items()}, block=block)
        function = getattr(self._library, f"winograd_{kernel}")
        others = range(1, self.threads)
        work = [self._pool.submit(self._share, function, task, slot, floats) for slot in others] if self._pool else []
        self._share(function, task, 0, floats)
        for share in work:
            share.result()

    def _share(self, function: ctypes._NamedFuncPointer, task: _Task, slot: int, floats: int) -> None:
        if self._scratch[slot].numel() < floats:
            self._scratch[slot] = room(floats)
        function(ctypes.byref(task), ctypes.c_void_p(self._scratch[slot].data_ptr()))

    def _tiles(self, height: int, width: int, inputs: int, outputs: int) -> int:
        """Tiles a block: few where few channels let all stay in the second cache, more where weights weigh more."""
        tiles = tiles_of(height, width)
        wanted = 24 if inputs + outputs <= 256 else 48 if inputs + outputs <= 384 else 96
        # As many blocks for each thread as for the others.
        blocks = -(-tiles // (wanted * self.threads)) * self.threads
        return min(wanted, -(-tiles // (blocks * _ROUND)) * _ROUND)


def room(*shape: int) -> Tensor:
    """Memory, float32, not filled: NumPy's, which asks Linux for large pages; features then lie on few of them."""
    return torch.from_numpy(aligned(*shape))


def transformed(weight: Tensor) -> Tensor:
    """(out, in, 3, 3) to what the kernel ``3x3`` multiplies by: (64, out / 16, in, 16), float32."""
    g = torch.tensor(KERNEL, dtype=torch.float64)
    outputs, inputs = weight.shape[:2]
    found = room(POINTS, outputs // 16, inputs, 16)
    for panel in range(outputs // 16):
        part = torch.einsum("ai,ocij,bj->abco", g, weight[16 * panel : 16 * panel + 16].double(), g)
        found[:, panel] = part.reshape(POINTS, inputs, 16).float()
    return found


def kernels(threads: int) -> Kernels | None:
    """The kernels, compiled if they are not in the cache yet; ``None``, said in the log, where that cannot be done."""
    made = _library()
    return Kernels(made, threads) if made else None


@functools.cache
def _library() -> ctypes.CDLL | None:
    return library(SOURCE, "torch's slower convolutions are used", log)
