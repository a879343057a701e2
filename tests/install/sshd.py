"""A real sshd on loopback, as an ordinary foreground process with keys, port and files of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from minimoto.ssh import Login

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
START_SECONDS = 10


def need_sshd() -> str:
    """Its path; without one the test is skipped on a laptop and fails in CI."""
    if sys.platform != "linux":
        pytest.skip("the machines that minimoto installs are Linux machines")
    if SSHD is None or shutil.which("ssh-keygen") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs a real sshd: apt-get install openssh-server")
        pytest.skip("there is no sshd here (Debian: apt-get install openssh-server)")
    return SSHD


def make_key(path: Path, kind: str = "ed25519", *options: str) -> Path:
    """A key pair without passphrase unless the options say so."""
    passphrase = () if "-N" in options else ("-N", "")
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-f", str(path), *passphrase, *options], check=True)
    return path


def public(key: Path) -> str:
    """``<type> <base64>`` of a key pair."""
    return " ".join(Path(f"{key}.pub").read_text("ascii").split()[:2])


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Sshd:
    """One server; ``log`` holds what it said."""

    folder: Path
    port: int = field(default_factory=free_port)
    log: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.host_key = make_key(self.folder / "host_ed25519")
        self.client_key = make_key(self.folder / "client")
        self.authorized = self.folder / "authorized_keys"
        self.authorized.write_text(public(self.client_key) + "\n")
        self.home = Path.home()

    def login(self, **changes: object) -> Login:
        """How to get in."""
        settings: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "key_file": self.client_key,
            "host_keys": (public(self.host_key),),
        }
        return Login(**(settings | changes))  # type: ignore[arg-type]

    def start(self, *lines: str) -> Sshd:
        """Starts it and returns once it listens."""
        if os.getuid() == 0:
            # What Debian's service does before it starts sshd.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.host_key}\nAuthorizedKeysFile {self.authorized}\n"
            "UsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin prohibit-password\nPidFile none\nSubsystem sftp internal-sftp\nPrintMotd no\n"
            "PrintLastLog no\nLogLevel VERBOSE\n" + "".join(f"{line}\n" for line in lines)
        )
        self.process = subprocess.Popen(
            [need_sshd(), "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        listening = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self.process, listening), daemon=True)
        self._reader.start()
        assert listening.wait(START_SECONDS), f"sshd did not start: {self.log}"
        assert any("Server listening" in line for line in self.log), f"sshd did not start: {self.log}"
        return self

    def _read(self, process: subprocess.Popen[str], listening: threading.Event) -> None:
        for line in process.stderr or ():
            self.log.append(line.rstrip())
            if "Server listening" in line:
                listening.set()
        listening.set()

    def kill_connections(self) -> None:
        """SIGKILL to every child: each open connection drops without a word."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True)
        sessions = [child for child in children if _name(child) == "sshd"]
        assert sessions, "nobody is logged in"
        for child in sessions:
            child.kill()

    def stop(self) -> None:
        """Ends it, with whatever it started."""
        if self.process is None:
            return
        children = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        for child in children:
            if child.is_running():
                child.kill()
        self._reader.join(START_SECONDS)
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.process = None


def _name(process: psutil.Process) -> str:
    """Its name; empty if it has ended meanwhile."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""
