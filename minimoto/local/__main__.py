"""The process of the embedded AWS: ``python -m minimoto.local STATE SETTINGS``, started by ``minimoto local start``."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import threading
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from minimoto.errors import MinimotoError
from minimoto.local import control, imds, server
from minimoto.local.daemon import LOCK, RECORD, URL, write_atomically
from minimoto.local.node import adopt_orphans
from minimoto.local.settings import LocalSettings
from minimoto.local.supervisor import Supervisor
from minimoto.local.tree import kill, marked
from minimoto.stop_event import StopEvent

MOST_FILES = 65_536


def main() -> int:
    """Runs until SIGTERM; one at a time for a state folder."""
    state, settings = Path(sys.argv[1]), LocalSettings.parse(sys.argv[2])
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    stop = StopEvent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with FileLock(state / LOCK, timeout=0):
            _serve(state, settings, stop)
    except Timeout:
        print(f"an embedded AWS already runs in {state}", file=sys.stderr)  # noqa: T201
        return 1
    except MinimotoError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_status
    return 0


def _serve(state: Path, settings: LocalSettings, stop: threading.Event) -> None:
    _raise_limit_of_files()
    adopt_orphans()
    # What a killed predecessor could not take along.
    kill(marked(str(state)))
    running = server.start(settings.port, state / "objects")
    supervisor = Supervisor(running.gate, running.url, state, settings)
    running.gate.route(imds.PREFIX, imds.Imds(running.gate, supervisor.notice))
    running.gate.route(control.PREFIX, control.Control(running, supervisor))
    supervisor.start()
    write_atomically(state / URL, running.url)
    write_atomically(
        state / RECORD,
        json.dumps({"pid": os.getpid(), "created": psutil.Process().create_time(), "url": running.url}),
    )
    logging.info("the embedded AWS answers at %s", running.url)
    stop.wait()
    (state / RECORD).unlink(missing_ok=True)
    supervisor.stop()
    running.stop()
    logging.info("stopped")


def _raise_limit_of_files() -> None:
    """Every connection of every process of every machine is an open file here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
