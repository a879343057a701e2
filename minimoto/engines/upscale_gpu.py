"""The compact network of ``upscale`` on a GPU of NVIDIA: bytes go there, and bytes of the enlarged photo come back.

What :mod:`minimoto.engines.upscale` does tile by tile is done here in bands of the photo's whole width: luma, network,
bicubic enlargement and rounding. A band comes back while the next one is computed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minimoto.engines import cuda_kernel, gpu_copies
from minimoto.engines.runtime import ENOUGH
from minimoto.engines.runtime_check import psnr
from minimoto.engines.upscale_gpu_net import ByKernels, ByTorch, Layers, Way, macros
from minimoto.engines.upscale_net import UpscaleNet, build_upscale

log = logging.getLogger("minimoto.runtime")

Pixels = NDArray[Any]

BAND = 4_000_000
"""Pixels of the photo that are enlarged at once."""
KERNELS = True
"""Whether our kernels are used at both ends of the network."""
_BESIDE, _RESULT = 144, 40
"""Bytes of the GPU's memory for each of them, beside the features, and for each pixel of the result."""
_BICUBIC = 2
"""Pixels around one that its bicubic enlargement depends on."""
_EXAMPLE = 96, 104
"""Height and width of the photo that a faster way is tried on."""
_INSTEAD = "torch's operations enlarge, more slowly"


@dataclass(frozen=True)
class _Band:
    """A band of the result on its way here; ``ready``: what to wait for."""

    top: int
    rows: Pixels
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
        network = cast(UpscaleNet, build_upscale(factor)(weights).eval().requires_grad_(False))
        self._layers = Layers(network, factor, self._device, torch.float32)
        self._exact: Way = ByTorch(self._layers)
        self._plain, self._ways = self._exact, dict[tuple[bool, torch.dtype], Way]()
        if self._device.type == "cuda":
            self._halve(network)

    def takes(self, width: int) -> bool:
        """Whether the GPU has room for a band of a photo of this width."""
        if self._device.type != "cuda":
            return True
        free, _ = torch.cuda.mem_get_info(self._device)
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        pixels = max(self._band, (2 * self._margin + 1) * width)
        features = 2 * self._layers.width * self._layers.kind.itemsize
        return pixels * (features + _BESIDE + _RESULT * self._factor**2) < free + kept

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
        with torch.inference_mode():
            there = gpu_copies.there(pixels[first:last], self._device)
            return self._way(there)(there)[(top - first) * self._factor : (bottom - first) * self._factor]

    def _back(self, top: int, rows: Tensor) -> _Band:
        return _Band(top, *gpu_copies.back(rows))

    def _arrived(self, band: _Band) -> tuple[int, Pixels]:
        if band.ready is not None:
            band.ready.synchronize()
        return band.top, band.rows

    def _halve(self, network: UpscaleNet) -> None:
        """Half precision, if that holds :data:`ENOUGH` to float32."""
        layers = Layers(network, self._factor, self._device, torch.float16)
        half = ByTorch(layers)
        held = self._held(half, self._example((*_EXAMPLE, 3), torch.uint8))
        if held > ENOUGH:
            self._layers, self._plain = layers, half
            log.info("upscale: enlarged on the GPU in half precision, %.1f dB from fp32", held)
        else:
            log.warning("upscale: half precision holds only %.1f dB to fp32, not %.0f, so it is not used", held, ENOUGH)

    def _way(self, photo: Tensor) -> Way:
        """The fastest way for photos of this kind."""
        kind = photo.ndim == 2, photo.dtype
        if kind not in self._ways:
            self._ways[kind] = self._plain
            made = self._by_kernels(photo) if KERNELS and self._layers.kind == torch.float16 else None
            if made is not None:
                self._ways[kind] = made
        return self._ways[kind]

    def _by_kernels(self, photo: Tensor) -> Way | None:
        kernels = cuda_kernel.kernels("upscale_gpu", _INSTEAD, **macros(self._layers, photo))
        if kernels is None:
            return None
        made = ByKernels(self._layers, kernels)
        held = self._held(made, self._example((*_EXAMPLE, *photo.shape[2:]), photo.dtype))
        if held > ENOUGH:
            log.info("upscale: by kernels at both ends, %.1f dB from fp32", held)
            return made
        log.warning("upscale: the kernels hold only %.1f dB to fp32, not %.0f, so %s", held, ENOUGH, _INSTEAD)
        return None

    def _held(self, way: Way, photo: Tensor) -> float:
        """How near ``way`` comes to float32, in dB: in what the network says of ``photo``, and in the result."""
        with torch.inference_mode():
            said = [one.missed(photo).float().cpu().numpy() for one in (way, self._exact)]
            made = [one(photo).float().cpu().numpy() for one in (way, self._exact)]
        return min(psnr(*said), psnr(*made))

    def _example(self, shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
        chance = np.random.default_rng(0)
        numbers = chance.integers(0, torch.iinfo(kind).max + 1, shape, np.int32)
        return torch.from_numpy(numbers).to(self._device).to(kind)
