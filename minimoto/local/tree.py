"""The processes of one machine, seen from the supervisor: started, measured, ended, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

import minimoto

STATE_MARK = "MINIMOTO_LOCAL_STATE"
"""In the environment of every process of a machine: the state folder. What carries it is ours, nothing else is."""
NODE_MARK = "MINIMOTO_NODE"

OWN_END = 2.0
"""Seconds that the tree's root has to end the rest by itself."""

_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SHELL")


class ProcessTree:
    """The process tree of one machine.

    Parameters:
        node: the instance's id.
        folder: the machine's folder; the working directory of its processes.
        arguments: of ``python -m minimoto.local.node``.
        env: the whole environment of its processes, with both marks.
    """

    def __init__(self, node: str, folder: Path, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self.node = node
        self._env = dict(env)
        self._ending: float | None = None
        self._used = 0.0
        self._measured = time.monotonic()
        with (folder / "node.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "minimoto.local.node", *arguments],
                cwd=folder,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._root = psutil.Process(self._process.pid)
        self._known: dict[int, psutil.Process] = {}

    @property
    def pid(self) -> int:
        """Of the tree's root; also its session and process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the root lives; reaps it when it has ended."""
        return self._process.poll() is None

    @property
    def ending(self) -> bool:
        """Whether it was told to end."""
        return self._ending is not None

    def members(self) -> list[psutil.Process]:
        """Every living process of the tree."""
        try:
            found = [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            found = [p for p in self._known.values() if p.is_running()]
        self._known = {p.pid: p for p in found}
        return found

    def end(self, grace: float) -> None:
        """Ends the tree without waiting: SIGTERM first, upon which it has ``grace`` seconds; then SIGKILL."""
        now = time.monotonic()
        if self._ending is None:
            self._ending = now
            self.members()
            if self.alive:
                self._process.terminate()
        elif now > self._ending + grace + OWN_END and self.alive:
            kill(self.members())

    def bury(self) -> None:
        """After the root has ended: kills and reaps what it left behind, and closes the pipe."""
        left = {p.pid: p for p in (*self._known.values(), *marked(self._env[STATE_MARK], self.node))}
        kill(left.values())
        if self._process.stdin is not None:
            self._process.stdin.close()

    def cpu(self) -> float:
        """Processor seconds used per second since the last call, by all of the tree; 1.0 is one core.

        A process that has ended is counted through its parent, which has waited for it.
        """
        used = 0.0
        for process in self.members():
            try:
                used += sum(process.cpu_times()[:4])
            except psutil.Error:
                continue
        now = time.monotonic()
        rate = max(0.0, used - self._used) / max(1e-3, now - self._measured)
        self._used, self._measured = used, now
        return rate


def environment(state: Path, node: str, more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a machine's processes: none of the caller's credentials, profiles or proxies is in it."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}
    package = str(Path(minimoto.__file__).resolve().parents[1])
    path = os.pathsep.join(p for p in (package, os.environ.get("PYTHONPATH", "")) if p)
    nothing = {"AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_CONFIG_FILE": os.devnull, "NO_PROXY": "*"}
    return {**kept, **nothing, "PYTHONPATH": path, STATE_MARK: str(state), NODE_MARK: node, **more}


def marked(state: str, node: str = "") -> list[psutil.Process]:
    """Living processes of this state folder's machines (of one machine), wherever their parents have gone."""
    found = []
    for process in psutil.process_iter():
        try:
            env = process.environ()
        except (psutil.Error, OSError):
            # Another user's, or gone.
            continue
        if env.get(STATE_MARK) == state and (not node or env.get(NODE_MARK) == node):
            found.append(process)
    return found


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL. psutil compares start times, so a number that was given to another process is left alone."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def reap_adopted(own: Collection[int]) -> None:
    """Reaps ended processes that Linux gave to this one when the machine they belonged to ended.

    Parameters:
        own: processes that this one started, and waits for by itself.
    """
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, ChildProcessError):
            if child.pid not in own and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
