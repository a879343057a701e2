"""The compact network of ``upscale`` on a GPU of NVIDIA: bytes go there, and bytes of the enlarged photo come back.

What :mod:`minimoto.engines.upscale` does tile by tile is done here in bands of the photo's whole width: luma, network,
bicubic enlargement and rounding. A band comes back while the next one is computed.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from minimoto.engines.runtime import ENOUGH
from minimoto.engines.runtime_check import psnr
from minimoto.engines.upscale import LUMA
from minimoto.engines.upscale_net import build_upscale

log = logging.getLogger("minimoto.runtime")

Pixels = NDArray[Any]

BAND = 4_000_000
"""Pixels of the photo that are enlarged at once."""
_FEATURES, _RESULT = 400, 40
"""Bytes of the GPU's memory for each of them, and for each pixel of the result."""
_BICUBIC = 2
"""Pixels around one that its bicubic enlargement depends on."""
_TYPES: dict[Any, torch.dtype] = {np.dtype(np.uint8): torch.uint8, np.dtype(np.uint16): torch.uint16}


@dataclass(frozen=True)
class _Band:
    """A band of the result on its way here; ``ready``: what to wait for."""

    top: int
    rows: Tensor
    ready: torch.cuda.Event | None


class GpuUpscaler:
    """The network on a device of torch.

    Parameters:
        weights: its safetensors file.
        margin: pixels around one that its result depends on.
        device: torch's name of it. On the CPU, where this is no faster than anything, it computes in float32.
        band: pixels that are enlarged at once.
    """

    def __init__(self, factor: int, weights: Path, margin: int, device: str = "cuda", band: int = BAND) -> None:
        self._factor, self._margin, self._band = factor, max(margin, _BICUBIC), band
        self._device = torch.device(device)
        self._luma = torch.from_numpy(LUMA).to(self._device)
        network = build_upscale(factor)(weights).eval().requires_grad_(False)
        self._network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._type = torch.float32
        if self._device.type == "cuda":
            self._halve()

    def takes(self, width: int) -> bool:
        """Whether the GPU has room for a band of a photo of this width."""
        if self._device.type != "cuda":
            return True
        free, _ = torch.cuda.mem_get_info(self._device)
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        pixels = max(self._band, (2 * self._margin + 1) * width)
        return pixels * (_FEATURES + _RESULT * self._factor**2) < free + kept

    def strips(self, pixels: Pixels, progress: Callable[[float], None]) -> Iterator[tuple[int, Pixels]]:
        """See :meth:`minimoto.engines.upscale.Upscaler.strips`; ``pixels`` without transparency."""
        height, width = pixels.shape[:2]
        rows = max(1, self._band // width)
        before: _Band | None = None
        for top in range(0, height, rows):
            bottom = min(height, top + rows)
            band = self._back(top * self._factor, self._enlarged(pixels, top, bottom))
            if before is not None:
                yield self._arrived(before)
            progress(bottom / height)
            before = band
        assert before is not None
        yield self._arrived(before)

    def _enlarged(self, pixels: Pixels, top: int, bottom: int) -> Tensor:
        """Rows of the result, in the kind of ``pixels``."""
        first, last = max(0, top - self._margin), min(len(pixels), bottom + self._margin)
        white = float(np.iinfo(pixels.dtype).max)
        with torch.inference_mode():
            there = self._there(pixels[first:last])
            planes = (there[None] if there.ndim == 2 else there.permute(2, 0, 1))[None].float() / white
            luma = planes if planes.shape[1] == 1 else torch.einsum("c,nchw->nhw", self._luma, planes)[:, None]
            missed = self._network(luma.to(self._type).contiguous(memory_format=torch.channels_last)).float()
            size = [side * self._factor for side in planes.shape[2:]]
            # OpenCV's INTER_CUBIC. The same amount added to R, G and B changes luma alone.
            found = functional.interpolate(planes, size, mode="bicubic", align_corners=False).add_(missed)
            kept = found[0, :, (top - first) * self._factor : (bottom - first) * self._factor]
            stored = kept.mul_(white).round_().clamp_(0, white).to(torch.int32).to(_TYPES[pixels.dtype])
            return (stored[0] if there.ndim == 2 else stored.permute(1, 2, 0)).contiguous()

    def _there(self, pixels: Pixels) -> Tensor:
        kind = _TYPES[pixels.dtype]
        if self._device.type != "cuda":
            return torch.from_numpy(np.array(pixels)).to(self._device)
        locked = torch.empty(pixels.shape, dtype=kind, pin_memory=True)
        np.copyto(locked.numpy(), pixels)
        return locked.to(self._device, non_blocking=True)

    def _back(self, top: int, rows: Tensor) -> _Band:
        if self._device.type != "cuda":
            return _Band(top, rows.cpu(), None)
        locked = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
        locked.copy_(rows, non_blocking=True)
        ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
        ready.record()
        return _Band(top, locked, ready)

    def _arrived(self, band: _Band) -> tuple[int, Pixels]:
        if band.ready is not None:
            band.ready.synchronize()
        return band.top, band.rows.numpy()

    def _halve(self) -> None:
        """Half precision, if that holds :data:`ENOUGH` to float32."""
        luma = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)).to(self._device)
        half = copy.deepcopy(self._network).half()
        with torch.inference_mode():
            wanted, got = (one.float().cpu().numpy() for one in (self._network(luma), half(luma.half())))
        held = psnr(got, wanted)
        if held > ENOUGH:
            self._network, self._type = half, torch.float16
            log.info("upscale: enlarged on the GPU in half precision, %.1f dB from fp32", held)
        else:
            log.warning("upscale: half precision holds only %.1f dB to fp32, not %.0f, so it is not used", held, ENOUGH)
