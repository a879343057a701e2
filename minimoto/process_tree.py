"""A process and all that it started: what it takes, how it is killed, how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress


def resident(pid: int, *, tree: bool) -> int:
    """Bytes of resident memory of a process, and with ``tree`` of all below it; 0 if it is gone."""
    import psutil

    total = 0
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in [parent, *(parent.children(recursive=True) if tree else [])]:
            with suppress(psutil.Error):
                total += process.memory_info().rss
    return total


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kills a process, its group, and what it started that left the group."""
    import psutil

    strays = []
    with suppress(psutil.Error):
        strays = psutil.Process(process.pid).children(recursive=True)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for stray in strays:
        with suppress(psutil.Error):
            stray.kill()
    process.wait()


def how_it_ended(status: int) -> str:
    """An exit status as :mod:`subprocess` gives it, in words for a person."""
    if status >= 0:
        return f"crashed: it ended with exit status {status}"
    try:
        name = f" ({signal.Signals(-status).name})"
    except ValueError:
        name = ""
    return f"crashed with signal {-status}{name}"
