"""The command that lists our style pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minimoto.cli.entry import main
from minimoto.engines.style_settings import MADE_STYLES


def test_every_style_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["styles"]) == 0
    shown = capsys.readouterr().out
    for name, what in MADE_STYLES.items():
        assert name in shown
        assert what in shown
    assert main(["styles", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["styles"]
    assert [style["name"] for style in listed] == list(MADE_STYLES)
    assert all(Path(style["file"]).is_file() for style in listed)
