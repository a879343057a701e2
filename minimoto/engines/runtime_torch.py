"""Networks run by torch: on a GPU, or on the CPU where OpenVINO is not installed or not wanted.

On CUDA: half precision, channels last, one CUDA graph a shape, and copies from and to page-locked memory.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minimoto.engines.runtime_device import Device, threads

if TYPE_CHECKING:
    import torch

    from minimoto.engines.cuda_graph import Captured

    _Graph = tuple[Captured[tuple[torch.Tensor, ...]], list[torch.Tensor]]

log = logging.getLogger("minimoto.runtime")

Array = NDArray[np.float32]
GRAPHS = 8
"""CUDA graphs a network keeps: each holds its memory, so only the latest shapes stay."""


class TorchNetwork:
    """A module that takes and gives float32 arrays.

    Parameters:
        module: in evaluation mode; moved to the device and to its precision, if one of ``precisions`` is enough.
        probe: arrays that the precision is tried on.
        enough: PSNR, in dB, that a precision must hold to ``fp32``.
    """

    def __init__(
        self, name: str, module: torch.nn.Module, device: Device, probe: tuple[Array, ...], enough: float
    ) -> None:
        import torch

        if device.kind == "cpu":
            torch.set_num_threads(threads())
        self._lock = threading.Lock()
        self._device = torch.device(device.kind)
        self._graphs: OrderedDict[tuple[tuple[int, ...], ...], _Graph] = OrderedDict()
        self._module = module.to(self._device).eval().requires_grad_(False)
        self._type = torch.float32
        self._type = self._choose(name, device, probe, enough)
        self._module.to(self._type)
        if device.kind != "cpu":
            self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Runs the network: float32 arrays in its order in, float32 arrays out. Calls from threads take turns."""
        import torch

        with self._lock, torch.inference_mode():
            if self._device.type == "cuda":
                return self._replay(arrays)
            return tuple(_to_array(one) for one in self._forward([self._to_device(array) for array in arrays]))

    def lent(self, *arrays: Array) -> tuple[Array, ...]:
        """As a call; nothing is written over."""
        return self(*arrays)

    def release(self) -> None:
        """Gives back the memory that the last calls needed, captured graphs included."""
        import torch

        with self._lock:
            self._graphs.clear()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            elif self._device.type == "mps":
                torch.mps.empty_cache()

    def _choose(self, name: str, device: Device, probe: tuple[Array, ...], enough: float) -> torch.dtype:
        import copy

        import torch

        from minimoto.engines.runtime_check import psnr

        if device.precision == "fp32":
            return torch.float32
        with torch.inference_mode():
            inputs = [torch.from_numpy(array).to(self._device) for array in probe]
            wanted = [_to_array(one) for one in _tuple(self._module(*inputs))]
            for kind in (torch.float16, torch.bfloat16):
                module = copy.deepcopy(self._module).to(kind)
                got = [_to_array(one) for one in _tuple(module(*(one.to(kind) for one in inputs)))]
                exact = min(psnr(a, b) for a, b in zip(got, wanted, strict=True))
                if exact > enough:
                    log.info("%s: %s holds %.1f dB to fp32", name, kind, exact)
                    return kind
                log.warning("%s: %s holds only %.1f dB to fp32, not %.0f", name, kind, exact, enough)
        return torch.float32

    def _to_device(self, array: Array) -> torch.Tensor:
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self._device, self._type)
        if tensor.ndim == 4 and self._device.type != "cpu":
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def _forward(self, tensors: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return _tuple(self._module(*tensors))

    def _replay(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        """Runs the CUDA graph of these shapes, captured at their first use."""
        import torch

        shapes = tuple(array.shape for array in arrays)
        if shapes not in self._graphs:
            while len(self._graphs) >= GRAPHS:
                self._graphs.popitem(last=False)
            self._graphs[shapes] = self._capture(arrays)
        self._graphs.move_to_end(shapes)
        graph, inputs = self._graphs[shapes]
        for place, array in zip(inputs, arrays, strict=True):
            locked = torch.from_numpy(np.ascontiguousarray(array, np.float32)).pin_memory()
            place.copy_(locked, non_blocking=True)
        outputs = graph()
        results = [torch.empty(one.shape, dtype=torch.float32, pin_memory=True) for one in outputs]
        for result, one in zip(results, outputs, strict=True):
            result.copy_(one.float(), non_blocking=True)
        torch.cuda.current_stream().synchronize()
        return tuple(result.numpy() for result in results)

    def _capture(self, arrays: tuple[Array, ...]) -> _Graph:
        from minimoto.engines.cuda_graph import Captured

        inputs = [self._to_device(array) for array in arrays]
        return Captured(lambda: self._forward(inputs)), inputs


def _tuple(value: Any) -> tuple[torch.Tensor, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _to_array(tensor: torch.Tensor) -> Array:
    array: Array = tensor.float().contiguous().cpu().numpy()
    return array
