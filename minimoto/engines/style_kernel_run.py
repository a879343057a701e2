"""The ``fast`` style's network over a picture of any size, by compiled kernels.

What :mod:`minimoto.engines.style_tiles` does tile by tile is done here layer by layer over the whole picture: the
kernels read and write it block by block, so nothing but the features themselves is held. Where these would be large, at
half the photo's size and at its own, they are computed band by band.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minimoto.core.tiles import Box
from minimoto.engines.network_kernel import Kernels
from minimoto.engines.network_kernel_layout import SQUARE, Array, aligned
from minimoto.engines.style_kernel_weights import BLOCKS, Weights
from minimoto.engines.style_seen import Seen, folded
from minimoto.engines.style_transport import Moments, transport

if TYPE_CHECKING:
    from minimoto.engines.style_network import StyleVector
    from minimoto.engines.style_tiles import Canvas

NEAR, FAR, HALF = 64, 128, 32
"""Channels at a quarter, an eighth and a half of the photo's size."""
BAND = 2**18
"""Pixels of the photo, for each thread, that are worked on together where features are large."""
_MOST = 2**20
_PRODUCTS = 4096
"""Pixels whose products are summed in single precision."""
_ENCODED, _TRUNK, _JOINED = 0.25, 0.55, 0.75
"""How much of the work is done when."""


@dataclass(frozen=True)
class KernelNetwork:
    """The network, for pictures in any style.

    Parameters:
        file: its weights.
        band: default: :data:`BAND` for each thread.
    """

    kernels: Kernels
    file: Path
    band: int | None = field(default=None)

    @cached_property
    def _weights(self) -> Weights:
        return Weights(self.file)

    def run(self, canvas: Canvas, style: StyleVector) -> None:
        """Styles the picture on ``canvas``. Its outermost eight pixels are not written: photos go on beyond those."""
        # What comes and goes lies here in turn: to be given new memory takes time that can be saved.
        spare = aligned(canvas.height // 4, canvas.width // 4, NEAR)
        near, near_moments = self._near(canvas, spare)
        far, far_moments = self._far(near, spare)
        canvas.progress(_ENCODED)
        near_grain, far_grain = canvas.grains()
        self.kernels.mixed(far, self._weights.mixed("far", transport(far_moments, style.far)), far_grain)
        self._painted(far, spare, style.code, canvas)
        self.kernels.mixed(near, self._weights.mixed("near", transport(near_moments, style.near)), near_grain)
        del near_grain, far_grain
        self._add_enlarged(near, far)
        del far
        leave = self._joined(near, spare, style.code)
        del near
        canvas.progress(_JOINED)
        self._decoded(spare, leave, style.code, canvas)
        canvas.progress(1.0)

    def _rows(self, width: int, multiple: int) -> int:
        """Rows of a band of the photo."""
        pixels = self.band or min(_MOST, BAND * self.kernels.threads)
        return max(1, pixels // (width * multiple)) * multiple

    def _near(self, canvas: Canvas, spare: Array) -> tuple[Array, Moments]:
        """Features at a quarter of the size."""
        weights, kernels = self._weights, self.kernels
        height, width = spare.shape[:2]
        step = self._rows(canvas.width, 4) // 4
        folded_rows, half_rows = (aligned(2 * step + more, 2 * width, n) for more, n in ((3, SQUARE), (1, HALF)))
        for top in range(0, height, step):
            bottom = min(height, top + step)
            # A pixel is made of three of half the size from the odd one before it on, and these of a row more around.
            start, end = max(0, 2 * top - 1), 2 * bottom
            upper, lower = max(0, start - 1), min(2 * height, end + 1)
            squares, half = folded_rows[: lower - upper], half_rows[: end - start]
            self._see(canvas.seen, 2 * upper, squares)
            layer, rows = weights.first, (start - upper, end - start)
            kernels.convolve("plain", squares, layer.weights, layer.after, half, edges="zero", rows=rows, relu=True)
            layer = weights.near_halved
            kernels.halved(half, layer.weights, layer.after, spare[top:bottom], 2 * top - start)
            canvas.progress(_ENCODED / 2 * bottom / height)
        near = aligned(height, width, NEAR)
        return near, self._features(spare, weights.near.weights, weights.near.after, near)

    def _see(self, seen: Seen, top: int, squares: Array) -> None:
        """Squares of pixels, of the rows from ``top`` on."""
        bottom = top + 2 * len(squares)
        places = folded(top, bottom, seen.photo.shape[0]), folded(0, seen.width, seen.photo.shape[1])
        both = ((seen.mapped.matrix / np.float32(255), seen.mapped.offset), (seen.without.matrix, seen.without.offset))
        maps = np.stack([np.concatenate([matrix, offset[:, None]], 1) for matrix, offset in both]).astype(np.float32)
        self.kernels.seen(seen.photo, places, maps, squares)

    def _far(self, near: Array, spare: Array) -> tuple[Array, Moments]:
        """Features at an eighth of the size."""
        far = aligned(near.shape[0] // 2, near.shape[1] // 2, FAR)
        halved, _ = _halves(spare, far)
        layer = self._weights.far_halved
        self.kernels.halved(near, layer.weights, layer.after, halved)
        return far, self._features(halved, self._weights.far.weights, self._weights.far.after, far)

    def _features(self, given: Array, weights: Array, after: Array, out: Array) -> Moments:
        """The last convolution of features, into ``out``, and their moments."""
        sums = self.kernels.convolve("plain", given, weights, after, out, edges="zero", relu=True, counted=True)
        assert sums is not None
        return _moments(out, sums[0])

    def _painted(self, far: Array, spare: Array, code: Array, canvas: Canvas) -> None:
        """The residual blocks, in place."""
        weights, kernels = self._weights, self.kernels
        pixels = far.shape[0] * far.shape[1]
        first, second = _halves(spare, far)
        for block in range(BLOCKS):
            one, other = weights.blocks[block]
            sums = kernels.convolve("plain", far, one.weights, one.after, first, edges="mirror", counted=True)
            assert sums is not None
            norm = weights.block_norm(block, "first", code, sums, pixels)
            sums = kernels.convolve(
                "plain", first, other.weights, other.after, second, edges="mirror", before=norm, counted=True
            )
            assert sums is not None
            kernels.summed(far, second, weights.block_norm(block, "second", code, sums, pixels))
            canvas.progress(_ENCODED + (_TRUNK - _ENCODED) * (block + 1) / BLOCKS)

    def _add_enlarged(self, near: Array, far: Array) -> None:
        """Adds ``far``, enlarged and through a convolution, to ``near``."""
        weights = self._weights
        rows, columns = ((0, 0, 1), (-1, -1, -2)), ((0, 0, 1), (-1, -1, -2))
        # Along the edges the kernel is not right, and they are done again.
        edges = [
            *((near[at], near[at] + weights.up_edge(far[a], far[b], across=True)) for at, a, b in rows),
            *((near[:, at], near[:, at] + weights.up_edge(far[:, a], far[:, b], across=False)) for at, a, b in columns),
        ]
        self.kernels.convolve("added", far, weights.up.weights, weights.up.after, near, edges="repeat")
        for edge, wanted in edges:
            edge[:] = wanted

    def _joined(self, summed: Array, joined: Array, code: Array) -> Array:
        """What the trunk ends with, and the scale and offset of its last normalisation, which a ReLU follows."""
        layer = self._weights.join
        sums = self.kernels.convolve("plain", summed, layer.weights, layer.after, joined, edges="mirror", counted=True)
        assert sums is not None
        return self._weights.leave(code, sums, summed.shape[0] * summed.shape[1])

    def _decoded(self, joined: Array, leave: Array, code: Array, canvas: Canvas) -> None:
        """The picture, band by band.

        Each layer lags a row behind the one before it, of which the last two rows are kept for the next band; so no row
        is computed twice. What would follow the last band is not seen: it lies in the last eight rows.
        """
        weights, kernels = self._weights, self.kernels
        up, refine, paint = weights.decoder_up, weights.refine(code), weights.paint(canvas.palette)
        height, width = joined.shape[:2]
        step = self._rows(canvas.width, 24) // 4
        half = aligned(2 * step + 2, 2 * width, HALF)
        refined = aligned(2 * step + 2, 2 * width, HALF)
        pixels: NDArray[np.uint8] = np.empty((4 * step, 4 * width, 3), np.uint8)
        # What comes before the first row. It lies in the first eight rows, and is not seen.
        half[:2] = refined[:2] = 0
        for top in range(0, height, step):
            count = min(step, height - top)
            new = 2 * count
            rows = top, count
            kernels.convolve(
                "enlarged", joined, up.weights, up.after, half[2:], edges="repeat", rows=rows, before=leave, relu=True
            )
            seen = half[: new + 2]
            kernels.convolve(
                "plain", seen, refine.weights, refine.after, refined[2:], edges="zero", rows=(1, new), relu=True
            )
            painted = pixels[: 2 * new]
            seen = refined[: new + 2]
            kernels.convolve("painted", seen, paint.weights, paint.after, painted, edges="repeat", rows=(1, new))
            self._written(painted, 4 * top - 4, canvas)
            half[:2], refined[:2] = half[new : new + 2], refined[new : new + 2]
            canvas.progress(_JOINED + (1 - _JOINED) * (top + count) / height)

    def _written(self, painted: NDArray[np.uint8], top: int, canvas: Canvas) -> None:
        """Writes a band that begins at row ``top``, which may lie before the picture."""
        skipped = max(0, -top)
        canvas.write(Box(0, top + skipped, canvas.width, top + len(painted)), painted[skipped:])


def _halves(spare: Array, like: Array) -> tuple[Array, Array]:
    """The two halves of ``spare``, each of the shape of ``like``."""
    one, other = spare.reshape(2, *like.shape)
    return one, other


def _moments(features: Array, sums: NDArray[np.float64]) -> Moments:
    """Of features whose sums are known."""
    flat = features.reshape(-1, features.shape[2])
    products = np.zeros((flat.shape[1], flat.shape[1]))
    for start in range(0, len(flat), _PRODUCTS):
        part = flat[start : start + _PRODUCTS]
        products += part.T @ part
    mean = sums / len(flat)
    return Moments(mean, products / len(flat) - np.outer(mean, mean))
