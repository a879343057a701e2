"""Graphs that are shipped without their weights: put together again exactly, and never with other weights."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import runtime_nets
import torch
from hypothesis import given
from hypothesis import strategies as st

from minimoto.engines import runtime_graph, runtime_shipped, runtime_spec
from minimoto.engines.runtime import Device, Spec, load
from minimoto.engines.runtime_graph import Graph, graph_file, read_graph, tensors, write_graph
from minimoto.engines.runtime_openvino import convert
from minimoto.engines.runtime_shipped import SHIPPED
from minimoto.errors import ConfigError

CPU = Device("cpu", "test", "openvino", "fp32")
PHOTO = {"photo": (1, 3, None, None)}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIMOTO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINIMOTO_THREADS", "1")


@pytest.fixture(params=[torch.float32, torch.float16], ids=["float32", "float16"])
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return runtime_nets.save(runtime_nets.Every, tmp_path / "every.safetensors", request.param)


def converted(weights: Path) -> Graph:
    spec = Spec("every", runtime_nets.build_every, weights, PHOTO)
    return convert(spec.module(), spec.inputs, spec.probe())


def test_a_graph_comes_back_as_it_was(weights: Path) -> None:
    graph = converted(weights)
    file = write_graph(graph, weights, "every")
    assert read_graph(weights, "every") == graph
    assert file.stat().st_size < 10_000
    first = file.read_bytes()
    write_graph(graph, weights, "every")
    assert file.read_bytes() == first


def test_with_its_graph_a_network_needs_no_torch(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = np.random.default_rng(2).random((1, 3, 20, 28), np.float32)
    with torch.inference_mode():
        wanted = runtime_nets.build_every(weights)(torch.from_numpy(photo)).numpy()
    write_graph(converted(weights), weights, "every")
    monkeypatch.setattr(runtime_spec, "find_spec", lambda name: None)
    (got,) = load("every", runtime_nets.build_every, weights, PHOTO, CPU)(photo)
    assert np.abs(got - wanted).max() < 1e-4


def test_the_graph_of_other_weights_is_not_used(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_graph(converted(weights), weights, "every")
    state = runtime_nets.load_file(weights)
    runtime_nets.save_file({name: tensor * 2 for name, tensor in state.items()}, weights)
    assert read_graph(weights, "every") is None
    monkeypatch.setattr(runtime_spec, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs torch"):
        load("every", runtime_nets.build_every, weights, PHOTO, CPU)


def test_weights_are_not_kept_twice(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_graph, "OWN_LIMIT", 1000)
    graph = converted(weights)
    write_graph(graph, weights, "every")
    state = runtime_nets.load_file(weights)
    runtime_nets.save_file({name: tensor * 2 for name, tensor in state.items()}, weights)
    with pytest.raises(ValueError, match="are not among the weights"):
        write_graph(graph, weights, "every")


def test_there_may_be_no_graph(weights: Path) -> None:
    assert read_graph(weights, "every") is None


@given(
    st.lists(st.sampled_from([torch.float32, torch.float16, torch.int64, torch.int32, torch.float64]), max_size=4),
    st.lists(st.integers(0, 3), max_size=3),
)
def test_safetensors_are_read_as_their_library_does(types: list[torch.dtype], shape: list[int]) -> None:
    from safetensors.torch import save

    state = {f"tensor {n}": (torch.rand(shape) * 50).to(dtype) for n, dtype in enumerate(types)}
    read = tensors(save(state, {"made": "by a test"}))
    assert read.keys() == state.keys()
    for name, tensor in state.items():
        assert read[name].dtype == tensor.numpy().dtype
        assert np.array_equal(read[name], tensor.numpy())


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 8, b"\x02" + b"\0" * 7 + b"{", b"\x02" + b"\0" * 7 + b"[]", b"\xff" * 20]
)
def test_what_is_no_safetensors_is_one_clear_line(data: bytes) -> None:
    with pytest.raises(ValueError, match="no safetensors that can be read here"):
        tensors(data)


@pytest.mark.parametrize("name", [name for name, spec in SHIPPED.items() if spec.weights.is_file()])
def test_the_shipped_graphs_are_those_of_the_shipped_weights_and_code(name: str) -> None:
    spec = SHIPPED[name]
    shipped = read_graph(spec.weights, name)
    assert shipped is not None, f"{graph_file(spec.weights, name)}: python -m minimoto.engines.runtime_shipped"
    made = convert(spec.module(), spec.inputs, spec.probe())
    assert shipped.constants == made.constants
    assert shipped.psnr > 100


def test_the_graphs_are_made_by_a_command(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = {
        "every": Spec("every", "runtime_nets:build_every", weights, PHOTO),
        "other": Spec("other", "runtime_nets:build_every", weights, PHOTO),
        "later": Spec("later", "runtime_nets:build_every", weights.with_name("to be trained"), PHOTO),
    }
    monkeypatch.setattr(runtime_shipped, "SHIPPED", shipped)
    assert runtime_shipped.main(["every", "later"]) == 0
    assert capsys.readouterr().out.startswith("every.graph.zip: ")
    assert read_graph(weights, "every") is not None
    assert not graph_file(weights, "other").exists()
    with zipfile.ZipFile(graph_file(weights, "every")) as archive:
        assert json.loads(archive.read("graph.json"))["psnr"] > 100


def test_naming_the_shipped_networks_imports_nothing_heavy() -> None:
    code = "import sys, minimoto.engines.runtime_shipped; print({'torch', 'openvino'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
