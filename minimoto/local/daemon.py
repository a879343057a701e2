"""The embedded AWS as one background process of a state folder: start, find and stop it.

The state folder holds the lock that the process keeps as long as it lives, its record (``daemon.json``), the last
endpoint, its log, the bytes of large objects and a folder for each machine. What AWS itself would remember (queues,
tables, instances) is in the memory of that process, so a restart begins afresh.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from filelock import FileLock

from minimoto.errors import CloudError, NotFound, UsageError
from minimoto.local.node import LOG_BYTES, rotate
from minimoto.local.settings import LocalSettings
from minimoto.local.tree import kill, marked

STATE = Path(".minimoto")
LOCK, RECORD, URL, LOG = "daemon.lock", "daemon.json", "url", "daemon.log"
START_SECONDS = 60.0
STOP_SECONDS = 20.0
WORKING = ("objects", "nodes")
"""Folders that a start finds empty."""


@dataclass(frozen=True)
class Daemon:
    """A running embedded AWS."""

    url: str
    process: psutil.Process

    def ask(self, action: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Asks the process itself (see ``minimoto.local.control``); with a body, to do something.

        Raises:
            CloudError: it does not answer, or refuses.
        """
        request = urllib.request.Request(  # noqa: S310 - the address is from our own state folder
            f"{self.url}/_minimoto/{action}",
            data=None if body is None else json.dumps(body).encode(),
            method="GET" if body is None else "POST",
        )
        try:
            # A proxy knows no 127.0.0.1 of ours.
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            raise CloudError(str(json.load(error).get("error", error))) from None
        except OSError as error:
            raise CloudError(f"the embedded AWS at {self.url} does not answer: {error}") from None


def find(state: Path = STATE) -> Daemon | None:
    """The embedded AWS of a state folder, if it runs."""
    try:
        record = json.loads((state / RECORD).read_text(encoding="utf-8"))
        process = psutil.Process(record["pid"])
        # The number may have been given to another process since.
        if abs(process.create_time() - record["created"]) > 1.0 or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return None
    return Daemon(record["url"], process)


def require(state: Path = STATE) -> Daemon:
    """The running embedded AWS; raises ``NotFound``."""
    daemon = find(state)
    if daemon is None:
        named = "" if state == STATE else f" --state {state}"
        raise NotFound(
            f"no embedded AWS runs in {state}: minimoto local start{named} starts it; --state names another folder"
        )
    return daemon


def ensure_started(state: Path = STATE, settings: LocalSettings | None = None) -> str:
    """Starts the embedded AWS of a state folder unless it runs, and returns its endpoint.

    Raises:
        CloudError: it did not come up; with the end of its log.
        UsageError: the state folder cannot be used, or it runs on another port than the one asked for.
    """
    state = _prepare(state)
    with FileLock(state / "start.lock"):
        daemon = find(state)
        if daemon is not None:
            if settings and settings.port not in (0, urlsplit(daemon.url).port):
                raise UsageError(f"the embedded AWS of {state} runs at {daemon.url}; stop it before it moves")
            return daemon.url
        return _start(state, _with_port(state, settings or LocalSettings()))


def stop(state: Path = STATE) -> bool:
    """Ends the embedded AWS and every process of its machines; ``False`` if there was nothing to end.

    What the objects and machines left on disk is removed; the logs stay.
    """
    state = state.resolve()
    daemon = find(state)
    if daemon is not None:
        with suppress(psutil.NoSuchProcess):
            daemon.process.terminate()
            try:
                _wait_for_end(daemon.process, STOP_SECONDS)
            except psutil.TimeoutExpired:
                daemon.process.kill()
                _wait_for_end(daemon.process, STOP_SECONDS)
    left = marked(str(state))
    kill(left)
    (state / RECORD).unlink(missing_ok=True)
    shutil.rmtree(state / "objects", ignore_errors=True)
    return daemon is not None or bool(left)


def write_atomically(path: Path, text: str) -> None:
    """Readers see the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(name, path)


def _prepare(state: Path) -> Path:
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Seldom wanted in a repository.
        (state / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{state}: {error.strerror}; name another folder with --state") from None
    return state.resolve()


def _with_port(state: Path, settings: LocalSettings) -> LocalSettings:
    """The port used before, if it is free, so that ``endpoint_url`` in a ``configure.ini`` stays right."""
    import socket

    if settings.port:
        return settings
    try:
        port = int((state / URL).read_text(encoding="utf-8").rpartition(":")[2])
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except (OSError, ValueError):
        return settings
    return replace(settings, port=port)


def _start(state: Path, settings: LocalSettings) -> str:
    for folder in WORKING:
        shutil.rmtree(state / folder, ignore_errors=True)
    (state / RECORD).unlink(missing_ok=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MINIMOTO_"))}
    package = str(Path(__file__).resolve().parents[2])
    env["PYTHONPATH"] = os.pathsep.join(p for p in (package, env.get("PYTHONPATH", "")) if p)
    rotate(state / LOG, LOG_BYTES)
    with (state / LOG).open("ab") as log:
        begun = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "minimoto.local", str(state), settings.dump()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=state,
            env=env,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        daemon = find(state)
        if daemon is not None:
            # It outlives us on purpose.
            process.returncode = 0
            return daemon.url
        if process.poll() is not None:
            raise CloudError(f"the embedded AWS did not start: {_end_of(state / LOG, begun)}")
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise CloudError(f"the embedded AWS did not answer within {START_SECONDS:g} s; see {state / LOG}")


def _end_of(log: Path, begun: int) -> str:
    with log.open("rb") as file:
        file.seek(begun)
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"it said nothing; see {log}"


def _wait_for_end(process: psutil.Process, seconds: float) -> None:
    """Waits for a process that may be our child, or a zombie of somebody who does not look after it."""
    deadline = time.monotonic() + seconds
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            raise psutil.TimeoutExpired(seconds, process.pid)
        time.sleep(0.02)
    with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        process.wait(0)
