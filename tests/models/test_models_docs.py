"""docs/models.md says what the registry holds."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from minimoto.cli.models import configure
from minimoto.engines.published import UPSCALERS
from minimoto.engines.registry import MODELS

DOCS = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")


@pytest.mark.parametrize("name", MODELS)
def test_a_models_row_is_its_entry(name: str) -> None:
    assert f"`{name}`" in DOCS
    for source in MODELS[name].sources:
        (row,) = (line for line in DOCS.splitlines() if source.sha256 in line)
        assert f"`{source.file}`" in row
        assert str(source.size) in row
        assert source.package is None or f"{source.package.name} {source.package.version}" in DOCS


@pytest.mark.parametrize("name", UPSCALERS)
def test_a_margin_is_told(name: str) -> None:
    _, table = DOCS.split("| model | margin")
    rows = [line for line in table.splitlines() if f"`{name}`" in line and line.startswith("|")]
    rows = rows or [line for line in table.splitlines() if "its twin" in line]
    assert f"| {UPSCALERS[name].margin}" in rows[0]


def test_every_action_and_option_is_told() -> None:
    parser = argparse.ArgumentParser()
    configure(parser)
    (actions,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for name, action in actions.choices.items():
        assert f"minimoto models {name}" in DOCS
        for option in action._actions:
            assert all(text in DOCS for text in option.option_strings if text not in {"-h", "--help"})
