"""Networks run by OpenVINO on the CPU, held to torch, which they are converted from once.

torch is imported only to convert: a start with a warm cache reads the compiled network and nothing else.
"""

from __future__ import annotations

import functools
import tempfile
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minimoto.engines.runtime_check import BEST, least_psnr
from minimoto.engines.runtime_device import threads
from minimoto.engines.runtime_graph import Graph

if TYPE_CHECKING:
    import openvino
    import torch

Array = NDArray[np.float32]
Shapes = Mapping[str, tuple[int | None, ...]]
PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


@dataclass(frozen=True)
class Compiled:
    """A network compiled for one CPU and one version of OpenVINO.

    Parameters:
        precision: ``fp32`` or ``bf16``.
        psnr: in dB, of bfloat16 to float32 on the probe; :data:`BEST` where bfloat16 was not tried.
    """

    data: bytes
    precision: str
    psnr: float


class OpenVinoNetwork:
    """A compiled network that takes and gives float32 arrays."""

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Runs the network: float32 arrays in its order in, float32 arrays out. Calls from threads take turns."""
        with self._lock:
            # The request's own memory is written again by the next call, so the outputs are copied out of it.
            return self._infer(arrays, share_outputs=False)

    def lent(self, *arrays: Array) -> tuple[Array, ...]:
        """As a call, but what comes out is the request's own memory."""
        with self._lock:
            return self._infer(arrays, share_outputs=True)

    def release(self) -> None:
        """Gives back the memory that the last calls needed, and lets go of their arrays."""
        with self._lock:
            # A request holds the arrays that it was given last, and what it gave.
            self._request = self._compiled.create_infer_request()
            self._compiled.release_memory()

    def _infer(self, arrays: tuple[Array, ...], *, share_outputs: bool) -> tuple[Array, ...]:
        given = [np.ascontiguousarray(array, np.float32) for array in arrays]
        results = self._request.infer(dict(enumerate(given)), share_inputs=True, share_outputs=share_outputs)
        return tuple(results.to_tuple())


def convert(module: torch.nn.Module, inputs: Shapes, probe: tuple[Array, ...]) -> Graph:
    """The module as a graph of OpenVINO, through its frontend for traced modules, and how well it holds to torch.

    ``openvino.convert_model`` does the same, but reports its use over the network.

    Parameters:
        inputs: name to shape, ``None`` where a size is open, in the order of the module's arguments.
        probe: arrays that the module is traced with, and both are run on.
    """
    import torch

    torch.set_num_threads(threads())
    with torch.inference_mode():
        model = _traced(module, inputs, tuple(map(torch.from_numpy, probe)))
        outputs = module(*map(torch.from_numpy, probe))
    wanted = tuple(one.numpy() for one in (outputs if isinstance(outputs, (tuple, list)) else (outputs,)))
    graph = Graph(*_serialised(model), BEST)
    network = open_compiled(compile_graph(graph, probe, bf16=False, enough=0))
    return replace(graph, psnr=least_psnr(network(*probe), wanted))


def _traced(module: torch.nn.Module, inputs: Shapes, example: tuple[torch.Tensor, ...]) -> openvino.Model:
    from openvino import PartialShape, Type
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings():
        # Of torch, about its own tracing; what matters is compared afterwards.
        warnings.simplefilter("ignore")
        decoder = TorchScriptPythonDecoder(module, example_input=example)
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    for (name, shape), port in zip(inputs.items(), model.inputs, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_element_type(Type.f32)
        port.get_node().set_partial_shape(PartialShape([-1 if size is None else size for size in shape]))
    model.validate_nodes_and_infer_types()
    return model


def _serialised(model: openvino.Model) -> tuple[bytes, bytes]:
    import openvino

    with tempfile.TemporaryDirectory(prefix="minimoto-") as name:
        graph, constants = Path(name, "graph.xml"), Path(name, "constants.bin")
        openvino.serialize(model, graph, constants)
        return graph.read_bytes(), constants.read_bytes()


def compile_graph(graph: Graph, probe: tuple[Array, ...], *, bf16: bool, enough: float) -> Compiled:
    """Compiles a graph for this CPU.

    Parameters:
        probe: arrays that bfloat16 is tried on.
        bf16: whether bfloat16 is wanted; it is used where its results hold ``enough`` dB to those of float32.
    """
    import openvino

    held = np.frombuffer(graph.constants or b"\0", np.uint8).copy()
    model = _core().read_model(graph.xml, openvino.Tensor(held))
    exact = _core().compile_model(model, "CPU", _settings("fp32"))
    if not bf16:
        return Compiled(exact.export_model().getvalue(), "fp32", BEST)
    fast = _core().compile_model(model, "CPU", _settings("bf16"))
    psnr = least_psnr(OpenVinoNetwork(fast)(*probe), OpenVinoNetwork(exact)(*probe))
    if psnr > enough:
        return Compiled(fast.export_model().getvalue(), "bf16", psnr)
    return Compiled(exact.export_model().getvalue(), "fp32", psnr)


def open_compiled(compiled: Compiled) -> OpenVinoNetwork:
    """The network of what :func:`compile_graph` gave, in this or an earlier process.

    Raises:
        RuntimeError: it was made by another version of OpenVINO, or for another CPU.
    """
    return OpenVinoNetwork(_core().import_model(compiled.data, "CPU", _settings(compiled.precision)))


@functools.cache
def _core() -> openvino.Core:
    import openvino

    return openvino.Core()


def _settings(precision: str) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "INFERENCE_NUM_THREADS": threads(),
        # Two processes that both pin their threads would share the first cores and leave the others idle.
        "ENABLE_CPU_PINNING": False,
        # By default the kernels of every shape ever seen are kept, at megabytes a shape, and photos come in many.
        "CPU_RUNTIME_CACHE_CAPACITY": 0,
    }
