"""``minimoto models``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minimoto.cli.entry import main
from minimoto.engines.registry import MODELS

from .conftest import Add

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _own_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MINIMOTO_INIT_LOG_FILE", str(tmp_path / "minimoto.log"))


def test_the_list_names_every_model(capsys: Capture) -> None:
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(MODELS)
    assert main(["models", "list", "--json"]) == 0
    found = {model["name"]: model for model in json.loads(capsys.readouterr().out)["models"]}
    assert found["vgg19"]["sources"][0]["sha256"] == MODELS["vgg19"].sha256
    assert found["vgg19"]["state"] == "missing"


def test_fetch_and_verify(add: Add, published: Path, tmp_path: Path, capsys: Capture) -> None:
    add(published)
    assert main(["models", "verify", "tiny"]) == 1
    assert "is not here" in capsys.readouterr().err
    assert main(["models", "fetch", "tiny", "--from", str(published)]) == 0
    path = tmp_path / "cache" / "models" / "tiny.safetensors"
    assert capsys.readouterr().out.strip() == str(path)
    assert main(["models", "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"]["tiny"] == str(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["models", "verify"]) == 1
    assert "its bytes are not those" in capsys.readouterr().err
    assert main(["models", "verify", "tiny", "--json"]) == 1
    assert "tiny" in json.loads(capsys.readouterr().out)["failed"]


def test_a_digest_is_for_one_model(add: Add, published: Path, capsys: Capture) -> None:
    model = add(published)
    assert main(["models", "fetch", "tiny", "vgg19", "--sha256", "0" * 64]) == 2
    assert "one model at a time" in capsys.readouterr().err
    assert main(["models", "fetch", "tiny", "--from", str(published), "--sha256", model.sha256.upper()]) == 0


def test_what_cannot_be_had_is_one_line(add: Add, published: Path, capsys: Capture, tmp_path: Path) -> None:
    add(published)
    assert main(["models", "fetch", "tiny"]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "not fetched" in said[0]
    assert "--from FILE" in said[0]
    assert main(["models", "fetch", "tiny", "--from", str(tmp_path / "nothing"), "--json"]) == 1
    assert "no such file" in json.loads(capsys.readouterr().out)["error"]
    assert main(["models", "fetch", "nosuch"]) == 1
    assert "there is no model 'nosuch'" in capsys.readouterr().err
