"""The optimisation over its scales: each starts from what the coarser one came to.

Source: Gatys et al. 2017, "Controlling perceptual factors in neural style transfer", section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor

from minimoto.engines.compiled import cpu_flags
from minimoto.engines.runtime_device import threads
from minimoto.engines.style_descent import adam, lbfgs
from minimoto.engines.style_objective import Features, Objective
from minimoto.engines.style_optimise_settings import Iteration, OptimiseOptions, Pooling
from minimoto.engines.vgg import Vgg, from_pixels, to_pixels
from minimoto.engines.vgg_cuda import cuda_features
from minimoto.engines.vgg_torch import TorchFeatures
from minimoto.engines.vgg_winograd import WinogradFeatures, fits
from minimoto.engines.winograd import kernels
from minimoto.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from minimoto.engines.runtime import Device

COARSEST = 256
"""Longer side in pixels that no scale chosen by itself is much below."""

_LEAST = 16
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_NOISE = 0.001

Size = tuple[int, int]
Progress = Callable[[Iteration], None]


def features_on(vgg: Vgg, layers: Collection[str], pooling: Pooling, device: Device) -> Features:
    """The fastest way to the features of ``layers`` on ``device``."""
    if device.kind == "cpu":
        torch.set_num_threads(threads())
    # Seen with AVX-512's bfloat16 instructions: the kernels in float32 took half of the time of torch in bfloat16. Only
    # tiles of registers (AMX) multiply bfloat16 so many times faster that leaving out multiplications gains less.
    tiles = device.precision == "bf16" and "amx_bf16" in cpu_flags().split()
    if device.kind == "cpu" and not tiles and fits(vgg):
        compiled = kernels(threads())
        if compiled is not None:
            return WinogradFeatures(vgg, layers, pooling, compiled)
    # Half of what fp16 can hold is not enough for the gradients of these losses; bfloat16 has float32's range.
    half = torch.bfloat16 if device.precision != "fp32" and device.kind != "mps" else torch.float32
    written_out = cuda_features(vgg, layers, pooling) if device.kind == "cuda" and half == torch.bfloat16 else None
    return written_out or TorchFeatures(vgg, layers, pooling, device.kind, half)


def stylise_with(
    features: Features,
    vgg: Vgg,
    photo: NDArray[np.float32],
    styles: Sequence[NDArray[np.float32]],
    options: OptimiseOptions,
    progress: Progress | None = None,
    *,
    mask: NDArray[np.float32] | None = None,
    init_image: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """:func:`stylise` with a network that is loaded already."""
    _check(photo, styles, options, mask, init_image)
    height, width = photo.shape[:2]
    whole = _sized(photo, _inside((width, height), options.image_size or max(width, height)))
    if options.strength == 0:
        return whole
    size = (whole.shape[1], whole.shape[0])
    sizes = scales(size, options.scales)
    # What is too small to be pooled down to the last layer is worked at larger, and shrunk in the end.
    least = max(vgg.stride, _LEAST)
    work = _Work(features, vgg, options, progress, least)
    result = work.through(sizes, photo, styles, init_image)
    if (result.shape[1], result.shape[0]) != size:
        result = _sized(result, size)
    if options.original_colors:
        result = with_colours_of(whole, result)
    return result if mask is None else _masked(whole, result, mask)


def scales(size: Size, count: int) -> list[Size]:
    """(width, height) of each scale from coarse to fine, the last one ``size``.

    Parameters:
        count: how many; 0 goes down to about :data:`COARSEST`.
    """
    if count == 0:
        count = 1
        while max(size) >> count >= COARSEST * 3 // 4:
            count += 1
    found = [(max(1, round(size[0] / 2**k)), max(1, round(size[1] / 2**k))) for k in reversed(range(count))]
    return [one for index, one in enumerate(found) if index == len(found) - 1 or one != found[index + 1]]


def with_colours_of(photo: NDArray[np.float32], styled: NDArray[np.float32]) -> NDArray[np.float32]:
    """The luma of ``styled`` with the chroma of ``photo`` (ITU-R BT.601), both (H, W, 3), RGB, 0..1."""
    shift = (styled - photo) @ _LUMA
    return np.clip(photo + shift[..., None], 0, 1).astype(np.float32)


class _Work:
    """One optimisation over all of its scales."""

    def __init__(
        self, features: Features, vgg: Vgg, options: OptimiseOptions, progress: Progress | None, least: int
    ) -> None:
        self._features, self._vgg, self._options, self._progress = features, vgg, options, progress
        self._least = least
        self._iteration, self._cost, self._all = 0, 0.0, 1.0

    def through(
        self,
        sizes: Sequence[Size],
        photo: NDArray[np.float32],
        styles: Sequence[NDArray[np.float32]],
        init_image: NDArray[np.float32] | None,
    ) -> NDArray[np.float32]:
        """The result at the last of ``sizes``, or a little larger where that is very small."""
        shares = _shares(self._options.num_iterations, len(sizes))
        self._all = sum(share * w * h for share, (w, h) in zip(shares, sizes, strict=True))
        result = None
        for (width, height), share in zip(sizes, shares, strict=True):
            if share == 0:
                continue
            size = (max(width, self._least), max(height, self._least))
            start = result if result is not None else init_image if init_image is not None else photo
            noise = result is None and self._options.init == "random"
            result = self._at(size, share, width * height, photo, styles, start, noise=noise)
        assert result is not None
        return result

    def _at(
        self,
        size: Size,
        iterations: int,
        cost: float,
        photo: NDArray[np.float32],
        styles: Sequence[NDArray[np.float32]],
        start: NDArray[np.float32],
        *,
        noise: bool,
    ) -> NDArray[np.float32]:
        options = self._options
        content = self._pixels(_sized(photo, size))
        longest = max(self._least, round(max(size) * options.style_scale))
        aims = [self._pixels(_at_least(_inside_picture(style, longest), self._least)) for style in styles]
        objective = Objective(self._features, self._vgg, content, aims, options)
        if noise:
            chance = torch.Generator().manual_seed(options.seed)
            x = (torch.randn(content.shape, generator=chance) * _NOISE).to(content)
        else:
            x = self._pixels(_sized(start, size))
        del content, aims

        def evaluate(pixels: Tensor) -> tuple[float, Tensor]:
            losses, gradient = objective(pixels)
            self._iteration += 1
            self._cost += cost
            if self._progress:
                done = min(1.0, self._cost / self._all)
                parts = (losses.content, losses.style, losses.tv)
                self._progress(Iteration(done, self._iteration, options.num_iterations, size, losses.total, *parts))
            return losses.total, gradient

        if options.optimizer == "adam":
            return from_pixels(adam(evaluate, x, iterations, options.learning_rate))
        return from_pixels(lbfgs(evaluate, x, iterations, options.lbfgs_num_correction))

    def _pixels(self, picture: NDArray[np.float32]) -> Tensor:
        return to_pixels(picture).to(self._features.device)


def _check(
    photo: NDArray[np.float32],
    styles: Sequence[NDArray[np.float32]],
    options: OptimiseOptions,
    mask: NDArray[np.float32] | None,
    init_image: NDArray[np.float32] | None,
) -> None:
    named = [("photo", photo), *((f"style picture {n}", style) for n, style in enumerate(styles, 1))]
    for name, picture in [*named, *([("init_image", init_image)] if init_image is not None else [])]:
        if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            raise InvalidInput(f"{name}: an array of (height, width, 3) is needed, not {picture.shape}")
    if mask is not None and (mask.ndim != 2 or 0 in mask.shape):
        raise InvalidInput(f"mask: an array of (height, width) is needed, not {mask.shape}")
    if not styles:
        raise InvalidInput("styling needs a style picture")
    if options.style_blend_weights and len(options.style_blend_weights) != len(styles):
        raise InvalidInput(
            f"style_blend_weights has {len(options.style_blend_weights)} numbers for {len(styles)} style pictures"
        )


def _shares(iterations: int, scales: int) -> list[int]:
    """Iterations of each scale: even, the rest to the last ones, at least one each where there are that many."""
    each, rest = divmod(iterations, scales)
    return [each + (index >= scales - rest) for index in range(scales)]


def _inside(size: Size, longest: int) -> Size:
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _inside_picture(picture: NDArray[np.float32], longest: int) -> NDArray[np.float32]:
    """``picture`` with its longer side at ``longest``, enlarged if need be, so that its strokes come out as large."""
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    return _sized(picture, (max(1, round(width * scale)), max(1, round(height * scale))))


def _at_least(picture: NDArray[np.float32], least: int) -> NDArray[np.float32]:
    """``picture``, repeated by reflection where a side is under ``least``."""
    down, right = (max(0, least - side) for side in picture.shape[:2])
    if not (down or right):
        return picture
    return np.pad(picture, ((0, down), (0, right), (0, 0)), mode="symmetric")


def _sized(picture: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """``picture`` at (width, height): averaged when shrunk, bicubic when enlarged."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return np.ascontiguousarray(picture, np.float32)
    shrinks = size[0] <= width and size[1] <= height
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    resized = cv2.resize(np.asarray(picture, np.float32), size, interpolation=how)
    return np.clip(resized, 0, 1).astype(np.float32)


def _masked(photo: NDArray[np.float32], styled: NDArray[np.float32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
    size = (photo.shape[1], photo.shape[0])
    seen = np.clip(cv2.resize(np.asarray(mask, np.float32), size, interpolation=cv2.INTER_LINEAR), 0, 1)[..., None]
    return photo + (styled - photo) * seen
