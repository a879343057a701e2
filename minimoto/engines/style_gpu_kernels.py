"""The ``fast`` style's network on a GPU of NVIDIA: cuDNN's convolutions, and our kernels for all that lies between.

It computes what :class:`minimoto.engines.style_gpu_net.GpuNetwork` does, all features in half precision and channels
last. Bias and ReLU are part of a convolution; mirrored edges are laid around features when they are normalised; what
follows from the style, or from the noise, is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from minimoto.engines import cuda_kernel
from minimoto.engines.gpu_products import products
from minimoto.engines.style_colour import Statistics
from minimoto.engines.style_gpu_net import EPSILON, LEAST, GpuNetwork, Wanted, inverse_roots
from minimoto.engines.style_gpu_planes import taps
from minimoto.engines.style_net import FAR, FEATURES, SPARE, Block
from minimoto.engines.style_seen import EDGE

FUSED = True
"""Whether bias and ReLU are part of cuDNN's convolutions."""
_THREADS = 256
_EACH = 64
"""Pixels that a thread of ``sums`` does."""
_FULL = 16
"""Channels of the first convolution's input and of the last one's result, for the matrix units; 12 of them count."""
_KEPT = 4
"""Sizes of photos whose noise is kept as the network takes it."""
INSTEAD = "torch's operations paint, more slowly"


@dataclass(frozen=True)
class Prepared:
    """What a painting is made by, as the kernels take it.

    Parameters:
        affines: of each normalisation in turn, ``(2 * C,)``: scale less one, shift.
        refine: weight and bias of the decoder's convolution, the style's scale and shift in them.
        roots, means: near and far of :class:`~minimoto.engines.style_gpu_net.Wanted`, ``(2, FAR, FAR)`` and
            ``(2, FAR)``, zero beyond their channels; to the near mean a bias is added that comes behind.
        maps, palette: those of ``Wanted``.
        near_grain, far_grain: what the noise adds to the features, ``(h * w, C)``.
        rows, columns: as those of ``Wanted``, int32.
    """

    affines: tuple[Tensor, ...]
    refine: tuple[Tensor, Tensor]
    roots: Tensor
    means: Tensor
    maps: Tensor
    palette: Tensor
    near_grain: Tensor
    far_grain: Tensor
    rows: Tensor
    columns: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        grains = self.near_grain, self.far_grain
        places = self.rows, self.columns
        aims = self.roots, self.means
        return *self.affines, *self.refine, *aims, self.maps, self.palette, *grains, *places

    def copied(self) -> Prepared:
        """The same in memory of its own."""
        affines = tuple(one.clone() for one in self.affines)
        weight, bias, *others = (one.clone() for one in self.tensors()[len(affines) :])
        return Prepared(affines, (weight, bias), *others)


_Style = tuple[tuple[Tensor, ...], tuple[Tensor, Tensor], Tensor, Tensor]
"""Those of :class:`Prepared` that follow from the style."""


class _Layer:
    """A 3x3 convolution in half precision, its channels filled up with zeros."""

    def __init__(self, layer: nn.Conv2d, inputs: int = 0, outputs: int = 0) -> None:
        more = max(0, outputs - layer.out_channels), max(0, inputs - layer.in_channels)
        self.weight = halved(functional.pad(layer.weight, (0, 0, 0, 0, 0, more[1], 0, more[0])))
        self.bias = None if layer.bias is None else functional.pad(layer.bias, (0, more[0])).half()
        self.stride = int(layer.stride[0])

    def __call__(self, features: Tensor, padding: int = 1) -> Tensor:
        """Without a ReLU."""
        return functional.conv2d(features, self.weight, self.bias, self.stride, padding)

    def rectified(self, features: Tensor) -> Tensor:
        """And its ReLU."""
        assert self.bias is not None
        return rectified(features, self.weight, self.bias, self.stride)


class KernelNetwork:
    """The network, and what else is done to photos there.

    Parameters:
        network: on the device, in float32.
        kernels: of ``style_gpu.cu``.
    """

    def __init__(self, network: GpuNetwork, kernels: cuda_kernel.Kernels) -> None:
        self._network, self._kernels = network, kernels
        near, far = (cast(nn.Sequential, part) for part in (network.encoder.near, network.encoder.far))
        first, *others = [layer for layer in near if isinstance(layer, nn.Conv2d)]
        self._near = [_Layer(first, inputs=_FULL), *map(_Layer, others)]
        self._far = [_Layer(layer) for layer in far if isinstance(layer, nn.Conv2d)]
        trunk = network.trunk
        blocks = [cast(Block, block) for block in trunk.blocks]
        self._blocks = [(_Layer(block.first), _Layer(block.second)) for block in blocks]
        self._norms = [norm for block in blocks for norm in (block.after_first, block.after_second)] + [trunk.leave]
        self._up, self._join = _Layer(trunk.up), _Layer(trunk.join)
        assert trunk.up.bias is not None
        self._up.bias, self._up_shift = None, trunk.up.bias.double()
        self._spare = torch.tensor([SPARE / FEATURES, SPARE / FAR], dtype=torch.float64).to(self._up_shift.device)
        self._widen, self._out = _Layer(network.up.convolution), _Layer(network.out.convolution, outputs=_FULL)
        self._style: tuple[Tensor, _Style] | None = None
        self._covered: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self._kept: list[tuple[Wanted, tuple[Tensor, ...]]] = []

    def prepared(self, wanted: Wanted) -> Prepared:
        """The same as the kernels take it; what was prepared for the last photos is kept."""
        if self._style is None or self._style[0] is not wanted.code:
            self._style = wanted.code, self._styled(wanted)
        return Prepared(*self._style[1], wanted.maps, wanted.palette, *self._placed(wanted))

    def statistics(self, photo: Tensor) -> Statistics:
        """Those of the colours of ``(H, W, 3)``, bytes."""
        found = torch.zeros(9, dtype=torch.int64, device=photo.device)
        pixels = photo.numel() // 3
        grid = cuda_kernel.blocks(pixels, _THREADS * _EACH), 1, 1
        self._kernels.launch("sums", grid, (_THREADS, 1, 1), photo, found, pixels)
        sums = np.array(found.tolist()) / pixels
        mean, (rr, rg, rb, gg, gb, bb) = sums[:3] / 255, sums[3:] / 255**2
        return Statistics(mean, np.array([[rr, rg, rb], [rg, gg, gb], [rb, gb, bb]]) - np.outer(mean, mean))

    def shrunk(self, photo: Tensor, size: tuple[int, int]) -> Tensor:
        """``(H, W, 3)``, bytes, at ``size`` (width, height), each pixel the mean of those that it covers."""
        height, width = size[1], size[0]
        given = [*self._taps(photo.shape[0], height), *self._taps(photo.shape[1], width)]
        out = torch.empty(height, width, 3, dtype=torch.uint8, device=photo.device)
        sizes = photo.shape[1], height, width, len(given[0]), len(given[2])
        self._launch("shrunk", height * width, photo, *given, out, *sizes)
        return out

    def begun(self, photo: Tensor, small: Tensor, broad: Tensor, matrix: Tensor) -> Tensor:
        """A small painting enlarged, with what of the photo is finer than its small version; all bytes.

        Parameters:
            matrix: ``(3, 3)``, that the photo's detail goes through.
        """
        out = torch.empty_like(photo)
        sizes = *photo.shape[:2], *small.shape[:2]
        self._launch("begun", photo.numel() // 3, photo, small, broad, matrix.contiguous(), out, *sizes)
        return out

    def release(self) -> None:
        """Gives back the memory of what is kept of the last photos."""
        self._style = None
        self._kept.clear()
        self._covered.clear()

    def painted(self, photo: Tensor, made: Prepared) -> Tensor:
        """``(H, W, 3)``, bytes, to the same, painted."""
        h, w = len(made.rows) // 2, len(made.columns) // 2
        seen = self._empty(h, w, _FULL)
        self._launch("seen", h * w, photo, made.rows, made.columns, made.maps, seen, photo.shape[1], h, w)
        near = _through(self._near, _planes(seen))
        far = _through(self._far, near)
        (near_moved, near_shift), (far_moved, far_shift) = moved(
            (near, far), (made.roots, made.means), (made.near_grain, made.far_grain), self._spare
        )
        features = self._laid(far_moved, shift=far_shift, pad=1)
        for place, (first, second) in enumerate(self._blocks):
            inner = first(features, padding=0)
            inner = self._laid(inner, norm=made.affines[2 * place], pad=1, relu=True)
            changed = second(inner, padding=0)
            features = self._laid(changed, norm=made.affines[2 * place + 1], more=(features, 1), pad=1)
        joined = self._laid(
            self._up(self._enlarged(features), padding=0), shift=near_shift, more=(near_moved, 0), pad=1
        )
        joined = self._laid(self._join(joined, padding=0), norm=made.affines[-1], relu=True)
        half = rectified(self._spread(self._widen.rectified(joined)), *made.refine, 1)
        said = _memory(self._out(half))
        out = torch.empty_like(photo)
        self._launch("painted", photo.numel() // 3, said, made.palette, out, *photo.shape[:2], w, EDGE)
        return out

    def _styled(self, wanted: Wanted) -> _Style:
        """The affine numbers of all normalisations, the decoder's convolution with the style's in it, and the aims."""
        code = wanted.code
        affines = tuple(norm.affine(code)[0].float().contiguous() for norm in self._norms)
        refine = self._network.refine
        assert refine.bias is not None
        scale, shift = self._network.affine(code)[0].split(refine.out_channels)
        weight = halved(refine.weight * (1 + scale)[:, None, None, None])
        (near, near_mean), (far, far_mean) = wanted.near, wanted.far
        more = FAR - FEATURES
        roots = torch.stack([functional.pad(near, (0, more, 0, more)), far])
        means = torch.stack([functional.pad(near_mean[:, 0] + self._up_shift, (0, more)), far_mean[:, 0]])
        return affines, (weight, (refine.bias * (1 + scale) + shift).half()), roots, means

    def _placed(self, wanted: Wanted) -> tuple[Tensor, ...]:
        """What the noise adds near and far, and the rows and columns."""
        for one, found in self._kept:
            if one.near_grain is wanted.near_grain and one.rows is wanted.rows and one.columns is wanted.columns:
                return found
        trunk = self._network.trunk
        grains = ((trunk.near_grain, wanted.near_grain), (trunk.far_grain, wanted.far_grain))
        added = [layer(grain)[0].permute(1, 2, 0).flatten(0, 1).half().contiguous() for layer, grain in grains]
        found = (*added, wanted.rows.int(), wanted.columns.int())
        self._kept = [*self._kept, (wanted, found)][-_KEPT:]
        return found

    def _taps(self, length: int, count: int) -> tuple[Tensor, Tensor]:
        """Those of :func:`~minimoto.engines.style_gpu_planes.taps` on the device, kept for the next photo."""
        key = length, count
        if key not in self._covered:
            while len(self._covered) >= 2 * _KEPT:
                self._covered.pop(next(iter(self._covered)))
            places, shares = (torch.from_numpy(one) for one in taps(length, count))
            device = self._network.affine.weight.device
            self._covered[key] = places.int().to(device), shares.to(device)
        return self._covered[key]

    def _laid(
        self,
        features: Tensor,
        *,
        norm: Tensor | None = None,
        shift: Tensor | None = None,
        more: tuple[Tensor, int] | None = None,
        pad: int = 0,
        relu: bool = False,
    ) -> Tensor:
        """``(1, C, h, w)`` normalised by ``norm`` or moved by ``shift``; ``more``, which has edges, is added."""
        mean, inverse = statistics(features) if norm is not None else (None, None)
        features = _memory(features)
        channels, h, w = features.shape[1:]
        out = self._empty(h + 2 * pad, w + 2 * pad, channels)
        affine = norm if norm is not None else shift
        added, edges = (_memory(more[0]), more[1]) if more else (None, 0)
        sizes = h, w, channels // 8, pad, edges, int(relu)
        self._launch("laid", out.numel() // 8, features, mean, inverse, affine, added, out, *sizes)
        return _planes(out)

    def _enlarged(self, features: Tensor) -> Tensor:
        channels, h, w = features.shape[1], features.shape[2] - 2, features.shape[3] - 2
        out = self._empty(2 * h + 2, 2 * w + 2, channels)
        self._launch("enlarged", out.numel() // 8, _memory(features), out, h, w, channels // 8)
        return _planes(out)

    def _spread(self, features: Tensor) -> Tensor:
        channels, h, w = features.shape[1:]
        out = self._empty(2 * h, 2 * w, channels // 4)
        self._launch("spread", out.numel() // 8, _memory(features), out, h, w, channels // 32)
        return _planes(out)

    def _empty(self, h: int, w: int, channels: int) -> Tensor:
        return torch.empty(1, h, w, channels, dtype=torch.float16, device=self._network.affine.weight.device)

    def _launch(self, name: str, count: int, *arguments: cuda_kernel.Argument) -> None:
        self._kernels.launch(name, (cuda_kernel.blocks(count, _THREADS), 1, 1), (_THREADS, 1, 1), *arguments)


def moved(
    features: Sequence[Tensor], aims: tuple[Tensor, Tensor], added: Sequence[Tensor], spare: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """As :func:`minimoto.engines.style_gpu_net.moved`, in half precision, and what is small of both sizes at once.

    Parameters:
        aims: roots and means as those of :class:`Prepared`.
        added: to what comes of it, ``(h * w, C)``.
        spare: :data:`~minimoto.engines.style_net.SPARE` over the channels of each.

    Returns:
        What comes of it ``(1, C, h, w)``, and the shift ``(C,)``, float32, that has yet to be added.
    """
    roots, wanted = aims
    flats = [one.permute(0, 2, 3, 1).reshape(-1, one.shape[1]) for one in features]
    means, covariances = torch.zeros_like(wanted), torch.zeros_like(roots)
    for place, flat in enumerate(flats):
        channels = flat.shape[1]
        means[place, :channels] = flat.mean(0, dtype=torch.float32)
        covariances[place, :channels, :channels].add_(products(flat), alpha=1 / len(flat))
    covariances.baddbmm_(means[:, :, None], means[:, None], alpha=-1)
    diagonal = covariances.diagonal(dim1=1, dim2=2)
    # Beyond the channels of the smaller one too, where the covariance is zero: its root there is never looked at.
    diagonal += (diagonal.sum(1) * spare + LEAST)[:, None]
    changes = roots @ inverse_roots(covariances)
    shifts = (wanted - (changes @ means[:, :, None])[:, :, 0]).float()
    halves = changes.mT.to(flats[0].dtype)
    found = []
    for place, (one, flat) in enumerate(zip(features, flats, strict=True)):
        channels, height, width = one.shape[1:]
        placed = torch.addmm(added[place], flat, halves[place, :channels, :channels])
        found.append((_planes(placed.view(1, height, width, -1)), shifts[place, :channels]))
    return found


def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Means and 1 / deviations of the channels of ``(1, C, h, w)``, ``(C,)``, float32."""
    if features.is_cuda:
        return torch.batch_norm_stats(features, EPSILON)
    variance, mean = torch.var_mean(features.float(), (0, 2, 3), correction=0)
    return mean, torch.rsqrt(variance + EPSILON)


def rectified(features: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """A 3x3 convolution, zero outside, and its ReLU."""
    if FUSED and features.is_cuda:
        return torch.cudnn_convolution_relu(features, weight, bias, (stride, stride), (1, 1), (1, 1), 1)
    return functional.conv2d(features, weight, bias, stride, 1).relu_()


def halved(weight: Tensor) -> Tensor:
    """In half precision, channels last."""
    return weight.half().contiguous(memory_format=torch.channels_last)


def _through(layers: Sequence[_Layer], features: Tensor) -> Tensor:
    for layer in layers:
        features = layer.rectified(features)
    return features


def _planes(features: Tensor) -> Tensor:
    """``(1, h, w, C)`` as ``(1, C, h, w)``."""
    return features.permute(0, 3, 1, 2)


def _memory(features: Tensor) -> Tensor:
    """``(1, C, h, w)`` in memory as the kernels read it."""
    return features.contiguous(memory_format=torch.channels_last)
