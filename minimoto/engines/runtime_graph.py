"""A network's graph without its weights, shipped beside them, so that a computer without torch can run the network.

Weights are kept once, as safetensors. A graph file is a zip of ``graph.xml``, as OpenVINO converted it from torch, of
``own.bin``, the few constants that no weight is equal to, and of ``graph.json``, which says where in the graph's
constants each tensor of the weights goes and which weights, by SHA-256, it was made with.

Formats: OpenVINO IR, https://docs.openvino.ai ("OpenVINO IR format"); safetensors,
https://github.com/huggingface/safetensors ("Format").
"""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ElementTree
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minimoto.engines.runtime_cache import digest

OWN_LIMIT = 65_536
"""Bytes of constants of its own that a graph may have: more would be weights kept twice."""

_TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32}
_SHORT = 64
"""Constants of fewer bytes are not looked for among the weights: what is equal may be so by chance."""


@dataclass(frozen=True)
class Graph:
    """A converted network.

    Parameters:
        xml: its layers, which refer to ``constants`` by offset.
        psnr: in dB, of its results to torch's.
    """

    xml: bytes
    constants: bytes
    psnr: float


def graph_file(weights: Path, name: str) -> Path:
    """Where the graph of a network lies that is shipped with its weights."""
    return weights.parent / f"{name}.graph.zip"


def read_graph(weights: Path, name: str) -> Graph | None:
    """The shipped graph with its weights in place; ``None`` where there is none for these very weights."""
    file = graph_file(weights, name)
    if not file.is_file():
        return None
    data = weights.read_bytes()
    with zipfile.ZipFile(file) as archive:
        about = json.loads(archive.read("graph.json"))
        if about["weights"] != digest(data):
            return None
        xml, own = archive.read("graph.xml"), archive.read("own.bin")
    return Graph(xml, _filled(about, tensors(data), own), about["psnr"])


def write_graph(graph: Graph, weights: Path, name: str) -> Path:
    """Writes the graph without the weights; the same graph gives the same bytes.

    Raises:
        ValueError: too many of its constants are not among the weights, such as folded or transposed ones.
    """
    data = weights.read_bytes()
    pieces, own = _taken_apart(graph, tensors(data))
    if len(own) > OWN_LIMIT:
        raise ValueError(f"{name}: {len(own)} bytes of the graph's constants are not among the weights of {weights}")
    about = {
        "weights": digest(data),
        "psnr": graph.psnr,
        "bytes": len(graph.constants),
        "pieces": pieces,
    }
    file = graph_file(weights, name)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for member, content in {
            "graph.json": json.dumps(about).encode(),
            "graph.xml": graph.xml,
            "own.bin": own,
        }.items():
            archive.writestr(zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    file.write_bytes(packed.getvalue())
    return file


def tensors(data: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file, by name.

    Raises:
        ValueError: this is none, or it has tensors of types that are not read here.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        found = {}
        for name, about in header.items():
            begin, end = (8 + length + offset for offset in about["data_offsets"])
            found[name] = np.frombuffer(data[begin:end], _TYPES[about["dtype"]]).reshape(about["shape"])
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"no safetensors that can be read here: {error!r}") from error
    return found


def _taken_apart(graph: Graph, weights: dict[str, NDArray[Any]]) -> tuple[list[list[Any]], bytes]:
    """``[offset, bytes, tensor or None]`` for each constant, and the bytes of those that are no tensor."""
    known = {digest(_as_computed(tensor)): name for name, tensor in reversed(weights.items())}
    pieces: list[list[Any]] = []
    own = b""
    for offset, size in _constants(graph.xml):
        content = graph.constants[offset : offset + size]
        name = known.get(digest(content)) if size >= _SHORT else None
        pieces.append([offset, size, name])
        if name is None:
            own += content
    return pieces, own


def _filled(about: dict[str, Any], weights: dict[str, NDArray[Any]], own: bytes) -> bytes:
    constants = bytearray(about["bytes"])
    taken = 0
    for offset, size, name in about["pieces"]:
        if name is None:
            content = own[taken : taken + size]
            taken += size
        else:
            content = _as_computed(weights[name])
        constants[offset : offset + size] = content
    return bytes(constants)


def _as_computed(tensor: NDArray[Any]) -> bytes:
    """What torch makes of a stored tensor: half precision is kept to save room, not to compute in."""
    return (tensor.astype(np.float32) if tensor.dtype == np.float16 else tensor).tobytes()


def _constants(xml: bytes) -> list[tuple[int, int]]:
    """Offset and length of each constant of a graph, each once."""
    places = {
        (int(data.attrib["offset"]), int(data.attrib["size"]))
        for data in ElementTree.fromstring(xml).iter("data")  # noqa: S314 - OpenVINO wrote it just now
        if "offset" in data.attrib
    }
    return sorted(places)
