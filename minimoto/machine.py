"""A computer that can be told to run a command and to keep a file: over SSH (:mod:`minimoto.ssh`), or this one."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from minimoto.errors import InstallFailed

MOST_STDERR_LINES = 60
MOST_LINE = 4000

Echo = Callable[[str], None]
"""Shown one line of a machine's output, its prefix included."""


@dataclass(frozen=True)
class Completed:
    """A command that ended.

    Parameters:
        status: its exit status.
        lines: what it printed, both streams in the order they came, without control characters.
        stderr: the end of its standard error.
    """

    status: int
    lines: tuple[str, ...]
    stderr: str


class Machine(Protocol):
    """A computer to install on. Every failure is an :class:`InstallFailed` that names the machine and the step."""

    @property
    def name(self) -> str:
        """For people, such as ``service 1.2.3.4``; the prefix of its output."""

    def run(self, command: Sequence[str], *, step: str, timeout: float = 600.0) -> Completed:
        """Runs a command to its end, its output shown line by line as it comes.

        Parameters:
            step: what the command is for; named in errors.
            timeout: seconds until it is given up.

        Raises:
            InstallFailed: the exit status is not 0, the time is over, or the connection dropped.
        """

    def put(self, source: Path, target: str, *, step: str, mode: int = 0o644) -> None:
        """Copies a file to an existing folder of the machine; atomic: readers see the old file or the new one.

        Parameters:
            target: a path on the machine; relative to the login's home folder unless absolute.
        """

    def close(self) -> None:
        """Ends the connection."""


class Output:
    """Gathers and shows the two streams of one command; each stream may have a thread of its own."""

    def __init__(self, name: str, echo: Echo | None) -> None:
        self._prefix, self._echo = f"[{name}] ", echo
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._errors: deque[str] = deque(maxlen=MOST_STDERR_LINES)

    def line(self, text: str, *, error: bool = False) -> None:
        """Takes one line. What a machine says must not steer a terminal, so control characters are left out."""
        clean = "".join(c if c.isprintable() else " " for c in text[:MOST_LINE].expandtabs()).rstrip()
        with self._lock:
            self._lines.append(clean)
            if error:
                self._errors.append(clean)
            if self._echo is not None:
                self._echo(self._prefix + clean)

    def completed(self, status: int) -> Completed:
        """The outcome, once both streams have ended."""
        with self._lock:
            return Completed(status, tuple(self._lines), "\n".join(self._errors))


def checked(name: str, step: str, completed: Completed) -> Completed:
    """``completed`` if it went well.

    Raises:
        InstallFailed: one line with the machine, the step, the status and the last words of its standard error.
    """
    if completed.status == 0:
        return completed
    last = next((line for line in reversed(completed.stderr.splitlines()) if line.strip()), "it said nothing")
    raise InstallFailed(f"{name}: {step} failed with exit status {completed.status}: {last}", stderr=completed.stderr)


class LocalMachine:
    """This computer, as a :class:`Machine`; relative targets are below ``home``."""

    def __init__(self, home: Path, name: str = "this computer", echo: Echo | None = None) -> None:
        self.name, self._home, self._echo = name, home, echo

    def run(self, command: Sequence[str], *, step: str, timeout: float = 600.0) -> Completed:
        output = Output(self.name, self._echo)
        try:
            process = subprocess.Popen(
                list(command),
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise InstallFailed(f"{self.name}: {step}: {shlex.join(command)[:200]}: {error.strerror}") from error
        with process:
            readers = [_read(process.stdout, output, error=False), _read(process.stderr, output, error=True)]
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                # With whatever it started: a child would hold the streams open.
                os.killpg(process.pid, signal.SIGKILL)
                raise InstallFailed(f"{self.name}: {step} was given up after {timeout:g} s") from None
            finally:
                for reader in readers:
                    reader.join()
        return checked(self.name, step, output.completed(process.returncode))

    def put(self, source: Path, target: str, *, step: str, mode: int = 0o644) -> None:
        path = self._home / target
        try:
            handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            try:
                with os.fdopen(handle, "wb") as file, source.open("rb") as data:
                    shutil.copyfileobj(data, file)
                    os.fchmod(file.fileno(), mode)
                os.replace(part, path)
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise InstallFailed(f"{self.name}: {step}: {target}: {error.strerror}") from error

    def close(self) -> None:
        """Nothing to end."""


def _read(stream: IO[str] | None, output: Output, *, error: bool) -> threading.Thread:
    def lines() -> None:
        for line in stream or ():
            output.line(line, error=error)

    thread = threading.Thread(target=lines, daemon=True)
    thread.start()
    return thread
