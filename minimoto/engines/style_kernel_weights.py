"""The weights of the ``fast`` style's network, as the compiled kernels take them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minimoto.engines.network_kernel_layout import Array, painting, panels, phases, squared, transformed
from minimoto.engines.runtime_graph import tensors
from minimoto.engines.style_transport import Transport

BLOCKS = 3
_EPSILON = 1e-5
"""That of :func:`torch.nn.functional.instance_norm`."""


@dataclass(frozen=True)
class Layer:
    """A convolution.

    Parameters:
        weights: in the order of its kernel.
        after: ``(2, C)``: scale and offset of what comes out of it.
    """

    weights: Array
    after: Array


class Weights:
    """All layers but those that look at a style picture. Layers that follow the style are made for one when asked for.

    Parameters:
        file: safetensors.

    Raises:
        ValueError: it cannot be read.
    """

    def __init__(self, file: Path) -> None:
        stored = tensors(file.read_bytes())
        parts = ("encoder.", "trunk.", "decoder.")
        self._all = {name: np.asarray(t, np.float32) for name, t in stored.items() if name.startswith(parts)}
        self.first = Layer(transformed(squared(self._of("encoder.near.1"))), self._bias("encoder.near.1"))
        self.near_halved, self.far_halved = (self._halved(name) for name in ("encoder.near.3", "encoder.far.0"))
        self.near, self.far = (self._plain(name) for name in ("encoder.near.5", "encoder.far.2"))
        self.blocks = [
            [self._plain(f"trunk.blocks.{block}.{which}") for which in ("first", "second")] for block in range(BLOCKS)
        ]
        self.up, self.decoder_up = (self._enlarged(name) for name in ("trunk.up", "decoder.up"))
        self.join, self._refine = (self._plain(name) for name in ("trunk.join", "decoder.refine"))

    def mixed(self, which: str, change: Transport) -> Array:
        """Features ``near`` or ``far`` to those of the style, with their noise: for the kernel ``mixed``."""
        grain = self._of(f"trunk.{which}_grain")[:, :, 0, 0]
        return panels(np.concatenate([change.change, grain, change.offset], 1).T)

    def block_norm(self, block: int, which: str, code: Array, sums: NDArray[np.float64], pixels: int) -> Array:
        """Scale and offset after the ``first`` or ``second`` convolution of a block; see :meth:`_norm`."""
        return self._norm(f"trunk.blocks.{block}.after_{which}", code, sums, pixels)

    def leave(self, code: Array, sums: NDArray[np.float64], pixels: int) -> Array:
        """Scale and offset of what leaves the trunk; see :meth:`_norm`."""
        return self._norm("trunk.leave", code, sums, pixels)

    def refine(self, code: Array) -> Layer:
        """The decoder's second convolution, in a style."""
        scale, offset = self._affine("decoder", code)
        scale = 1 + scale
        return Layer(self._refine.weights, _pair(scale, self._refine.after[1] * scale + offset))

    def paint(self, palette: Array) -> Layer:
        """The last convolution, in a style's colours, ``(3, 4)``, to bytes."""
        return Layer(*painting(self._of("decoder.out"), self._all["decoder.out.bias"], palette))

    def up_edge(self, outer: Array, inner: Array, *, across: bool) -> Array:
        """What :attr:`up` gives along an edge, where it mirrors what is enlarged, which the kernels cannot.

        Parameters:
            outer, inner: the pixels at the edge and those beside them, ``(n, C)``.
            across: whether the edge is an upper or a lower one.

        Returns:
            ``(2 * n, C)``.
        """
        weight = self._of("trunk.up")
        # Along `lines` lies the edge: (out, in, across the edge, along it).
        lines = weight if across else weight.transpose(0, 1, 3, 2)
        # Enlarged, the outermost pixels are `outer`, and those on both sides of them, as these mirror, 3/4 `outer` and
        # 1/4 `inner`.
        beside = lines[:, :, 0] + lines[:, :, 2]
        taps = np.concatenate([lines[:, :, 1] + np.float32(0.75) * beside, np.float32(0.25) * beside], 1)
        both = np.concatenate([outer, inner], 1)
        padded = np.pad(_enlarged(both), ((1, 1), (0, 0)), mode="reflect")
        length = 2 * len(both)
        found = sum(padded[tap : tap + length] @ taps[:, :, tap].T for tap in range(3))
        return np.asarray(found + self.up.after[1], np.float32)

    def _of(self, name: str) -> Array:
        return self._all[f"{name}.weight"]

    def _bias(self, name: str) -> Array:
        outputs = self._of(name).shape[0]
        return _pair(np.ones(outputs), self._all.get(f"{name}.bias", np.zeros(outputs)))

    def _plain(self, name: str) -> Layer:
        return Layer(transformed(self._of(name)), self._bias(name))

    def _enlarged(self, name: str) -> Layer:
        four = phases(self._of(name))
        return Layer(transformed(four.reshape(-1, *four.shape[2:])), self._bias(name))

    def _halved(self, name: str) -> Layer:
        weight = self._of(name)
        return Layer(panels(weight.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0])), self._bias(name))

    def _affine(self, name: str, code: Array) -> Array:
        made = self._of(f"{name}.affine") @ code[0] + self._all[f"{name}.affine.bias"]
        return np.asarray(made.reshape(2, -1), np.float32)

    def _norm(self, name: str, code: Array, sums: NDArray[np.float64], pixels: int) -> Array:
        """Scale and offset, ``(2, C)``, of an instance normalisation of features whose ``sums`` are known."""
        mean, squares = sums / pixels
        scale, offset = self._affine(name, code)
        gain = (1 + scale) / np.sqrt(np.maximum(squares - mean * mean, 0) + _EPSILON)
        return _pair(gain, offset - mean * gain)


def _pair(scale: NDArray[Any], offset: NDArray[Any]) -> Array:
    return np.ascontiguousarray(np.stack([scale, offset]), np.float32)


def _enlarged(line: Array) -> Array:
    """``(n, C)`` to ``(2 * n, C)``, bilinear."""
    padded = np.pad(line, ((1, 1), (0, 0)), mode="edge")
    quarter, rest = np.float32(0.25), np.float32(0.75)
    found = np.empty((2 * len(line), line.shape[1]), np.float32)
    found[0::2] = quarter * padded[:-2] + rest * padded[1:-1]
    found[1::2] = rest * padded[1:-1] + quarter * padded[2:]
    return found
