"""Runs networks on what is fastest here: OpenVINO on the CPU, torch on a GPU, and torch is the source of truth.

    device = choose_device("auto")
    inputs = {"photo": (1, 3, None, None)}
    encode = load("style.encoder", "minimoto.engines.style_net:build_encoder", path, inputs, device)
    (features,) = encode(photo)

A network is converted from torch once, checked against it, compiled once, and read from the cache at every later
start, which does not import torch. docs/runtime.md has the figures.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import logging
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from minimoto.engines import runtime_cache as cache
from minimoto.engines.runtime_cache import cache_dir
from minimoto.engines.runtime_check import least_psnr
from minimoto.engines.runtime_check import probe as make_probe
from minimoto.engines.runtime_device import NO_TORCH, Device, choose_device, threads
from minimoto.errors import ConfigError

if TYPE_CHECKING:
    import torch

__all__ = ["ENOUGH", "Device", "Network", "cache_dir", "choose_device", "load", "threads"]

log = logging.getLogger("minimoto.runtime")

ENOUGH = 45.0
"""PSNR in dB that a precision below float32 must hold to it, on arrays of 0..1; else the network runs in float32."""
CONVERTED = 80.0
"""PSNR in dB that a converted network, in float32, must hold to torch; else torch runs it."""

_FORMAT = 1
"""Of what is cached; a new number leaves everything older unused."""

Array = NDArray[np.float32]


class Network(Protocol):
    """A network on the device that it was loaded for."""

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Runs the network: float32 arrays in the order of its inputs in, float32 arrays out."""


@dataclass(frozen=True)
class _Spec:
    """What :func:`load` was asked for."""

    name: str
    build: Callable[[Path], torch.nn.Module] | str
    weights: Path
    inputs: Mapping[str, tuple[int | None, ...]]
    probe: tuple[Array, ...]

    def module(self) -> torch.nn.Module:
        if find_spec("torch") is None:
            raise ConfigError(f"{self.name}: {NO_TORCH}")
        build = self.build
        if isinstance(build, str):
            module, _, function = build.partition(":")
            build = getattr(importlib.import_module(module), function)
        return build(self.weights).eval().requires_grad_(False)

    def key(self) -> str:
        """Of all that the network's numbers depend on."""
        shapes = [[name, list(shape)] for name, shape in self.inputs.items()]
        about = [self.name, shapes, [one.shape for one in self.probe], _FORMAT, metadata.version("openvino")]
        parts = (json.dumps(about).encode(), self.weights.read_bytes(), _source(self.build))
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]


def load(
    name: str,
    build: Callable[[Path], torch.nn.Module] | str,
    weights: Path,
    inputs: Mapping[str, tuple[int | None, ...]],
    device: Device | None = None,
    *,
    example: Mapping[str, tuple[int, ...]] | None = None,
) -> Network:
    """The network, ready to run; seconds the first time, a fraction of one from then on.

    Parameters:
        name: of the network, for the log and the cache, such as ``style.encoder``.
        build: gives the torch module with the weights of a file loaded. As text, ``package.module:function``, it is
            imported only when it is needed, so that a warm start does not import torch.
        weights: the file that ``build`` is given.
        inputs: name to shape, in the order of the module's arguments; ``None`` for a size that may change.
        device: default: :func:`choose_device`'s.
        example: shapes to trace and check with, where sizes left open depend on each other; default: 64 for each.

    Raises:
        ConfigError: a library that is needed is not installed.
    """
    device = device or choose_device()
    spec = _Spec(name, build, weights, inputs, make_probe(inputs, example))
    if device.backend == "openvino":
        network = _from_cache(spec, device)
        if network is not None:
            return network
    from minimoto.engines.runtime_torch import TorchNetwork

    return TorchNetwork(name, spec.module(), device, spec.probe, ENOUGH)


def _from_cache(spec: _Spec, device: Device) -> Network | None:
    """The network in OpenVINO, made if it is not cached; ``None`` where it does not hold to torch."""
    folder = cache_dir() / "networks"
    converted = folder / f"{spec.name}-{spec.key()}"
    cpu = hashlib.sha256(f"{device.name} {platform.machine()} {device.precision}".encode()).hexdigest()[:8]
    compiled = folder / f"{converted.name}-{cpu}"
    network = _opened(compiled)
    if network is not None:
        return network
    with cache.lock(converted):
        # Another process may have made it meanwhile.
        network = _opened(compiled)
        if network is None:
            network = _made(spec, device, converted, compiled)
    return network


def _opened(folder: Path) -> Network | None:
    from minimoto.engines.runtime_openvino import Compiled, open_compiled

    entry = cache.read(folder)
    if entry is None:
        return None
    compiled = Compiled(entry.files["compiled"], entry.about["precision"], entry.about["psnr"])
    try:
        return open_compiled(compiled)
    except RuntimeError as error:
        log.warning("the cache entry %s cannot be used here (%s) and is made again", folder, str(error).splitlines()[0])
        return None


def _made(spec: _Spec, device: Device, converted: Path, compiled: Path) -> Network | None:
    from minimoto.engines.runtime_openvino import compile_graph, open_compiled

    graph = cache.read(converted) or _converted(spec)
    if graph.about["psnr"] <= CONVERTED:
        log.warning("%s: OpenVINO holds only %.1f dB to torch, so torch runs it", spec.name, graph.about["psnr"])
        return None
    cache.write(converted, graph)
    files = (graph.files["graph.xml"], graph.files["constants.bin"])
    made = compile_graph(*files, spec.probe, bf16=device.precision == "bf16", enough=ENOUGH)
    if made.precision != device.precision:
        log.warning("%s: bf16 holds only %.1f dB to fp32, so it runs in fp32", spec.name, made.psnr)
    cache.write(
        compiled, cache.Entry({"compiled": made.data}, {"precision": made.precision, "psnr": min(made.psnr, 999.0)})
    )
    cache.prune(compiled.parent, keep=compiled)
    return open_compiled(made)


def _converted(spec: _Spec) -> cache.Entry:
    """Converts the module, and compares the two."""
    import torch

    from minimoto.engines.runtime_openvino import Compiled, compile_graph, convert, open_compiled, serialise

    log.info("%s: converting it for this CPU, once", spec.name)
    module = spec.module()
    torch.set_num_threads(threads())
    graph, constants = serialise(convert(module, spec.inputs, spec.probe))
    compiled: Compiled = compile_graph(graph, constants, spec.probe, bf16=False, enough=ENOUGH)
    with torch.inference_mode():
        wanted = module(*map(torch.from_numpy, spec.probe))
    outputs = wanted if isinstance(wanted, (tuple, list)) else (wanted,)
    held = least_psnr(open_compiled(compiled)(*spec.probe), tuple(one.numpy() for one in outputs))
    about: dict[str, Any] = {"psnr": min(held, 999.0)}
    return cache.Entry({"graph.xml": graph, "constants.bin": constants}, about)


def _source(build: Callable[..., Any] | str) -> bytes:
    """The code that makes the network, found without importing it."""
    if isinstance(build, str):
        found = find_spec(build.partition(":")[0])
        origin = None if found is None else found.origin
    else:
        origin = inspect.getsourcefile(build)
    return Path(origin).read_bytes() if origin else b""
