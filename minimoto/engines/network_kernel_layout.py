"""Weights in the order in which ``network_kernel.c`` reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minimoto.engines.winograd_points import KERNEL, POINTS

Array = NDArray[np.float32]

PAINT = 16
"""Columns of the convolution that paints: see :func:`painting`."""
SQUARE = 16
"""Channels of a square of 2x2 pixels, of which 12 are used."""
_ALIGNED = 64

# A kernel of three on what is enlarged twofold is, at the even and at the odd pixels, one of three on what is small:
# an even pixel of the enlarged lies a quarter before the small one, an odd one a quarter behind.
_PHASES = np.array(
    [
        [(0.75, 0.25, 0), (0.25, 0.75, 0.75), (0, 0, 0.25)],
        [(0.25, 0, 0), (0.75, 0.75, 0.25), (0, 0.25, 0.75)],
    ]
)


def aligned(*shape: int) -> Array:
    """Memory for features, aligned as vectors like it, not filled."""
    count = int(np.prod(shape))
    whole = np.empty(count + _ALIGNED // 4, np.float32)
    skipped = -whole.ctypes.data % _ALIGNED // 4
    return whole[skipped : skipped + count].reshape(shape)


def panels(matrix: NDArray[Any]) -> Array:
    """``(inputs, out)`` as the kernels read it, sixteen columns at a time: ``(out / 16, inputs, 16)``."""
    inputs, outputs = matrix.shape
    return _packed(matrix.reshape(inputs, outputs // 16, 16).transpose(1, 0, 2))


def transformed(weight: NDArray[Any]) -> Array:
    """``(out, in, 3, 3)`` to what :meth:`Kernels.convolve` multiplies by: ``(64, out / 16, in, 16)``."""
    outputs, inputs = weight.shape[:2]
    taps = weight.astype(np.float64).reshape(outputs // 16, 16, inputs, 9).transpose(3, 0, 2, 1)
    points = np.kron(KERNEL, KERNEL) @ taps.reshape(9, -1)
    return _packed(points.reshape(POINTS, outputs // 16, inputs, 16))


def phases(weight: NDArray[Any]) -> NDArray[np.float64]:
    """``(out, in, 3, 3)`` on what is enlarged to ``(4, out, in, 3, 3)`` on what is not, phase by phase."""
    outputs, inputs = weight.shape[:2]
    found = np.einsum("pai,ocij,qbj->pqocab", _PHASES, weight.astype(np.float64), _PHASES, optimize=True)
    return np.asarray(found.reshape(4, outputs, inputs, 3, 3))


def squared(weight: NDArray[Any]) -> NDArray[Any]:
    """``(out, 12, 3, 3)``, on squares of pixels, with zeros for the channels beyond them, of which there are
    :data:`SQUARE`."""
    return np.pad(weight, ((0, 0), (0, SQUARE - weight.shape[1]), (0, 0), (0, 0)))


def painting(weight: NDArray[Any], bias: NDArray[Any], palette: NDArray[Any]) -> tuple[Array, Array]:
    """The last convolution, ``(3, in, 3, 3)``, with the palette ``(3, 4)`` behind it, to bytes: weights and ``after``.

    Of the :data:`PAINT` columns six are RGB of the two pixels of the upper row, six of the lower one.
    """
    coloured = np.einsum("xo,pocij->pxcij", palette[:, :3] * 255.0, phases(weight))
    columns = np.zeros((2, 8, *coloured.shape[2:]))
    columns[:, :6] = coloured.reshape(2, 6, *coloured.shape[2:])
    offset = np.zeros((2, 2, 8))
    # A half, because bytes are what is left when the rest is cut off.
    offset[1, :, :6] = np.tile((palette[:, :3] @ bias + palette[:, 3]) * 255 + 0.5, 2)
    offset[0] = 1
    return transformed(columns.reshape(PAINT, *coloured.shape[2:])), _packed(offset.reshape(2, PAINT))


def _packed(array: NDArray[Any]) -> Array:
    packed = aligned(*array.shape)
    packed[:] = array
    return packed
