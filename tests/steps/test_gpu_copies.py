"""Arrays to a device and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from minimoto.engines import gpu_copies

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
    ),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float64])
@pytest.mark.parametrize("staged", [True, False])
def test_arrays_of_any_layout_arrive_and_come_back(
    device: str, kind: type, monkeypatch: pytest.MonkeyPatch, *, staged: bool
) -> None:
    monkeypatch.setattr(gpu_copies, "STAGED", 10**6 if staged else 0)
    array = np.arange(60).reshape(4, 5, 3).astype(kind)
    read_only = array.copy()
    read_only.flags.writeable = False
    for given in (array, read_only, array[::-1], read_only[:, 1:3], array[..., 1], array[:0]):
        there = gpu_copies.there(given, torch.device(device))
        assert there.device.type == device
        found, ready = gpu_copies.back(there)
        if ready is not None:
            ready.synchronize()
        assert found.dtype == kind
        assert np.array_equal(found, given)


def test_a_read_only_array_is_seen_where_it_lies() -> None:
    array = np.arange(6, dtype=np.uint8)
    array.flags.writeable = False
    assert gpu_copies._lent(array).data_ptr() == array.ctypes.data
