"""Fleets for the tests of the watchdog."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from deployed_script import Deployed
from played_fleet import Fleet

from minimoto.config import Config


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def make_fleet() -> Callable[..., Fleet]:
    return Fleet


@pytest.fixture
def deployed(make_deployment: Callable[..., Config], tmp_path: Path) -> Deployed:
    return Deployed(make_deployment(market="on-demand", max_nodes=4), tmp_path)
