"""This computer as a machine."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from minimoto.errors import InstallFailed
from minimoto.machine import LocalMachine


def test_a_command_runs_in_the_home_folder_and_its_output_is_shown(tmp_path: Path) -> None:
    shown: list[str] = []
    machine = LocalMachine(tmp_path, "here", shown.append)
    done = machine.run(["sh", "-c", "pwd; echo oh >&2"], step="look")
    assert done.stderr == "oh"
    assert sorted(shown) == [f"[here] {tmp_path}", "[here] oh"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["sh", "-c", "echo no disk >&2; exit 3"], "here: install failed with exit status 3: no disk"),
        (["false"], "here: install failed with exit status 1: it said nothing"),
        (["no-such-program"], "here: install: no-such-program: No such file or directory"),
    ],
)
def test_a_failure_is_one_clear_line(tmp_path: Path, command: list[str], message: str) -> None:
    with pytest.raises(InstallFailed) as caught:
        LocalMachine(tmp_path, "here").run(command, step="install")
    assert str(caught.value) == message


def test_a_command_without_end_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(InstallFailed, match=r"here: wait was given up after 0\.2 s"):
        LocalMachine(tmp_path, "here").run(["sh", "-c", "sleep 60; true"], step="wait", timeout=0.2)


def test_a_file_is_put_in_one_move(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"new")
    (tmp_path / "target").write_bytes(b"old")
    LocalMachine(tmp_path).put(source, "target", step="send", mode=0o600)
    assert (tmp_path / "target").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o600
    with pytest.raises(InstallFailed, match="send: nowhere/target: No such file"):
        LocalMachine(tmp_path).put(source, "nowhere/target", step="send")
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}
