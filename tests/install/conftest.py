"""Machines to install on."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minimoto.install import pack

from .sshd import Sshd, need_sshd


class FakeClock:
    """Time that passes only while somebody sleeps; ``at_sleep[n]`` is called in the sleep n, from 1."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.slept: list[float] = []
        self.at_sleep: dict[int, Callable[[], object]] = {}

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.slept.append(seconds)
        self.at_sleep.get(len(self.slept), lambda: None)()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def idle_sshd(tmp_path: Path) -> Iterator[Sshd]:
    """A server that is not started yet."""
    need_sshd()
    server = Sshd(tmp_path / "sshd")
    yield server
    server.stop()


@pytest.fixture
def sshd(idle_sshd: Sshd) -> Sshd:
    return idle_sshd.start()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as it is sent to a machine, in a folder that nobody edits meanwhile."""
    folder = tmp_path_factory.mktemp("project")
    pack(Path(__file__).parents[2], folder / "source.tar.gz")
    with tarfile.open(folder / "source.tar.gz") as tar:
        tar.extractall(folder / "source", filter="data")
    return folder / "source"
