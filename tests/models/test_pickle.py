"""Arrays out of pickles: what is data is read, what is a program never runs."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minimoto.engines.registry_pickle import load_numpy, load_torch
from minimoto.errors import ModelMissing


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    whole = torch.rand(4, 3, 3, 3, generator=generator)
    return {
        "weight": whole,
        "view": whole[2],
        "half": torch.rand(5, generator=generator).half(),
        "double": torch.rand(2, 2, generator=generator).double(),
        "count": torch.tensor(7),
        "empty": torch.zeros(0, 3),
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_what_torch_saved_is_read(tmp_path: Path, zipped: bool) -> None:
    path, saved = tmp_path / "saved.pth", tensors()
    document = {"params": OrderedDict(saved), "epoch": 3, "name": "x", "parameter": torch.nn.Parameter(saved["weight"])}
    torch.save(document, path, _use_new_zipfile_serialization=zipped)
    found = load_torch(path)
    assert (found["epoch"], found["name"]) == (3, "x")
    assert np.array_equal(found["parameter"], saved["weight"].numpy())
    for name, tensor in saved.items():
        assert np.array_equal(found["params"][name], tensor.numpy()), name
        assert found["params"][name].dtype == tensor.numpy().dtype


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_a_state_dict_with_its_metadata_is_read(tmp_path: Path, zipped: bool) -> None:
    path, network = tmp_path / "saved.pth", torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
    found = load_torch(path)
    assert set(found) == set(network.state_dict())
    assert np.array_equal(found["0.weight"], network[0].weight.detach().numpy())


def calls(folder: Path) -> list[Any]:
    marker = str(folder / "run")
    return [
        Bomb(os.mkdir, marker),
        Bomb(os.system, f"mkdir {marker}"),
        Bomb(eval, f"__import__('os').mkdir({marker!r})"),
        Bomb(getattr, Path, "mkdir"),
        Bomb(pickle.loads, pickle.dumps(Bomb(os.mkdir, marker))),
        Bomb(torch.load, marker),
        Bomb(np.load, marker),
    ]


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_a_program_in_a_torch_file_never_runs(tmp_path: Path, number: int, zipped: bool) -> None:
    path = tmp_path / "bad.pth"
    document = {"params": tensors(), "more": calls(tmp_path)[number]}
    torch.save(document, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelMissing, match="never run"):
        load_torch(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_program_in_a_pickle_of_arrays_never_runs(tmp_path: Path, number: int, protocol: int) -> None:
    path = tmp_path / "bad.ckpt"
    path.write_bytes(pickle.dumps({"layer": calls(tmp_path)[number]}, protocol))
    with pytest.raises(ModelMissing, match="never run"):
        load_numpy(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_are_read(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "arrays.ckpt"
    arrays = {"a": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "b": {"c": np.float64([1, 2])}}
    path.write_bytes(pickle.dumps(arrays, protocol))
    found = load_numpy(path)
    assert np.array_equal(found["a"], arrays["a"])
    assert np.array_equal(found["b"]["c"], [1, 2])


@pytest.mark.parametrize("array", [np.array([{}], object), np.array(["x"]), np.zeros(2, ">f4"), np.zeros(2, "f4,f4")])
def test_arrays_that_are_not_plain_numbers_are_refused(tmp_path: Path, array: Any) -> None:
    path = tmp_path / "arrays.ckpt"
    path.write_bytes(pickle.dumps({"a": array}, 3))
    with pytest.raises(ModelMissing):
        load_numpy(path)


def test_a_tensor_beyond_its_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.pth"
    torch.save({"a": torch.zeros(100)}, path)
    short = tmp_path / "shorter.pth"
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(short, "w") as after:
        for info in before.infolist():
            data = before.read(info)
            after.writestr(info.filename, data[:8] if info.filename.endswith("data/0") else data)
    with pytest.raises(ModelMissing, match="beyond the end"):
        load_torch(short)


def test_strides_that_read_out_of_order_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "strides.pth"
    torch.save({"a": torch.zeros(4, 3).t()}, path)
    with pytest.raises(ModelMissing, match="in order"):
        load_torch(path)


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    path, packed = tmp_path / "plain.pth", tmp_path / "packed.pth"
    torch.save({"a": torch.zeros(1000)}, path)
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as after:
        for info in before.infolist():
            after.writestr(info.filename, before.read(info))
    with pytest.raises(ModelMissing, match="compressed"):
        load_torch(packed)


def _saved(zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save({"a": torch.zeros(8)}, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.integers(0, 400), st.integers(1, 255), st.booleans())
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, zipped: bool, where: int, flip: int, cut: bool
) -> None:
    data = bytearray(_saved(zipped))
    where %= len(data)
    data[where] ^= flip
    path = tmp_path_factory.mktemp("damaged") / "file.pth"
    path.write_bytes(data[:where] if cut else data)
    with suppress(ModelMissing):
        load_torch(path)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="No such file"):
        load_torch(tmp_path / "nothing.pth")
