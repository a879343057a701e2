"""Clients of a test's own, so that what it does to them stays with it."""

from __future__ import annotations

import boto3
import pytest


@pytest.fixture
def session() -> boto3.session.Session:
    """A session that no other test has."""
    return boto3.session.Session("made-up", "made-up", region_name="us-east-1")
