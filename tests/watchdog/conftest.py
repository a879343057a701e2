"""Fleets for the tests of the watchdog."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from played_fleet import Fleet


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def make_fleet() -> Callable[..., Fleet]:
    return Fleet
