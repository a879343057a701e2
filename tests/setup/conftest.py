"""Deployments made by setup itself, on an embedded AWS with things in it that are not ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from setup_account import Account

if TYPE_CHECKING:
    from minimoto.local.server import EmbeddedServer


@pytest.fixture(autouse=True, scope="module")
def _afresh(embedded: EmbeddedServer) -> None:
    """An account with nothing in it: moto looks through all that there is, and setup is slowed down by what was left.

    What a module's fixtures make is made after this, and stays for the module.
    """
    embedded.reset()


@pytest.fixture
def afresh(embedded: EmbeddedServer) -> None:
    """The same for each test, where a module's tests share nothing."""
    embedded.reset()


@pytest.fixture(scope="session")
def account(embedded: EmbeddedServer) -> Account:
    """One account for all tests of this process: each uses deployments of its own names."""
    return Account(embedded.url)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Where private keys are kept."""
    return tmp_path / "keys"
