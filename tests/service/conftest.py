"""A service in one process: ports in memory, real child processes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, open_bench

from minimoto.interruption import Stop
from minimoto.memory import MemoryCloud, memory_cloud
from minimoto.memory.cloud import SETTINGS
from minimoto.service import Setting, serve
from tests.submitting import wait_for

FAULTS = Path(__file__).parents[1] / "faults"
sys.path.insert(0, str(FAULTS))

from fault_steps import FAULT_STEPS  # noqa: E402


@pytest.fixture
def steps() -> dict[str, Any]:
    return FAULT_STEPS


@pytest.fixture
def clock_cloud(tmp_path: Path) -> MemoryCloud:
    """Ports in memory that share a clock that stands still."""
    return memory_cloud(replace(SETTINGS, data_dir=str(tmp_path / "data")))


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryCloud:
    """Ports in memory on real time, with the settings of a hasty deployment."""
    from minimoto.clock import SystemClock

    monkeypatch.setenv("MINIMOTO_NODE", "i-0test")
    settings = replace(
        SETTINGS,
        data_dir=str(tmp_path / "data"),
        slots=1,
        lease=2.0,
        heartbeat=0.2,
        quiet=0.3,
        free_disk=0,
        fence_after=100,
    )
    return memory_cloud(settings, SystemClock())


@pytest.fixture
def serve_once(memory: MemoryCloud) -> Callable[..., int]:
    """Runs a service until the queue is quiet, in the calling thread."""

    def run(stop: Stop | None = None, config: dict[str, Any] | None = None, **setting: Any) -> int:
        cloud = replace(memory, config=replace(memory.config, **(config or {})))
        return serve(cloud, stop or Stop(), Setting(steps=FAULT_STEPS, step_module="fault_steps", poll=1.0, **setting))

    return run


@pytest.fixture
def service(serve_once: Callable[..., int]) -> Iterator[Callable[..., tuple[Stop, list[int]]]]:
    """Runs services in threads; stopped at the end of the test."""
    running: list[tuple[Stop, threading.Thread]] = []

    def run(**settings: Any) -> tuple[Stop, list[int]]:
        stop, status = Stop(), []
        thread = threading.Thread(target=lambda: status.append(serve_once(stop, **settings)))
        thread.start()
        running.append((stop, thread))
        return stop, status

    yield run
    for stop, thread in running:
        stop.now("the test is over")
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def finish(memory: MemoryCloud, serve_once: Callable[..., int]) -> Callable[..., Any]:
    """Runs a service until a job has ended, and returns the job."""

    def run(job: Any, **settings: Any) -> Any:
        stop = Stop()
        thread = threading.Thread(target=serve_once, args=(stop,), kwargs={"config": {"quiet": 60.0}, **settings})
        thread.start()
        try:
            return wait_for(lambda: (found := memory.jobs.get(job.id)).state.final and found, why=f"for {job.id}")
        finally:
            stop.drain("the test is over")
            thread.join(10)
            assert not thread.is_alive()

    return run


@pytest.fixture
def bench(clock_cloud: MemoryCloud, steps: dict[str, Any], tmp_path: Path) -> Iterator[Bench]:
    """A worker whose clock stands still."""
    yield from open_bench(clock_cloud, steps, tmp_path)
