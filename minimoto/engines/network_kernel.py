"""The compiled kernels of ``network_kernel.c``, called from several threads.

Weights are laid out by :mod:`minimoto.engines.network_kernel_layout`. Pictures and features are ``(H, W, C)``, float32,
contiguous; channels are a multiple of 32, those of :meth:`Kernels.convolve` of 16.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from minimoto.engines.compiled import cpu_flags, library
from minimoto.engines.network_kernel_layout import PAINT, SQUARE, Array, aligned
from minimoto.engines.runtime_device import Device, threads
from minimoto.engines.winograd_points import POINTS, tiles_of

log = logging.getLogger("minimoto.runtime")

Places = NDArray[np.int64]
Convolution = Literal["plain", "enlarged", "added", "painted"]

SOURCE = Path(__file__).with_suffix(".c")
NOISE = 4
EDGES = {"zero": 0, "mirror": 1, "repeat": 2}

_POINTERS = ("input", "before", "weights", "after", "noise", "places", "out", "sums")
_NUMBERS = ("in_height", "in_width", "in_channels", "out_channels", "top", "rows", "edges", "relu", "block", "next")
_ROUND = 12
"""Rows of a product of matrices that the widest vectors take at once."""
_INSTEAD = "OpenVINO runs our own networks, more slowly"
_PIXELS = 96
"""Of a block of those kernels that have no tiles."""


class _Task(ctypes.Structure):
    _fields_ = (*((name, ctypes.c_void_p) for name in _POINTERS), *((name, ctypes.c_int32) for name in _NUMBERS))


class Kernels:
    """The kernels, and the threads that share their work. Calls from several threads take turns.

    Parameters:
        library: the compiled ``network_kernel.c``.
        threads: how many work together.
    """

    def __init__(self, library: ctypes.CDLL, threads: int) -> None:
        self._library = library
        self.threads = threads
        self._pool = ThreadPoolExecutor(max(1, threads - 1), "style")
        self._scratch = [aligned(0)] * threads
        self._turn = threading.Lock()

    def convolve(
        self,
        kernel: Convolution,
        given: Array,
        weights: Array,
        after: Array,
        out: NDArray[Any],
        *,
        edges: str,
        rows: tuple[int, int] | None = None,
        before: Array | None = None,
        relu: bool = False,
        counted: bool = False,
    ) -> NDArray[np.float64] | None:
        """A 3x3 convolution by Winograd's F(6x6, 3x3).

        Parameters:
            kernel: ``plain``; or of ``given`` enlarged twofold, bilinearly: ``enlarged``, ``added`` (to what ``out``
                holds) or ``painted`` (bytes of RGB).
            weights: :func:`transformed`.
            after: ``(2, C)``: scale and offset of what comes out, which a ReLU may follow.
            edges: what lies beyond those of ``given``: ``zero``, ``mirror`` or ``repeat``.
            rows: of ``given``, first and number, for which ``out`` has room; default: all.
            before: ``(2, C)``: scale and offset of what goes in, which a ReLU follows.
            counted: whether to return ``(2, C)``: the sums of what comes out and of its squares; for ``plain``.
        """
        (height, width, inputs), outputs = given.shape, after.shape[1]
        top, count = rows or (0, height)
        columns = {"plain": outputs, "painted": PAINT}.get(kernel, 4 * outputs)
        tiles = tiles_of(count, width)
        block = _tiles(tiles, inputs + columns, self.threads)
        sums = np.empty((-(-tiles // block), 2, outputs), np.float32) if counted else None
        task = _task(
            {"input": given, "before": before, "weights": weights, "after": after, "out": out, "sums": sums},
            (height, width, inputs, outputs, top, count, EDGES[edges], int(relu), block, 0),
        )
        self._run(kernel, task, POINTS * (block * (inputs + columns) + 32))
        # Block by block and not as they are ready, so that rounding is always the same.
        return None if sums is None else sums.sum(0, dtype=np.float64)

    def seen(self, photo: NDArray[np.uint8], places: tuple[Places, Places], maps: Array, out: Array) -> None:
        """What the network sees of a photo: squares of 2x2 pixels, as ``PixelUnshuffle`` orders them.

        Parameters:
            places: the photo's rows and columns that are wanted, in their order.
            maps: ``(2, 3, 4)``: of colours 0..255, cut off at 0 and 1 between them.
            out: ``(rows / 2, columns / 2, SQUARE)``.
        """
        rows, columns = places
        all_places = np.concatenate([rows * photo.shape[1], columns]).astype(np.int32)
        tensors: Mapping[str, NDArray[Any]] = {"input": photo, "weights": maps, "places": all_places, "out": out}
        width = len(columns)
        numbers = (0, width, 3, SQUARE, 0, len(rows) // 2, 0, 0, 1, 0)
        self._run("seen", _task(tensors, numbers), 6 * (width + SQUARE))

    def halved(self, given: Array, weights: Array, after: Array, out: Array, top: int = 0) -> None:
        """A 3x3 convolution with stride 2 and a ReLU, zeros beyond the edges.

        Parameters:
            weights, after: :func:`panels` of ``(9 * in, out)`` and as in :meth:`convolve`.
            top: the row of ``given`` where the first two rows for ``out`` begin.
        """
        (height, width, inputs), (rows, _, outputs) = given.shape, out.shape
        tensors = {"input": given, "weights": weights, "after": after, "out": out}
        self._run("halved", _task(tensors, (height, width, inputs, outputs, top, rows, 0, 1, 1, 0)), 0)

    def mixed(self, features: Array, weights: Array, noise: Array) -> None:
        """Changes features in place: a matrix, noise by another one, and an offset.

        Parameters:
            weights: :func:`panels` of ``(C + NOISE + 1, C)``.
            noise: ``(1, NOISE, H, W)``.
        """
        height, width, channels = features.shape
        tensors = {"input": features, "weights": weights, "noise": noise, "out": features}
        numbers = (height * width, 1, channels, channels, 0, 0, 0, 0, _PIXELS, 0)
        self._run("mixed", _task(tensors, numbers), _PIXELS * (channels + NOISE + 1))

    def summed(self, features: Array, change: Array, after: Array) -> None:
        """Adds ``change``, with its scale and offset, to ``features``."""
        height, width, channels = features.shape
        numbers = (height * width, 1, channels, channels, 0, 0, 0, 0, _PIXELS, 0)
        self._run("summed", _task({"input": change, "after": after, "out": features}, numbers), 0)

    def _run(self, kernel: str, task: _Task, floats: int) -> None:
        function = getattr(self._library, f"style_{kernel}")
        with self._turn:
            others = range(1, self.threads)
            work = [self._pool.submit(self._share, function, task, slot, floats) for slot in others]
            self._share(function, task, 0, floats)
            for share in work:
                share.result()

    def _share(self, function: ctypes._NamedFuncPointer, task: _Task, slot: int, floats: int) -> None:
        if self._scratch[slot].size < floats:
            self._scratch[slot] = aligned(floats)
        function(ctypes.byref(task), ctypes.c_void_p(self._scratch[slot].ctypes.data))


def _task(tensors: Mapping[str, NDArray[Any] | None], numbers: tuple[int, ...]) -> _Task:
    pointers = {name: tensor.ctypes.data for name, tensor in tensors.items() if tensor is not None}
    return _Task(**pointers, **dict(zip(_NUMBERS, numbers, strict=True)))


def _tiles(tiles: int, channels: int, threads: int) -> int:
    """Tiles a block: few where few channels let all stay in the second cache, more where weights weigh more."""
    wanted = _ROUND if channels <= 128 else 2 * _ROUND
    # As many blocks for each thread as for the others.
    blocks = -(-tiles // (wanted * threads)) * threads
    return min(wanted, -(-tiles // (blocks * _ROUND)) * _ROUND)


def kernels(device: Device) -> Kernels | None:
    """The kernels, if they are the fastest way on a device; compiled if they are not in the cache yet.

    They compute in float32, with a fifth of the multiplications. OpenVINO saves by bfloat16, where the CPU has it: by
    AVX-512 alone that is twice as fast as float32 at most, and the kernels are faster still. Only tiles of registers
    (AMX) do it so many times faster that OpenVINO keeps them. ``None``, said in the log, there, on other devices, and
    where no compiler makes the kernels.
    """
    flags = frozenset(cpu_flags().split())
    if device.kind != "cpu" or device.backend != "openvino" or "amx_bf16" in flags:
        log.info("our own networks are run by %s, %s", device.backend, device.precision)
        return None
    if not {"avx2", "fma"} <= flags:
        log.info("this CPU has no AVX2, so %s", _INSTEAD)
        return None
    return compiled_kernels(threads())


@functools.cache
def compiled_kernels(threads: int) -> Kernels | None:
    """The kernels, whatever would be faster; ``None``, said in the log, where no compiler makes them."""
    made = library(SOURCE, _INSTEAD, log)
    if made is None:
        return None
    log.info("our own networks are run by compiled kernels, fp32, %d threads", threads)
    return Kernels(made, threads)
