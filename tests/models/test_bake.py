"""Fetched models on their way into the image: setup brings them, sends them, and the machine looks at every byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minimoto import baked_models
from minimoto import config as settings
from minimoto.aws.resources.baked_image import BakedImage
from minimoto.aws.resources.installer import _model_files
from minimoto.aws.resources.resource import Found
from minimoto.cli.setup import _bring_models
from minimoto.clock import SystemClock
from minimoto.config import Config
from minimoto.engines.registry import MODELS, fetch
from minimoto.errors import ModelMissing
from minimoto.install import find_source_tree, install_role
from minimoto.machine import Completed
from minimoto.verify import CheckFailed, Installation, check_models

from .conftest import Add

WITH_TINY = replace(Config(), models=("tiny",))


class Recorder:
    """A machine that does nothing but remember, and says that every piece is well."""

    name = "service 127.0.0.1"

    def __init__(self) -> None:
        self.ran: list[tuple[str, ...]] = []
        self.files: dict[str, bytes] = {}

    def run(self, command: Sequence[str], *, step: str, timeout: float = 600.0) -> Completed:
        self.ran.append(tuple(command))
        lines = {"mktemp": "/tmp/there", "id": "0"}
        line = lines.get(command[0], "minimoto_install: check models: ok in 0.1 s (baked: tiny)")
        return Completed(0, (line,), "")

    def put(self, source: Path, target: str, *, step: str, mode: int = 0o644) -> None:
        self.files[target] = source.read_bytes()

    def close(self) -> None:
        """Nothing is open."""


def test_setup_brings_models_before_it_makes_anything(add: Add, published: Path, monkeypatch: Any) -> None:
    add(published)
    with pytest.raises(ModelMissing, match="tiny: not to be had"):
        _bring_models(WITH_TINY)
    monkeypatch.setenv("MINIMOTO_MODELS", str(published.parent))
    _bring_models(WITH_TINY)
    assert {path.name for path in _model_files(WITH_TINY)} == {"tiny.safetensors", "tiny.json"}
    with pytest.raises(ModelMissing, match="no model 'nosuch'"):
        _bring_models(replace(Config(), models=("nosuch",)))


@pytest.fixture
def wished(add: Add, published: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``auto`` means ``tiny``; the folder that it can be had from."""
    add(published)
    monkeypatch.setattr(baked_models, "WISHED", ("tiny",))
    return published.parent


def test_setup_goes_on_without_a_model_that_nobody_named(
    wished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _bring_models(Config())
    assert _model_files(Config()) == ()
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("setup goes on without a model for the image: tiny: not to be had")
    with pytest.raises(ModelMissing, match="tiny: not to be had"):
        _bring_models(replace(Config(), models=("auto", "tiny")))
    monkeypatch.setenv("MINIMOTO_MODELS", str(wished))
    _bring_models(Config())
    assert {path.name for path in _model_files(Config())} == {"tiny.safetensors", "tiny.json"}


@pytest.mark.parametrize("quiet", [Config(endpoint_url="http://127.0.0.1:1"), Config(models=("none",))])
def test_nothing_is_wished_for_on_one_computer_nor_where_none_is_said(
    wished: Path, quiet: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    _bring_models(quiet)
    assert _model_files(quiet) == ()
    assert capsys.readouterr().err == ""


def test_auto_means_models_that_are_published() -> None:
    assert Config().models == ("auto",)
    assert all(not MODELS[name].shipped for name in baked_models.WISHED)


def test_the_machine_gets_them_as_they_are(add: Add, published: Path) -> None:
    add(published)
    path = fetch("tiny", [published])
    machine = Recorder()
    install_role(machine, "service", find_source_tree(), SystemClock(), models=_model_files(WITH_TINY))
    assert machine.files["/tmp/there/models/tiny.safetensors"] == path.read_bytes()
    assert machine.files["/tmp/there/models/tiny.json"] == path.with_suffix(".json").read_bytes()
    (script,) = (command for command in machine.ran if command[0] == "bash")
    assert script[-2:] == ("--models", "/tmp/there/models")
    machine = Recorder()
    install_role(machine, "service", find_source_tree(), SystemClock())
    assert "--models" not in {word for command in machine.ran for word in command}


def test_the_machine_looks_at_every_byte(add: Add, published: Path, tmp_path: Path) -> None:
    add(published)
    it = Installation("service", tmp_path / "root", system=False)
    assert check_models(it) == "baked: none"
    it.settings.parent.mkdir(parents=True)
    settings.save(WITH_TINY, it.settings)
    with pytest.raises(CheckFailed, match="lacks tiny"):
        check_models(it)
    path = fetch("tiny", [published], to=it.prefix / "opt/minimoto/models")
    assert check_models(it) == "baked: tiny"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelMissing, match="its bytes are not those"):
        check_models(it)


def test_an_image_with_other_models_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def differing(config: Config, **tags: str) -> list[str]:
        found = Found("ami-1", "image", {"minimoto:version": "x", **tags})
        ctx: Any = SimpleNamespace(config=config)
        return [s.name for s in BakedImage().settings(ctx, found) if s.name == "models" and s.current != s.wanted]

    assert differing(Config()) == []
    assert differing(WITH_TINY) == ["models"]
    assert differing(WITH_TINY, **{"minimoto:models": "tiny"}) == []
    assert differing(Config(), **{"minimoto:models": "tiny"}) == ["models"]


def test_an_image_keeps_what_it_was_wished_to_have(wished: Path) -> None:
    def differing(**tags: str) -> bool:
        ctx: Any = SimpleNamespace(config=Config())
        found = Found("ami-1", "image", {"minimoto:version": "x", **tags})
        return any(s.current != s.wanted for s in BakedImage().settings(ctx, found) if s.name == "models")

    assert not differing(**{"minimoto:models": "tiny"}), "it need not be on this computer"
    assert not differing()
    fetch("tiny", [wished])
    assert differing(), "now it can be had"


def test_a_machine_may_lack_what_nobody_named(wished: Path, tmp_path: Path) -> None:
    it = Installation("service", tmp_path / "root", system=False)
    it.settings.parent.mkdir(parents=True)
    settings.save(Config(), it.settings)
    assert check_models(it) == "baked: none"
    fetch("tiny", [wished], to=it.prefix / "opt/minimoto/models")
    assert check_models(it) == "baked: tiny"
