"""Every port twice, and on a real account if one is named."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from minimoto.config import Config, load
from minimoto.memory import memory_cloud
from minimoto.wiring import Cloud

if TYPE_CHECKING:
    from collections.abc import Callable


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        kinds: list[Any] = ["memory", "embedded"]
        if metafunc.config.getoption("--aws-deployment"):
            kinds.append(pytest.param("aws", marks=pytest.mark.aws))
        metafunc.parametrize("kind", kinds)


@pytest.fixture
def make_ports(kind: str, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Ports of a deployment with some settings: ``make_ports(receive_limit=2)``."""

    def make(**settings: Any) -> Any:
        if kind == "memory":
            return memory_cloud(Config(**{"name": "m", "bucket_input": "m-in", "bucket_output": "m-out", **settings}))
        if kind == "embedded":
            return Cloud(request.getfixturevalue("make_deployment")(**settings))
        if not settings.keys() <= {"more_buckets"}:
            pytest.skip("needs a queue made for it")
        return Cloud(replace(load(request.config.getoption("--aws-deployment")), **settings))

    return make


@pytest.fixture
def ports(make_ports: Callable[..., Any]) -> Any:
    """The ports of one deployment: ``ports.queue``, ``ports.jobs``, …"""
    return make_ports()


@pytest.fixture
def eventually(kind: str) -> Callable[[Callable[[], Any], Any], None]:
    """Asserts what becomes true at once, on a real account within a minute: counts and indexes follow there."""

    def check(get: Callable[[], Any], wanted: Any) -> None:
        deadline = time.monotonic() + (60 if kind == "aws" else 0)
        while (seen := get()) != wanted and time.monotonic() < deadline:
            time.sleep(1)
        assert seen == wanted

    return check
