"""The child process of the steps: stays warm, ends with its service, and takes everything along."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from minimoto.errors import StepFailed
from minimoto.logs import open_log
from minimoto.sandbox import Answer, Limits, Request, Sandbox
from minimoto.work_folder import empty
from tests.submitting import wait_for

ROOT = Path(__file__).parents[2]
LIMITS = Limits(400 << 20, 10.0)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    empty(tmp_path / "work")
    for name in ("out", "tmp"):
        (tmp_path / "work" / name).mkdir()
    box = Sandbox(tmp_path / "work" / "tmp", open_log(stream=io.StringIO()), module="fault_steps")
    yield box
    box.close()


def ask(
    box: Sandbox, tmp_path: Path, step: str = "nothing", check: Callable[[], None] | None = None, **how: str
) -> Answer:
    request = Request(step, how, (), {}, str(tmp_path / "work" / "out"), "trip")
    return box.run(request, LIMITS, check or (lambda: None), lambda done, note: None)


def child_of(box: Sandbox) -> psutil.Process:
    assert box._child is not None
    return psutil.Process(box._child.process.pid)


def dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_one_process_serves_many_steps(sandbox: Sandbox, tmp_path: Path) -> None:
    ask(sandbox, tmp_path)
    first = child_of(sandbox).pid
    with pytest.raises(StepFailed, match="it cannot be done"):
        ask(sandbox, tmp_path, "faulty", how="refuse")
    ask(sandbox, tmp_path)
    assert child_of(sandbox).pid == first


def test_a_crash_starts_another(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"crashed with signal 6 \(SIGABRT\)") as failed:
        ask(sandbox, tmp_path, "faulty", how="crash")
    assert failed.value.retry
    assert ask(sandbox, tmp_path) == Answer()


def test_one_that_died_between_two_steps_fails_the_next_as_a_crash(sandbox: Sandbox, tmp_path: Path) -> None:
    ask(sandbox, tmp_path)
    child_of(sandbox).kill()
    wait_for(lambda: dead(child_of(sandbox).pid))
    with pytest.raises(StepFailed, match="crashed with signal 9"):
        ask(sandbox, tmp_path)
    ask(sandbox, tmp_path)


def test_unknown_steps_and_wrong_parameters(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="no step 'sharpen'") as failed:
        ask(sandbox, tmp_path, "sharpen")
    assert failed.value.retry
    with pytest.raises(StepFailed, match="no parameter is called 'size'") as failed:
        ask(sandbox, tmp_path, "nothing", size="1x1")
    assert not failed.value.retry


@pytest.mark.parametrize("session", ["same", "new"])
def test_stopping_kills_grandchildren_too(sandbox: Sandbox, tmp_path: Path, session: str) -> None:
    pid = tmp_path / "pid"

    class Enough(Exception):
        pass

    def check() -> None:
        if pid.exists() and pid.read_text():
            raise Enough

    with pytest.raises(Enough):
        ask(sandbox, tmp_path, "faulty", check, how="grandchild", pid=str(pid), session=session)
    wait_for(lambda: dead(int(pid.read_text())))


SERVICE = """
import io, sys
from pathlib import Path
from minimoto.logs import open_log
from minimoto.sandbox import Limits, Request, Sandbox
work = Path(sys.argv[1])
box = Sandbox(work / "tmp", open_log(stream=io.StringIO()), module="fault_steps")
box.run(Request("faulty", {"how": "grandchild", "pid": sys.argv[2]}, (), {}, str(work / "out"), "trip"),
        Limits(1 << 30, 60.0), lambda: None, lambda done, note: None)
"""


def test_everything_dies_with_a_service_that_is_killed(sandbox: Sandbox, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    service = subprocess.Popen([sys.executable, "-c", SERVICE, str(tmp_path / "work"), str(pid)], env=environ)
    try:
        wait_for(lambda: pid.exists() and pid.read_text())
        family = [process.pid for process in psutil.Process(service.pid).children(recursive=True)]
        # The step's process, its guard, and the program that the step started.
        assert len(family) == 3
    finally:
        service.send_signal(signal.SIGKILL)
        service.wait()
    wait_for(lambda: all(map(dead, family)), seconds=5)


def test_signals_to_the_whole_machine_are_left_to_the_service(sandbox: Sandbox, tmp_path: Path) -> None:
    ask(sandbox, tmp_path)
    os.killpg(child_of(sandbox).pid, signal.SIGTERM)
    os.killpg(child_of(sandbox).pid, signal.SIGINT)
    assert ask(sandbox, tmp_path) == Answer()


def test_memory_that_was_kept_is_not_held_against_the_next_step(sandbox: Sandbox, tmp_path: Path) -> None:
    ask(sandbox, tmp_path)
    first = child_of(sandbox).pid
    small = Limits(child_of(sandbox).memory_info().rss + (1 << 20), 10.0)
    request = Request("nothing", {}, (), {}, str(tmp_path / "work" / "out"), "trip")
    assert sandbox.run(request, small, lambda: None, lambda done, note: None) == Answer()
    assert child_of(sandbox).pid != first


def test_progress_is_heard(sandbox: Sandbox, tmp_path: Path) -> None:
    heard: list[tuple[float, str]] = []
    request = Request("faulty", {"how": "work", "seconds": "0.3"}, (), {}, str(tmp_path / "work" / "out"), "trip")
    sandbox.run(request, LIMITS, lambda: None, lambda done, note: heard.append((done, note)))
    assert (0.5, "working") in heard
    assert 2 <= len(heard) <= 5


def test_what_an_engine_logs_is_in_the_services_log(tmp_path: Path) -> None:
    for name in ("out", "tmp"):
        (tmp_path / "work" / name).mkdir(parents=True)
    said = io.StringIO()
    box = Sandbox(tmp_path / "work" / "tmp", open_log(stream=said), module="fault_steps")
    ask(box, tmp_path, "faulty", how="log")
    box.close()
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    assert [(line["level"], line["text"]) for line in lines if line["message"] == "step says"] == [
        ("info", "computing on an abacus"),
        ("warning", "a bead is missing"),
    ]


def test_emptying_takes_whatever_is_there(tmp_path: Path) -> None:
    folder, outside = tmp_path / "work", tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "link").symlink_to(outside)
    (folder / "a").chmod(0o500)
    empty(folder)
    assert list(folder.iterdir()) == []
    assert (outside / "kept").exists()
    folder.rmdir()
    folder.symlink_to(outside)
    empty(folder)
    assert not folder.is_symlink()
    assert (outside / "kept").exists()


def test_it_knows_no_request_it_cannot_encode(sandbox: Sandbox, tmp_path: Path) -> None:
    names: Any = tuple(f"/{index:06d}-{'x' * 90}.jpg" for index in range(20_000))
    request = Request("nothing", {}, names, {}, str(tmp_path / "work" / "out"), "trip")
    assert sandbox.run(request, LIMITS, lambda: None, lambda done, note: None) == Answer()
