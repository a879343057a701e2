"""Arrays to a GPU and back, by page-locked memory that torch keeps for the next one of its size."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STAGED = 24 * 2**20
"""Bytes up to which an array is copied to page-locked memory first. Larger ones are not in the processor's cache, where
to read them twice took longer, 6.7 ms for 36 MB, than the driver's way of 3.7."""


def there(array: NDArray[Any], device: torch.device) -> Tensor:
    """A copy of an array of any shape on ``device``; what follows on the current stream finds it there."""
    if device.type != "cuda":
        return torch.from_numpy(np.array(array)).to(device)
    whole = np.ascontiguousarray(array)
    if whole.nbytes > STAGED:
        return _lent(whole).to(device)
    locked = torch.empty(whole.shape, dtype=torch.from_numpy(np.empty(0, whole.dtype)).dtype, pin_memory=True)
    # Several threads copy, where numpy has one.
    locked.copy_(_lent(whole))
    return locked.to(device, non_blocking=True)


def back(tensor: Tensor) -> tuple[NDArray[Any], torch.cuda.Event | None]:
    """A tensor's numbers on their way here, and what to wait for before they are read."""
    if tensor.device.type != "cuda":
        return tensor.cpu().numpy(), None
    locked = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    locked.copy_(tensor, non_blocking=True)
    ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
    ready.record()
    return locked.numpy(), ready


def _lent(array: NDArray[Any]) -> Tensor:
    """torch's view of a contiguous array that is read while it is held, and that may be read-only."""
    if array.flags.writeable or not array.nbytes:
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    memory = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    return torch.from_numpy(np.frombuffer(memoryview(memory), array.dtype).reshape(array.shape))
