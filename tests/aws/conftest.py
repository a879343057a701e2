"""Clients apart from those of the embedded deployments; a test puts back what it does to them."""

from __future__ import annotations

import boto3
import pytest


@pytest.fixture(scope="session")
def session() -> boto3.session.Session:
    """A session that no port of another test uses."""
    return boto3.session.Session("made-up", "made-up", region_name="us-east-1")
