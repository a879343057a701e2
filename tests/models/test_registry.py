"""Fetching, finding and checking models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from minimoto.engines import registry
from minimoto.engines.registry import MODELS, fetch, model_path, paths, state, verify
from minimoto.engines.registry_layouts import LAYOUTS
from minimoto.engines.registry_onnx import OUTPUTS
from minimoto.errors import ModelMissing

from .conftest import Add, Tensors


def test_a_fetched_model_is_found_and_holds_what_was_published(
    add: Add, published: Path, tiny: Tensors, tmp_path: Path
) -> None:
    add(published)
    with pytest.raises(ModelMissing, match="run: minimoto models fetch tiny"):
        model_path("tiny")
    path = fetch("tiny", [published])
    assert path == model_path("tiny") == tmp_path / "cache" / "models" / "tiny.safetensors"
    assert state("tiny") == "here"
    found = load_file(path)
    assert set(found) == set(tiny)
    assert all(np.array_equal(found[name], tiny[name]) for name in tiny)


def test_the_same_file_gives_the_same_bytes(add: Add, published: Path, tmp_path: Path) -> None:
    add(published)
    again = Path(shutil.copy(published, tmp_path / "other.bin"))
    first = fetch("tiny", [published], to=tmp_path / "a")
    second = fetch("tiny", [again], to=tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_sources_are_tried_in_order_and_each_failure_is_told(add: Add, published: Path, tmp_path: Path) -> None:
    add(published)
    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(b"another file")
    with pytest.raises(ModelMissing) as error:
        fetch("tiny", [tmp_path / "nothing", wrong])
    assert "nothing" in str(error.value)
    assert "wrong.pth: its SHA-256 is" in str(error.value)
    assert "\n" not in str(error.value)
    assert fetch("tiny", [wrong, published]).is_file()


def test_files_brought_by_hand_are_found_in_their_folder(
    add: Add, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(published)
    monkeypatch.setenv("MINIMOTO_MODELS", str(published.parent))
    assert fetch("tiny").is_file()
    assert state("tiny") == "here"


def test_a_fetched_model_can_be_carried_to_another_computer(
    add: Add, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(published)
    stick = tmp_path / "stick"
    assert fetch("tiny", [published], to=stick) == stick / "tiny.safetensors"
    assert state("tiny") == "missing"
    monkeypatch.setenv("MINIMOTO_MODELS", str(stick))
    assert model_path("tiny").parent == stick
    assert {path.name for path in paths("tiny")} == {"tiny.safetensors", "tiny.json"}
    monkeypatch.delenv("MINIMOTO_MODELS")
    assert fetch("tiny", [stick]).read_bytes() == (stick / "tiny.safetensors").read_bytes()
    assert state("tiny") == "here"


def test_what_the_installation_carries_is_found(
    add: Add, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(published)
    baked = tmp_path / "opt" / "minimoto"
    fetch("tiny", [published], to=baked / "models")
    monkeypatch.setattr(registry.sys, "prefix", str(baked / "venv"))
    assert model_path("tiny") == baked / "models" / "tiny.safetensors"


@pytest.mark.parametrize("damage", ["weights", "record", "record of another", "no record"])
def test_a_changed_file_is_never_given_out(add: Add, published: Path, damage: str) -> None:
    add(published)
    path = fetch("tiny", [published])
    record = path.with_suffix(".json")
    if damage == "weights":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    elif damage == "record":
        record.write_text("{")
    elif damage == "record of another":
        record.write_text(json.dumps({**json.loads(record.read_text()), "source_sha256": "0" * 64}))
    else:
        record.unlink()
    with pytest.raises(ModelMissing):
        verify("tiny")
    assert state("tiny") == "wrong"
    assert fetch("tiny", [published]) == path
    assert verify("tiny") == path


def test_a_digest_that_a_person_vouches_for_is_taken(add: Add, published: Path, tiny: Tensors, tmp_path: Path) -> None:
    import torch

    add(published)
    other = tmp_path / "retrained.pth"
    torch.save({name: torch.from_numpy(2 * value) for name, value in tiny.items()}, other)
    with pytest.raises(ModelMissing, match="--sha256"):
        fetch("tiny", [other])
    path = fetch("tiny", [other], sha256=registry.digest(other))
    assert np.array_equal(load_file(path)["body.0.bias"], 2 * tiny["body.0.bias"])
    assert json.loads(path.with_suffix(".json").read_text())["given"] is True
    with pytest.raises(ModelMissing, match="no SHA-256"):
        fetch("tiny", [other], sha256="abc")


def test_a_file_of_another_network_is_refused(add: Add, tmp_path: Path, tiny: Tensors) -> None:
    import torch

    file = tmp_path / "other.pth"
    torch.save({"params": {name: torch.from_numpy(value) for name, value in list(tiny.items())[:-1]}}, file)
    add(file)
    with pytest.raises(ModelMissing, match=r"this is not tiny: body\.4\.bias should be \(48,\) and is missing"):
        fetch("tiny", [file])
    torch.save({"params": {name: torch.from_numpy(value.reshape(-1)) for name, value in tiny.items()}}, file)
    add(file)
    with pytest.raises(ModelMissing, match="this is not tiny"):
        fetch("tiny", [file])
    torch.save({"params": {name: torch.from_numpy(value) * torch.inf for name, value in tiny.items()}}, file)
    add(file)
    with pytest.raises(ModelMissing, match="not finite"):
        fetch("tiny", [file])
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_full_disk_is_one_line(add: Add, published: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    add(published)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minimoto.engines.registry_record.os.fsync", full)
    with pytest.raises(ModelMissing, match="No space left on device"):
        fetch("tiny", [published])
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(ModelMissing, match=r"no model 'vgg'.*vgg19"):
        model_path("vgg")


def test_every_published_model_is_complete() -> None:
    for model in MODELS.values():
        assert model.what
        assert model.licence
        assert model.shipped or model.name in (OUTPUTS if model.suffix == ".onnx" else LAYOUTS)
        for source in model.sources:
            assert len(bytes.fromhex(source.sha256)) == 32
            assert len(bytes.fromhex(source.result)) == 32 * (source.format == "onnx")
            assert source.size > 0
            assert bool(source.url) != bool(source.package)
            assert not source.url or source.url.startswith("https://")
            assert source.package is None or len(bytes.fromhex(source.package.sha256)) == 32
        assert model.shipped or model.sources[0].url, "the publisher's address comes first"
    digests = [source.sha256 for model in MODELS.values() for source in model.sources]
    assert len(digests) == len(set(digests))


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_torchvisions_digests_are_those_in_its_file_names(name: str) -> None:
    source = MODELS[name].sources[0]
    assert source.file == f"{name}-{source.sha256[:8]}.pth"


def test_what_is_shipped_has_its_digest() -> None:
    files = {path.name for path in registry.SHIPPED.iterdir() if path.suffix in {".safetensors", ".onnx"}}
    assert files == set(registry.shipped_sums()), "run training/sums.py"
    assert files <= {model.file for model in MODELS.values() if model.shipped}
    for name in files:
        assert verify(Path(name).stem).name == name


def test_a_changed_shipped_file_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "SHIPPED", tmp_path)
    with pytest.raises(ModelMissing, match="reinstall"):
        model_path("style")
    (tmp_path / "style.safetensors").write_bytes(b"weights")
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  style.safetensors\n")
    with pytest.raises(ModelMissing, match="reinstall"):
        model_path("style")
    assert state("style") == "wrong"
    (tmp_path / "SHA256SUMS").write_text(f"{registry.digest(tmp_path / 'style.safetensors')}  style.safetensors\n")
    assert verify("style") == tmp_path / "style.safetensors"
    assert state("style") == "shipped"
