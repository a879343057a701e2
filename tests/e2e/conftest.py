"""A laptop whose embedded AWS runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from laptop import Laptop


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    laptop = Laptop(tmp_path)
    laptop.run("local", "start", "--state", str(tmp_path / "state"), "--write-config", str(laptop.file))
    yield laptop
    laptop.run("local", "stop", "--state", str(tmp_path / "state"))
