"""One machine of the embedded AWS: does what cron does on a real one, and takes everything along when it ends.

Started by the supervisor as the leader of its own session, with a pipe from it as standard input. The pipe ends when
the supervisor's process ends, whatever ended it, and then this machine ends at once.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LOG_BYTES = 5_000_000


class Node:
    """The processes of one machine.

    Parameters:
        command: what cron starts.
        every: seconds between starts; the first is at once.
        overlap: whether it is started while one still runs, as cron does.
        log: a file for all output.
        log_bytes: size at which the log is moved aside to ``<log>.1``.
        grace: seconds between SIGTERM and SIGKILL when the machine is shut down.
    """

    def __init__(
        self, command: Sequence[str], every: float, overlap: bool, log: Path, log_bytes: int, grace: float
    ) -> None:
        self._command, self._every, self._overlap = list(command), every, overlap
        self._log, self._log_bytes, self._grace = log, log_bytes, grace
        self._me = psutil.Process()
        self._running: set[int] = set()
        self._shut_down = False
        self._wake_up, wake_up = os.pipe()
        os.set_blocking(wake_up, False)
        signal.set_wakeup_fd(wake_up, warn_on_full_buffer=False)

    def run(self) -> None:
        """Works until SIGTERM, or until the supervisor is gone."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        adopt_orphans()
        due = time.monotonic()
        grace = self._grace
        while not self._shut_down:
            self._reap()
            if time.monotonic() >= due:
                self._launch()
                due = max(due + self._every, time.monotonic())
            ready, _, _ = select.select([self._wake_up, sys.stdin.fileno()], [], [], max(0.0, due - time.monotonic()))
            if self._wake_up in ready:
                os.read(self._wake_up, 4096)
            if sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), 4096):
                grace = 0.0
                break
        self._end(grace)

    def _on_sigterm(self, *_: object) -> None:
        self._shut_down = True

    def _launch(self) -> None:
        if self._running and not self._overlap:
            return
        rotate(self._log, self._log_bytes)
        with self._log.open("ab") as log:
            try:
                process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one thread
                )
            except OSError as error:
                log.write(f"{self._command[0]}: {error.strerror}\n".encode())
                return
        self._running.add(process.pid)
        # Reaped here with all others, adopted ones included, so not by ``subprocess``.
        process.returncode = 0

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._running.discard(pid)

    def _end(self, grace: float) -> None:
        """SIGTERM to every process of the machine, SIGKILL to what is left after ``grace`` seconds."""
        deadline = time.monotonic() + grace
        if grace:
            for process in self._me.children(recursive=True):
                _signal(process, signal.SIGTERM)
        while True:
            self._reap()
            left = self._me.children(recursive=True)
            if not left:
                return
            if time.monotonic() >= deadline:
                for process in left:
                    _signal(process, signal.SIGKILL)
            select.select([self._wake_up], [], [], 0.05)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.Error):  # gone, or somebody else's by now
        process.send_signal(number)


def rotate(log: Path, most: int) -> None:
    """Moves a long log aside. It is copied and emptied, since running processes go on writing to this very file."""
    if log.exists() and log.stat().st_size > most:
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)


def die_with_parent() -> None:
    """Linux: this process gets SIGKILL when its parent ends, even by SIGKILL."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Linux: processes below this one whose parent ends become its children, so none gets out of sight."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1)


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m minimoto.local.node --log FILE -- COMMAND…``, in the folder of the machine."""
    parser = argparse.ArgumentParser(prog="minimoto.local.node", description=__doc__)
    parser.add_argument("--every", type=float, default=5.0)
    parser.add_argument("--no-overlap", action="store_true")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--log-bytes", type=int, default=LOG_BYTES)
    parser.add_argument("--grace", type=float, default=5.0)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args(argv)
    Node(args.command, args.every, not args.no_overlap, args.log, args.log_bytes, args.grace).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
