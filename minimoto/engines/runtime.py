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
import logging
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from minimoto.engines import runtime_cache as cache
from minimoto.engines.runtime_cache import cache_dir
from minimoto.engines.runtime_device import Device, choose_device, threads
from minimoto.engines.runtime_spec import Spec

if TYPE_CHECKING:
    import torch

    from minimoto.engines.runtime_graph import Graph

__all__ = ["ENOUGH", "Device", "Network", "Spec", "cache_dir", "choose_device", "load", "load_spec", "threads"]

log = logging.getLogger("minimoto.runtime")

ENOUGH = 45.0
"""PSNR in dB that a precision below float32 must hold to it, on arrays of 0..1; else the network runs in float32."""
CONVERTED = 80.0
"""PSNR in dB that a converted network, in float32, must hold to torch; else torch runs it."""

Array = NDArray[np.float32]


class Network(Protocol):
    """A network on the device that it was loaded for."""

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Runs the network: float32 arrays in the order of its inputs in, float32 arrays out.

        Safe for several threads; their calls take turns.
        """

    def lent(self, *arrays: Array) -> tuple[Array, ...]:
        """As a call, but what comes out may be written over by the next one: no copy is made of it.

        After :meth:`release` it is the caller's. For networks that only one thread uses.
        """

    def release(self) -> None:
        """Gives back the memory that the last calls needed, and lets go of the arrays that they were given.

        The next call takes what it needs again.
        """


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
        ConfigError: a library that is needed is not installed, or the weights cannot be read.
    """
    return load_spec(Spec(name, build, weights, inputs, example), device)


def load_spec(spec: Spec, device: Device | None = None) -> Network:
    """:func:`load` of what ``spec`` says."""
    device = device or choose_device()
    if device.backend == "openvino":
        network = _from_cache(spec, device)
        if network is not None:
            return network
    from minimoto.engines.runtime_torch import TorchNetwork

    return TorchNetwork(spec.name, spec.module(), device, spec.probe(), ENOUGH)


def _from_cache(spec: Spec, device: Device) -> Network | None:
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


def _made(spec: Spec, device: Device, converted: Path, compiled: Path) -> Network | None:
    from minimoto.engines.runtime_graph import read_graph
    from minimoto.engines.runtime_openvino import compile_graph, open_compiled

    graph = read_graph(spec.weights, spec.name) or _converted(spec, converted)
    if graph.psnr <= CONVERTED:
        log.warning("%s: OpenVINO holds only %.1f dB to torch, so torch runs it", spec.name, graph.psnr)
        return None
    made = compile_graph(graph, spec.probe(), bf16=device.precision == "bf16", enough=ENOUGH)
    if made.precision != device.precision:
        log.warning("%s: bf16 holds only %.1f dB to fp32, so it runs in fp32", spec.name, made.psnr)
    entry = cache.Entry({"compiled": made.data}, {"precision": made.precision, "psnr": made.psnr})
    if cache.write(compiled, entry):
        cache.prune(compiled.parent, keep=compiled)
    return open_compiled(made)


def _converted(spec: Spec, folder: Path) -> Graph:
    """The network's graph, from the cache or else from torch."""
    from minimoto.engines.runtime_graph import Graph
    from minimoto.engines.runtime_openvino import convert

    entry = cache.read(folder)
    if entry is not None:
        return Graph(entry.files["graph.xml"], entry.files["constants.bin"], entry.about["psnr"])
    log.info("%s: converting it for OpenVINO, once", spec.name)
    try:
        graph = convert(spec.module(), spec.inputs, spec.probe())
    except RuntimeError as error:
        log.warning("%s: OpenVINO cannot take it (%s)", spec.name, str(error).strip().partition("\n")[0])
        return Graph(b"", b"", 0.0)
    files = {"graph.xml": graph.xml, "constants.bin": graph.constants}
    cache.write(folder, cache.Entry(files, {"psnr": graph.psnr}))
    return graph
