"""The compact network of ``upscale`` by the compiled kernels of the ``fast`` style: Winograd's F(6x6, 3x3), float32.

Where a CPU has no tiles of registers (AMX) they are faster than OpenVINO, in bfloat16 or not (``network_kernel.py``).
"""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from minimoto.engines.network_kernel import Kernels
from minimoto.engines.network_kernel_layout import aligned, transformed
from minimoto.engines.runtime_graph import tensors

Array = NDArray[np.float32]

PANEL = 16
"""What channels are filled up to: the kernels take them by so many."""


class KernelUpscale:
    """As :class:`minimoto.engines.upscale_net.UpscaleNet`; a :class:`~minimoto.engines.runtime.Network`.

    Parameters:
        file: its weights, safetensors.
        factor: 2, 3 or 4.
    """

    def __init__(self, kernels: Kernels, file: Path, factor: int) -> None:
        self._kernels, self._file, self._factor = kernels, file, factor
        self._turn = threading.Lock()
        self._room: tuple[Array, Array, Array] | None = None

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Luma ``(N, 1, h, w)`` to what bicubic enlargement misses, ``(N, 1, factor * h, factor * w)``."""
        [luma] = arrays
        with self._turn:
            return (np.stack([self._missed(one[0])[None] for one in luma]),)

    def lent(self, *arrays: Array) -> tuple[Array, ...]:
        """As a call."""
        return self(*arrays)

    def release(self) -> None:
        """Gives back the room for features."""
        with self._turn:
            self._room = None

    def _missed(self, luma: Array) -> Array:
        height, width = luma.shape
        weights, linear, bias = self._weights
        first, given, out = self._features(height, width, weights[0][1].shape[1])
        first[..., 1:] = 0
        first[..., 0] = luma
        self._convolved(first, weights[0], given)
        for layer in weights[1:-1]:
            self._convolved(given, layer, out)
            given, out = out, given
        # What was read first is not needed any more, and has room for what comes last.
        self._convolved(given, weights[-1], first, relu=False)
        straight = [cv2.filter2D(luma, cv2.CV_32F, kernel, borderType=cv2.BORDER_REPLICATE) for kernel in linear]
        phases = first[..., : len(linear)] + cv2.merge(straight)
        phases += bias
        s = self._factor
        return phases.reshape(height, width, s, s).transpose(0, 2, 1, 3).reshape(s * height, s * width)

    def _features(self, height: int, width: int, channels: int) -> tuple[Array, Array, Array]:
        """Room for those of a tile, kept for the next one: new memory takes a fifth of the time."""
        if self._room is None or self._room[1].shape != (height, width, channels):
            self._room = None
            given, out = (aligned(height, width, channels) for _ in range(2))
            self._room = aligned(height, width, PANEL), given, out
        return self._room

    def _convolved(self, given: Array, layer: tuple[Array, Array], out: Array, *, relu: bool = True) -> None:
        self._kernels.convolve("plain", given, *layer, out, edges="zero", relu=relu)

    @cached_property
    def _weights(self) -> tuple[list[tuple[Array, Array]], Array, Array]:
        """The convolutions in their order, the kernels ``(factor², 5, 5)`` of the linear path, and its bias."""
        stored = {name: np.asarray(t, np.float32) for name, t in tensors(self._file.read_bytes()).items()}
        layers = sum(name.startswith("body.") and name.endswith(".weight") for name in stored)
        names = ["first", *(f"body.{i}" for i in range(layers)), "head"]
        made = [_layer(stored[f"{name}.weight"], stored[f"{name}.bias"]) for name in names]
        return made, np.ascontiguousarray(stored["linear.weight"][:, 0]), stored["linear.bias"]


def _layer(weight: Array, bias: Array) -> tuple[Array, Array]:
    """Weights as the kernels take them, and scale and offset of what comes out; channels filled up with nothing."""
    outputs, inputs = weight.shape[:2]
    more = -outputs % PANEL
    after = aligned(2, outputs + more)
    after[0], after[1] = 1, np.pad(bias, (0, more))
    return transformed(np.pad(weight, ((0, more), (0, -inputs % PANEL), (0, 0), (0, 0)))), after
