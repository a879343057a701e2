"""Deployments made by setup itself, on an embedded AWS with things in it that are not ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from setup_account import Account

if TYPE_CHECKING:
    from minimoto.local.server import EmbeddedServer


@pytest.fixture(scope="session")
def account(embedded: EmbeddedServer) -> Account:
    """One account for all tests of this process: each uses deployments of its own names."""
    return Account(embedded.url)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Where private keys are kept."""
    return tmp_path / "keys"
