"""Machines over SSH, against a real sshd."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from minimoto.core.host_keys import BEGIN, END
from minimoto.errors import InstallFailed
from minimoto.ssh import Login, SshMachine, connect

from .conftest import FakeClock
from .sshd import Sshd, make_key, public


@pytest.fixture
def shown() -> list[str]:
    return []


@pytest.fixture
def machine(sshd: Sshd, clock: FakeClock, shown: list[str]) -> Iterator[SshMachine]:
    with closing(connect(sshd.login(), clock, role="service", echo=shown.append)) as machine:
        yield machine


def test_output_is_streamed_with_the_machines_name(sshd: Sshd, clock: FakeClock) -> None:
    arrived, seen = threading.Event(), list[str]()
    fifo = sshd.folder / "go"
    fifo.write_text("")

    def echo(line: str) -> None:
        seen.append(line)
        if line.endswith("first"):
            # The command goes on only once its first line has been shown here.
            fifo.write_text("go")
            arrived.set()

    waits = f"echo first; until [ -s {fifo} ]; do sleep 0.05; done; echo second; echo oh >&2"
    with closing(connect(sshd.login(), clock, role="service", echo=echo)) as machine:
        done = machine.run(["sh", "-c", waits], step="talk", timeout=10)
    assert arrived.is_set()
    assert done.status == 0
    assert done.stderr == "oh"
    assert sorted(seen) == ["[service 127.0.0.1] first", "[service 127.0.0.1] oh", "[service 127.0.0.1] second"]
    assert seen.index("[service 127.0.0.1] first") == 0


def test_arguments_arrive_as_they_are(machine: SshMachine) -> None:
    words = ["a b", "$HOME", "`id`", "'", '"', ";exit 1", "é", "*"]
    done = machine.run(["printf", r"%s\n", *words], step="quote")
    assert list(done.lines) == words


def test_what_a_machine_prints_cannot_steer_the_terminal(machine: SshMachine, shown: list[str]) -> None:
    machine.run(["printf", r"\033[2Jred\007\r100%%\n"], step="print")
    assert shown == ["[service 127.0.0.1]  [2Jred", "[service 127.0.0.1] 100%"]


def test_a_large_output_on_both_streams_neither_blocks_nor_loses_a_line(machine: SshMachine) -> None:
    done = machine.run(["sh", "-c", "seq 1 20000; seq 20001 40000 >&2"], step="count", timeout=15)
    assert sorted(map(int, done.lines)) == list(range(1, 40001))
    assert done.stderr.splitlines()[-1] == "40000"


def test_a_failing_command_is_reported_with_its_stderr(machine: SshMachine) -> None:
    script = "echo fine; echo 'E: no space' >&2; echo 'E: gave up' >&2; exit 100"
    with pytest.raises(InstallFailed) as caught:
        machine.run(["sh", "-c", script], step="install packages")
    assert str(caught.value) == "service 127.0.0.1: install packages failed with exit status 100: E: gave up"
    assert caught.value.stderr == "E: no space\nE: gave up"


def test_a_command_killed_by_a_signal_is_told_apart(machine: SshMachine) -> None:
    with pytest.raises(InstallFailed, match="encode was ended by a signal"):
        machine.run(["sh", "-c", "kill -9 $$"], step="encode")


def test_a_command_without_end_is_given_up_and_ended_there(machine: SshMachine, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(InstallFailed, match=r"wait was given up after 0\.3 s"):
        machine.run(["sh", "-c", f"echo $$ > {pid}; exec sleep 60"], step="wait", timeout=0.3)
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()
    assert machine.run(["echo", "still here"], step="after").lines == ("still here",)


def test_a_connection_that_drops_in_a_command_is_one_clear_error(sshd: Sshd, clock: FakeClock) -> None:
    def echo(line: str) -> None:
        if line.endswith("working"):
            sshd.kill_connections()

    with closing(connect(sshd.login(), clock, role="service", echo=echo)) as machine:
        with pytest.raises(InstallFailed) as caught:
            machine.run(["sh", "-c", "echo working; exec sleep 30"], step="install packages", timeout=15)
        assert str(caught.value).startswith("service 127.0.0.1: the connection dropped during install packages")
        with pytest.raises(InstallFailed, match="the connection dropped during verify"):
            machine.run(["true"], step="verify")
        with pytest.raises(InstallFailed, match="the connection dropped during send"):
            machine.put(Path(__file__), "never", step="send")


def test_a_file_arrives_whole_with_its_mode(machine: SshMachine, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    source.write_bytes(bytes(range(256)) * 5000)
    target.parent.mkdir()
    target.write_text("before")
    machine.put(source, str(target), step="send", mode=0o750)
    assert target.read_bytes() == source.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o750
    assert [file.name for file in target.parent.iterdir()] == ["target"]


def test_a_file_that_cannot_be_written_leaves_nothing_and_names_the_path(machine: SshMachine, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(InstallFailed, match=r"send: .*/nowhere/file: No such file"):
        machine.put(Path(__file__), f"{tmp_path}/nowhere/file", step="send")
    with pytest.raises(InstallFailed, match=r"send: .*/taken: Failure"):
        machine.put(Path(__file__), f"{tmp_path}/taken", step="send")
    assert {path.name for path in tmp_path.iterdir()} == {"sshd", "taken"}


def test_a_wrong_host_key_is_refused_at_once_and_nothing_is_logged_in(
    sshd: Sshd, clock: FakeClock, tmp_path: Path
) -> None:
    other = public(make_key(tmp_path / "other"))
    with pytest.raises(InstallFailed, match=r"host key ssh-ed25519 SHA256:.* is not the known one"):
        connect(sshd.login(host_keys=(other,)), clock, role="service")
    assert clock.slept == []
    assert not any("Accepted" in line for line in sshd.log)


def test_a_host_key_of_another_type_is_refused_too(sshd: Sshd, clock: FakeClock, tmp_path: Path) -> None:
    other = public(make_key(tmp_path / "other", "ecdsa"))
    with pytest.raises(InstallFailed, match="is not the known one"):
        connect(sshd.login(host_keys=(other,)), clock)


def test_an_unknown_host_key_is_never_added(sshd: Sshd, clock: FakeClock, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:1 {public(sshd.host_key)}\n")
    with pytest.raises(InstallFailed, match="its host key is not known, and an unknown key is never trusted"):
        connect(sshd.login(host_keys=(), known_hosts=known), clock)
    assert known.read_text().count("\n") == 1
    assert not any("Connection from" in line for line in sshd.log)


def test_the_file_of_known_hosts_is_believed(sshd: Sshd, clock: FakeClock, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {public(sshd.host_key)}\n")
    with closing(connect(sshd.login(host_keys=(), known_hosts=known), clock)) as machine:
        assert machine.run(["echo", "in"], step="talk").lines == ("in",)


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_all_kinds_of_keys_work(idle_sshd: Sshd, clock: FakeClock, kind: str) -> None:
    """RSA in the PEM format is what EC2 hands out."""
    idle_sshd.host_key = make_key(idle_sshd.folder / f"host_{kind}", kind)
    idle_sshd.client_key = make_key(idle_sshd.folder / f"client_{kind}", kind, "-m", "PEM")
    idle_sshd.authorized.write_text(public(idle_sshd.client_key))
    idle_sshd.start()
    with closing(connect(idle_sshd.login(), clock)) as machine:
        assert machine.run(["echo", "in"], step="talk").lines == ("in",)


def test_a_refused_login_is_given_up_after_its_patience(sshd: Sshd, clock: FakeClock, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other")
    with pytest.raises(InstallFailed, match=rf"was refused with the key {other}"):
        connect(sshd.login(key_file=other), clock, login_patience=7.0)
    assert sum(clock.slept) == 9.0


def test_no_other_key_is_tried(sshd: Sshd, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right key lies where OpenSSH would look for it, but it is not the one that was given."""
    ssh = tmp_path / "home" / ".ssh"
    ssh.mkdir(parents=True)
    (ssh / "id_ed25519").write_bytes(sshd.client_key.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    other = make_key(tmp_path / "other")
    with pytest.raises(InstallFailed, match="was refused"):
        connect(sshd.login(key_file=other), clock, login_patience=0.0)
    assert not any("Accepted" in line for line in sshd.log)


def test_a_login_that_is_not_let_in_yet_is_tried_again(sshd: Sshd, clock: FakeClock) -> None:
    allowed = sshd.authorized.read_text()
    sshd.authorized.write_text("")
    clock.at_sleep[2] = lambda: sshd.authorized.write_text(allowed)
    with closing(connect(sshd.login(), clock)) as machine:
        assert machine.run(["echo", "in"], step="talk").lines == ("in",)
    assert len(clock.slept) == 2


def test_a_machine_that_boots_is_waited_for_and_the_wait_is_told(
    idle_sshd: Sshd, clock: FakeClock, shown: list[str]
) -> None:
    clock.at_sleep[3] = idle_sshd.start
    with closing(connect(idle_sshd.login(), clock, role="client", echo=shown.append)) as machine:
        assert machine.run(["echo", "up"], step="talk").lines == ("up",)
    assert len(clock.slept) == 3
    assert len(shown) == 2
    assert shown[0].startswith("[client 127.0.0.1] not there yet, trying again: ")


def test_a_machine_that_never_answers_is_given_up(idle_sshd: Sshd, clock: FakeClock) -> None:
    with pytest.raises(InstallFailed, match=r"^client 127\.0\.0\.1: connect failed: .*127\.0\.0\.1"):
        connect(idle_sshd.login(), clock, role="client", patience=30.0)
    assert 24.0 <= sum(clock.slept) <= 30.0


def test_a_server_that_is_no_ssh_is_given_up_without_a_traceback(
    idle_sshd: Sshd, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                connection.sendall(b"HTTP/1.1 400 no\r\n\r\n")
                connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(InstallFailed, match="connect failed"):
            connect(idle_sshd.login(port=server.getsockname()[1]), clock, patience=3.0)
        thread.join(5)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_text("hello"), "it is not a private key"),
        (lambda path: make_key(path, "ed25519", "-N", "secret"), "passphrase"),
        (lambda path: path.mkdir(), "Is a directory"),
    ],
    ids=["missing", "text", "passphrase", "folder"],
)
def test_a_key_file_that_cannot_be_used_is_one_clear_line(
    sshd: Sshd, clock: FakeClock, tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    file = tmp_path / "key"
    make(file)
    with pytest.raises(InstallFailed, match=f"the key {file} cannot be used: .*{reason}"):
        connect(sshd.login(key_file=file), clock)
    assert clock.slept == []


def test_keys_read_from_a_console_let_us_in(sshd: Sshd, clock: FakeClock) -> None:
    from minimoto.core.host_keys import parse_console

    keys = parse_console(f"boot\n{BEGIN}\n{public(sshd.host_key)} root@ip\n{END}\n")
    with closing(connect(Login("127.0.0.1", sshd.login().user, sshd.client_key, keys, port=sshd.port), clock)) as it:
        assert it.run(["echo", "in"], step="talk").lines == ("in",)
