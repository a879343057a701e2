"""How tests start the commands: as processes with a home of their own."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from minimoto.wiring import Cloud
from tests.client.conftest import ROOT, Worker

CLIENT = (sys.executable, str(ROOT / "minimoto_client.py"))
MINIMOTO = (sys.executable, "-m", "minimoto")
OUTPUT = re.compile(r"You'll find the output in (s3://(\S+?)/(\S+?)/\S*)\n")


@contextmanager
def at_work(cloud: Cloud, broken: tuple[str, ...] = (), reason: str = "") -> Iterator[None]:
    """A worker beside the test until the block ends; with ``reason`` it fails the first task."""
    stop, worker, errors = threading.Event(), Worker(cloud, broken), []

    def work() -> None:
        try:
            while not stop.wait(0.05):
                if not reason:
                    worker.work(1)
                elif cloud.queue.counts().visible:
                    worker.fail(reason)
                    return
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
    assert errors == []


def lines(text: str) -> list[str]:
    return text.splitlines()


def start(environ: dict[str, str], *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What the process says on stderr up to ``text``; its end is the end of the wait."""
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        if text in line:
            return told
    pytest.fail(f"it ended without saying {text!r}: {told}")


def on_terminal(environ: dict[str, str], *command: str) -> str:
    """All that a command writes on a terminal of its own."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait(60) == 0, written.decode()
    return written.decode()
