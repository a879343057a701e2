"""The parts of the ``fast`` style's network on a device, and what they know of a style."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minimoto.engines import runtime
from minimoto.engines.runtime_device import Device
from minimoto.engines.style_transport import Moments, moments

if TYPE_CHECKING:
    from minimoto.engines.style_gpu import GpuPainter
    from minimoto.engines.style_kernel_run import KernelNetwork

Array = NDArray[np.float32]
Shape = tuple[int | None, ...]

STYLE_SIZE = 256
MULTIPLE = 8
MARGIN = 24
"""Pixels around a tile that the encoder's result depends on."""
LATE_MARGIN = 16
"""The same for the parts after it."""
FEATURES = 64
FAR = 128
GRAIN = 4
CODE = 192
"""Those of :mod:`minimoto.engines.style_net`, which is not imported here: it would load torch."""

_CODE, _SPREAD = (1, CODE), (2, FEATURES)
_NEAR, _FAR, _PHOTO = (1, FEATURES, None, None), (1, FAR, None, None), (1, 3, None, None)
_PALETTE = (1, 3, 4)
_GRAIN = (1, GRAIN, None, None)
_GRAINS: Mapping[str, Shape] = {"near_grain": _GRAIN, "far_grain": _GRAIN}
_PARTS: Mapping[str, tuple[str, Mapping[str, Shape]]] = {
    "look": ("style_net:build_look", {"style": (1, 3, STYLE_SIZE, STYLE_SIZE)}),
    "encoder": ("style_net:build_encoder", {"photo": _PHOTO}),
    "trunk": ("style_net:build_trunk", {"near": _NEAR, "far": _FAR, "code": _CODE, **_GRAINS}),
    "decoder": ("style_net:build_decoder", {"features": _NEAR, "code": _CODE, "palette": _PALETTE}),
    "far": ("style_parts:build_far", {"far": _FAR, "code": _CODE, "grain": _GRAIN}),
    "up": ("style_parts:build_up", {"near": _NEAR, "far": _FAR, "grain": _GRAIN}),
    "leave": ("style_parts:build_leave", {"joined": _NEAR, "code": _CODE, "statistics": _SPREAD}),
}
_EXAMPLE_SIDES = {"photo": 64, "features": 16, "near": 16, "joined": 16, "near_grain": 16, "far": 8, "far_grain": 8}
_GRAIN_OF = {"far": "far", "up": "near"}
"""Beside which input the noise of a part lies."""


@dataclass(frozen=True)
class Networks:
    """The parts of the network on a device; each is loaded when it is first asked for.

    Parameters:
        weights: the safetensors file.
    """

    weights: Path
    device: Device

    @functools.cached_property
    def compiled(self) -> KernelNetwork | None:
        """The network by compiled kernels, where these are the fastest way."""
        from minimoto.engines.network_kernel import kernels
        from minimoto.engines.style_kernel_run import KernelNetwork

        made = kernels(self.device)
        return None if made is None else KernelNetwork(made, self.weights)

    @functools.cached_property
    def gpu(self) -> GpuPainter | None:
        """All of the painting on a GPU of NVIDIA, if that is the device."""
        if self.device.kind != "cuda":
            return None
        from minimoto.engines.style_gpu import GpuPainter

        return GpuPainter(self.weights)

    @functools.cached_property
    def _loaded(self) -> dict[str, runtime.Network]:
        return {}

    def __getitem__(self, part: str) -> runtime.Network:
        if part not in self._loaded:
            self._loaded[part] = runtime.load_spec(specs(self.weights)[part], self.device)
        return self._loaded[part]

    def release(self) -> None:
        """Gives back the memory that the last calls of all parts needed."""
        for network in self._loaded.values():
            network.release()
        if self.gpu is not None:
            self.gpu.release()


def specs(weights: Path) -> dict[str, runtime.Spec]:
    """The parts of the network, by name.

    Parameters:
        weights: the safetensors file.
    """
    return {
        part: runtime.Spec(
            f"style.{part}",
            f"minimoto.engines.{build}",
            weights,
            inputs,
            {name: _example(part, name, shape) for name, shape in inputs.items()},
        )
        for part, (build, inputs) in _PARTS.items()
    }


def _example(part: str, name: str, shape: Shape) -> tuple[int, ...]:
    beside = _GRAIN_OF[part] if name == "grain" else name
    return tuple(_EXAMPLE_SIDES[beside] if size is None else size for size in shape)


@dataclass(frozen=True)
class StyleVector:
    """All that the network knows of a style, or of the mean of several.

    Parameters:
        code: ``(1, CODE)``.
        near, far: moments of the style picture's features at a quarter and at an eighth of its size.
    """

    code: Array
    near: Moments
    far: Moments

    def scaled(self, share: float) -> StyleVector:
        """A summand of a mean of several."""
        return StyleVector(self.code * np.float32(share), self.near.scaled(share), self.far.scaled(share))

    def __add__(self, other: StyleVector) -> StyleVector:
        return StyleVector(self.code + other.code, self.near + other.near, self.far + other.far)


def look_at(networks: Networks, style: Array) -> StyleVector:
    """The style vector of a picture without its colours, ``(1, 3, STYLE_SIZE, STYLE_SIZE)``."""
    code, near, far = networks["look"](style)
    return StyleVector(code, moments(near), moments(far))
