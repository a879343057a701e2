"""Products of features with themselves, of half precision and summed in float32."""

from __future__ import annotations

import functools
import logging

import torch
from torch import Tensor

log = logging.getLogger("minimoto.runtime")


def products(flat: Tensor) -> Tensor:
    """The products of all pairs of columns of ``(n, channels)``, summed in float32: ``(channels, channels)``."""
    if flat.is_cuda and flat.dtype != torch.float32 and _sums_wide():
        return torch.mm(flat.T, flat, out_dtype=torch.float32)
    wide = flat.float()
    return wide.T @ wide


@functools.cache
def _sums_wide() -> bool:
    """Whether torch has products of half precision that are float32 (from 2.8 on)."""
    one = torch.ones(16, 16, dtype=torch.bfloat16, device="cuda")
    try:
        return torch.mm(one, one, out_dtype=torch.float32).dtype == torch.float32
    except (TypeError, RuntimeError) as error:
        log.warning("this torch sums no half precision in float32, so features are widened, slowly: %s", error)
        return False
