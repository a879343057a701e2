"""The ``fast`` style on a GPU of NVIDIA: the photo goes there as bytes, and what comes back is the painting.

The same painting as that of :mod:`minimoto.engines.style_painting` and :mod:`minimoto.engines.style_tiles`, in one go:
colours, features, their moments and roots, and the broad strokes before the fine ones never leave the GPU. Convolutions
are computed in half precision, roots of covariances in float64, everything else by our kernels
(:mod:`minimoto.engines.style_gpu_kernels`) or, without them, in float32. A photo of up to :data:`GRAPHED` pixels is
replayed as a CUDA graph: it takes less time than its hundred kernels take to be launched.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from minimoto.engines import cuda_kernel, gpu_copies
from minimoto.engines import style_colour as colour
from minimoto.engines.cuda_graph import Captured
from minimoto.engines.runtime import ENOUGH
from minimoto.engines.runtime_check import psnr
from minimoto.engines.style_gpu_kernels import INSTEAD, KernelNetwork, Prepared
from minimoto.engines.style_gpu_net import GpuNetwork, Rooted, Wanted
from minimoto.engines.style_gpu_planes import area, enlarged, interleaved, planes, whole
from minimoto.engines.style_net import GRAIN, MULTIPLE
from minimoto.engines.style_seen import EDGE, folded
from minimoto.engines.style_transport import Moments, widened

if TYPE_CHECKING:
    from minimoto.engines.style_network import StyleVector

log = logging.getLogger("minimoto.runtime")

Pixels = NDArray[np.uint8]
Asked = TypeVar("Asked", Wanted, Prepared)
Told = Callable[[float], None]

GRAPHED = 4_000_000
"""Pixels up to which a photo's kernels are captured as a graph; for a larger one they outlast their launches."""
GRAPHS = 4
"""Of so many sizes of photos the graphs, each with its memory, and the noise are kept: to draw it takes the host longer
than all else, and a large photo is painted at two sizes in turn."""
KERNELS = True
"""Whether our kernels do what lies between the convolutions."""
BYTES = 140
"""Of the GPU's memory, for each pixel of a photo."""
_CHUNK = 4096
_EXAMPLE = 96
"""Pixels a side of the picture that half precision, and the kernels, are tried on."""


class GpuPainter:
    """Paints photos on a device of torch.

    Parameters:
        weights: the network's safetensors file.
        device: torch's name of it. On the CPU, where this is no faster than anything, it computes in float32.
    """

    def __init__(self, weights: Path, device: str = "cuda") -> None:
        self._device = torch.device(device)
        self._graphs: OrderedDict[tuple[int, int], _Replayed] = OrderedDict()
        self._sizes: OrderedDict[tuple[int, int, int], tuple[Tensor, ...]] = OrderedDict()
        self._style: tuple[StyleVector, tuple[Tensor, ...]] | None = None
        self._colours: tuple[colour.Statistics, tuple[colour.ColourMap, Tensor]] | None = None
        self._placed: tuple[Pixels, Tensor] | None = None
        self._kernels: KernelNetwork | None = None
        self._network = GpuNetwork(weights).to(self._device)
        if self._device.type == "cuda":
            exact = self._network
            self._network = self._in_half_precision()
            if KERNELS and self._network is not exact:
                self._kernels = self._by_kernels(exact)

    def takes(self, pixels: int) -> bool:
        """Whether the GPU has room for a photo of so many pixels."""
        if self._device.type != "cuda":
            return True
        free, _ = torch.cuda.mem_get_info(self._device)
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return pixels * BYTES < free + kept

    def statistics(self, photo: Pixels, *, kept: bool = False) -> colour.Statistics:
        """As :func:`minimoto.engines.style_colour.statistics`.

        Parameters:
            kept: whether the photo stays there for the next :meth:`styled` or :meth:`styled_twice`, which gets the same
                array, unchanged.
        """
        there = self._there(photo)
        if kept:
            self._placed = photo, there
        if self._kernels is not None:
            return self._kernels.statistics(there)
        flat = there.reshape(-1, 3)
        count, whole = len(flat), len(flat) // _CHUNK * _CHUNK
        # Beside each colour a one, so that the products hold the sums too.
        sums = torch.zeros(4, 4, dtype=torch.float64, device=self._device)
        for part in (flat[:whole].reshape(-1, _CHUNK, 3), flat[whole:][None]):
            numbers = functional.pad(part.float() / 255 - 0.5, (0, 1), value=1.0)
            sums += (numbers.transpose(1, 2) @ numbers).double().sum(0)
        means = sums.cpu().numpy() / count
        mean = means[3, :3]
        return colour.Statistics(mean + 0.5, means[:3, :3] - np.outer(mean, mean))

    def styled(
        self, photo: Pixels, own: colour.Statistics, style: StyleVector, colours: colour.Statistics, seed: int
    ) -> Pixels:
        """The photo ``(H, W, 3)``, whose colours are ``own``, in one pass.

        Parameters:
            colours: that it is given before it is painted.
            seed: of the noise.
        """
        return self._back(self._once(self._there(photo), own, style, colours, seed))

    def styled_twice(
        self,
        photo: Pixels,
        own: colour.Statistics,
        style: StyleVector,
        colours: colour.Statistics,
        seed: int,
        size: tuple[int, int],
        detail: float,
        told: Told,
    ) -> Pixels:
        """The photo, painted at ``size`` (width, height) first, and what comes of it painted again.

        Parameters:
            detail: share of the photo's own detail, finer than ``size``, that is laid over the first painting.
            told: told how much is done.
        """
        there = self._there(photo)
        matrix = torch.from_numpy(colour.colour_map(own, colours).matrix * np.float32(detail)).to(self._device)
        if self._kernels is not None:
            small = self._kernels.shrunk(there, size)
            broad = self._once(small, own, style, colours, seed)
            told(0.1)
            begun = self._kernels.begun(there, small, broad, matrix)
        else:
            begun = self._begun(there, own, style, colours, seed, size, matrix, told)
        # It has the wanted colours by now; they are not matched again.
        return self._back(self._once(begun, colours, style, colours, seed))

    def _begun(
        self,
        photo: Tensor,
        own: colour.Statistics,
        style: StyleVector,
        colours: colour.Statistics,
        seed: int,
        size: tuple[int, int],
        matrix: Tensor,
        told: Told,
    ) -> Tensor:
        given = planes(photo)
        small = whole(area(given, size))
        broad = self._once(interleaved(small), own, style, colours, seed)
        told(0.1)
        plain, begun = (enlarged(one, given) for one in (small, planes(broad)))
        begun += torch.einsum("oc,nchw->nohw", matrix, given - plain)
        return interleaved(whole(begun))

    def release(self) -> None:
        """Gives back the memory of the graphs and of what is kept of the last photo."""
        self._graphs.clear()
        self._sizes.clear()
        self._style = self._colours = self._placed = None
        if self._kernels is not None:
            self._kernels.release()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _once(
        self, photo: Tensor, own: colour.Statistics, style: StyleVector, colours: colour.Statistics, seed: int
    ) -> Tensor:
        height, width = photo.shape[:2]
        wanted = self._wanted(own, style, colours, (width, height), seed)
        with torch.inference_mode():
            if self._kernels is not None:
                return self._replayed(self._kernels.painted, photo, self._kernels.prepared(wanted))
            return self._replayed(self._painted, photo, wanted)

    def _replayed(self, paint: Callable[[Tensor, Asked], Tensor], photo: Tensor, wanted: Asked) -> Tensor:
        height, width = photo.shape[:2]
        if self._device.type != "cuda" or height * width > GRAPHED:
            return paint(photo, wanted)
        key = (width, height)
        if key not in self._graphs:
            while len(self._graphs) >= GRAPHS:
                self._graphs.popitem(last=False)
            self._graphs[key] = _Replayed(paint, photo, wanted)
        self._graphs.move_to_end(key)
        return self._graphs[key](photo, wanted)

    def _painted(self, photo: Tensor, wanted: Wanted) -> Tensor:
        """``(H, W, 3)``, bytes, to the same, painted."""
        height, width = photo.shape[:2]
        seen = photo.index_select(0, wanted.rows).index_select(1, wanted.columns).float()
        to_wanted, to_none = wanted.maps[0], wanted.maps[1]
        # What no picture could show is cut off before the colours are taken away.
        seen = (seen @ (to_wanted[:, :3] / 255).T + to_wanted[:, 3]).clamp_(0, 1)
        seen = seen @ to_none[:, :3].T + to_none[:, 3]
        plain = self._network(
            seen.permute(2, 0, 1)[None], wanted.code, wanted.near, wanted.far, wanted.near_grain, wanted.far_grain
        )
        inner = plain[EDGE : EDGE + height, EDGE : EDGE + width].float()
        painted = inner @ wanted.palette[:, :3].T + wanted.palette[:, 3]
        return whole(painted.mul_(255)).byte()

    def _wanted(
        self,
        own: colour.Statistics,
        style: StyleVector,
        colours: colour.Statistics,
        size: tuple[int, int],
        seed: int,
    ) -> Wanted:
        to_none, palette = self._looked(colours)
        maps = [colour.colour_map(own, colours), to_none]
        affine = np.stack([np.concatenate([one.matrix, one.offset[:, None]], 1) for one in maps])
        code, near, near_mean, far, far_mean = self._known(style)
        return Wanted(code, (near, near_mean), (far, far_mean), self._sent(affine), palette, *self._sized(size, seed))

    def _looked(self, colours: colour.Statistics) -> tuple[colour.ColourMap, Tensor]:
        """What takes the wanted colours away, and what gives them back; kept for the next photo."""
        if self._colours is None or self._colours[0] is not colours:
            self._colours = colours, (colour.plain_map(colours), self._sent(colour.palette(colours)))
        return self._colours[1]

    def _known(self, style: StyleVector) -> tuple[Tensor, ...]:
        """What is needed of a style, kept for the next photo."""
        if self._style is None or self._style[0] is not style:
            numbers = style.code, *_rooted(style.near), *_rooted(style.far)
            self._style = style, tuple(self._sent(one) for one in numbers)
        return self._style[1]

    def _sent(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.array(array)).to(self._device, non_blocking=True)

    def _sized(self, size: tuple[int, int], seed: int) -> tuple[Tensor, ...]:
        """The noise that a :class:`~minimoto.engines.style_tiles.Canvas` of this size has, and its rows and columns."""
        key = (*size, seed)
        if key not in self._sizes:
            while len(self._sizes) >= GRAPHS:
                self._sizes.popitem(last=False)
            chance = np.random.default_rng(seed)
            width, height = (_padded(side) for side in size)
            grains = (chance.standard_normal((1, GRAIN, height // n, width // n), np.float32) for n in (4, 8))
            places = (folded(0, _padded(side), side) for side in (size[1], size[0]))
            arrays: list[NDArray[Any]] = [*grains, *places]
            self._sizes[key] = tuple(self._sent(one) for one in arrays)
        self._sizes.move_to_end(key)
        return self._sizes[key]

    def _there(self, photo: Pixels) -> Tensor:
        kept, self._placed = self._placed, None
        if kept is not None and kept[0] is photo:
            return kept[1]
        return gpu_copies.there(photo, self._device)

    def _back(self, painted: Tensor) -> Pixels:
        result, ready = gpu_copies.back(painted)
        if ready is not None:
            ready.synchronize()
        return np.asarray(result, np.uint8)

    def _by_kernels(self, exact: GpuNetwork) -> KernelNetwork | None:
        """The network by our kernels, if that holds :data:`ENOUGH` to float32."""
        kernels = cuda_kernel.kernels("style_gpu", INSTEAD)
        if kernels is None:
            return None
        made = KernelNetwork(exact, kernels)
        photo, wanted = self._example(exact)
        with torch.inference_mode():
            half, self._network = self._network, exact
            paintings = made.painted(photo, made.prepared(wanted)), self._painted(photo, wanted)
            self._network = half
        held = psnr(*(one.float().cpu().numpy() for one in paintings))
        if held > ENOUGH:
            log.info("style: painted on the GPU by kernels between convolutions, %.1f dB from fp32", held)
            return made
        log.warning("style: the kernels hold only %.1f dB to fp32, not %.0f, so %s", held, ENOUGH, INSTEAD)
        return None

    def _example(self, network: GpuNetwork) -> tuple[Tensor, Wanted]:
        """A photo, and what it is painted by."""
        chance = torch.Generator().manual_seed(1)
        size = _EXAMPLE, _EXAMPLE + 6
        _, code, near, far, *_ = network.example(_EXAMPLE, chance)
        coarse = torch.rand(1, 3, 12, 12, generator=chance) * 255
        smooth = functional.interpolate(coarse, (size[1], size[0]), mode="bicubic") + 8 * torch.randn(
            1, 3, size[1], size[0], generator=chance
        )
        one = np.eye(3, 4, dtype=np.float32)
        maps = np.stack([one, 4 * one - np.eye(4, dtype=np.float32)[3] * 2])
        palette = one / 8 + np.eye(4, dtype=np.float32)[3] / 2
        rooted = cast(tuple[Rooted, Rooted], (near, far))
        photo = interleaved(whole(smooth)).to(self._device)
        wanted = Wanted(cast(Tensor, code), *rooted, self._sent(maps), self._sent(palette), *self._sized(size, 0))
        return photo, wanted

    def _in_half_precision(self) -> GpuNetwork:
        """The network in half precision, if that holds :data:`ENOUGH` to float32."""
        network, half = self._network, self._network.halved()
        chance = torch.Generator().manual_seed(0)
        arrays = network.example(_EXAMPLE, chance)
        with torch.inference_mode():
            exact, fast = (one(*arrays).float().cpu().numpy() for one in (network, half))
        held = psnr(fast, exact)
        if held > ENOUGH:
            log.info("style: painted on the GPU in half precision, %.1f dB from fp32", held)
            return half
        log.warning("style: half precision holds only %.1f dB to fp32, not %.0f, so it is not used", held, ENOUGH)
        return network


class _Replayed:
    """A painting of one size as a CUDA graph."""

    def __init__(self, paint: Callable[[Tensor, Asked], Tensor], photo: Tensor, wanted: Asked) -> None:
        mine = wanted.copied()
        self._photo, self._own, self._given = photo.clone(), mine.tensors(), wanted.tensors()
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            self._graph = Captured(lambda: paint(self._photo, mine))

    def __call__(self, photo: Tensor, wanted: Asked) -> Tensor:
        """The painting; what is returned is written over by the next call."""
        self._photo.copy_(photo)
        for place, given, before in zip(self._own, wanted.tensors(), self._given, strict=True):
            # Style and noise stay from photo to photo.
            if given is not before:
                place.copy_(given)
        self._given = wanted.tensors()
        return self._graph()


def _rooted(moments: Moments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The symmetric root of a widened covariance, and the mean as a column."""
    values, axes = np.linalg.eigh(widened(moments.covariance))
    return (axes * np.sqrt(np.maximum(values, 0))) @ axes.T, moments.mean[:, None]


def _padded(side: int) -> int:
    """As :attr:`minimoto.engines.style_seen.Seen.width`."""
    return -(-(side + 2 * EDGE) // MULTIPLE) * MULTIPLE
