"""The process of one machine by itself: cron, log, and an end that nothing outlives."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from laboratory import until

from minimoto.local.node import rotate

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def run(script: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "minimoto.local.node", "--log", "node.log", *options]
        process = subprocess.Popen(
            [*command, "--", "/bin/sh", "-c", script],
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        assert process.stdin
        process.stdin.close()
        process.wait(10)


def below(process: subprocess.Popen[bytes], count: int) -> list[psutil.Process]:
    """The node's children, once there are so many."""
    root = psutil.Process(process.pid)
    until(lambda: len(root.children(recursive=True)) == count, what=f"{count} children")
    return root.children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


HARD_TO_END = "trap '' TERM; setsid sleep 100 & sleep 101"


def test_its_end_is_the_end_of_all(start: Start) -> None:
    node = start(HARD_TO_END, "--grace", "0.5")
    children = below(node, 3)
    begun = time.monotonic()
    node.send_signal(signal.SIGTERM)
    assert node.wait(10) == 0
    assert time.monotonic() - begun > 0.4, "what ignores SIGTERM has its grace"
    assert gone(children)


def test_what_heeds_sigterm_is_not_waited_for(start: Start, tmp_path: Path) -> None:
    node = start("trap 'echo bye; exit 0' TERM; sleep 100 & wait", "--grace", "60")
    below(node, 2)
    node.send_signal(signal.SIGTERM)
    assert node.wait(10) == 0
    assert "bye" in (tmp_path / "node.log").read_text()


def test_without_its_supervisor_it_ends_at_once(start: Start) -> None:
    node = start(HARD_TO_END, "--grace", "60")
    children = below(node, 3)
    assert node.stdin
    node.stdin.close()
    assert node.wait(10) == 0
    assert gone(children)


@pytest.mark.fault
@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's; elsewhere the supervisor does it")
def test_killed_it_takes_what_cron_started_along(start: Start) -> None:
    node = start("exec sleep 100")
    children = below(node, 1)
    node.kill()
    until(lambda: gone(children))


def test_a_command_that_cannot_be_run_is_said_in_the_log(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "minimoto.local.node", "--log", "node.log", "--", "/no/such/command"]
    with subprocess.Popen(
        command, cwd=tmp_path, env={"PYTHONPATH": str(Path(__file__).resolve().parents[2])}, stdin=subprocess.PIPE
    ):
        log = tmp_path / "node.log"
        until(lambda: log.exists() and "/no/such/command: No such file" in log.read_text())


def test_a_long_log_is_moved_aside_under_its_writers(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 10)
        rotate(log, 100)
        assert log.stat().st_size == 40
        rotate(log, 30)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert (tmp_path / "node.log.1").read_bytes() == b"old\n" * 10
