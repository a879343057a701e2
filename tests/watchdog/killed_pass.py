"""Run as a process: passes that are killed with SIGKILL right after the first, second, … call that changes something.

For each kill a deployment of its own; then passes go on as cron would start them. Prints one JSON line for each: the
call after which the pass was killed, and the number of machines after it and after each later pass.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from functools import cache
from typing import Any

from minimoto import config
from minimoto.aws.session import open_session
from minimoto.watchdog.patrol import Watchdog
from minimoto.wiring import Cloud

PORTS = ("ledger", "fleet", "nodes", "queue", "jobs", "metrics")
READS = frozenset({"recall", "instances", "reports", "counts", "live", "unclosed", "cpu", "tasks", "dead"})
LATER = (121.0, 182.0)
"""Seconds after the killed pass. Its lease has ended by then; no node has been given up for not reporting."""


class LaterClock:
    """Real time, some seconds later."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def now(self) -> float:
        return time.time() + self.shift

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a pass does not sleep")


class Deadly:
    """A port whose changing calls are counted by ``calls``; the process dies right after the last one allowed."""

    def __init__(self, name: str, port: Any, calls: list[str], allowed: int, pipe: int) -> None:
        self._name, self._port, self._calls, self._allowed, self._pipe = name, port, calls, allowed, pipe

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._port, name)

        def counted(*arguments: Any, **more: Any) -> Any:
            result = call(*arguments, **more)
            if name not in READS:
                self._calls.append(name)
            if name not in READS and len(self._calls) == self._allowed:
                os.write(self._pipe, f"{self._name}.{name}".encode())
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted


@cache
def session(endpoint: str) -> Any:
    """One for all, for the sake of time; clients are made anew in each process."""
    return open_session(config.Config(endpoint_url=endpoint))


def opened(file: str, shift: float = 0.0) -> Cloud:
    cloud = Cloud(config.load(file))
    cloud.__dict__["clock"] = LaterClock(shift)
    cloud.__dict__["session"] = session(cloud.config.endpoint_url)
    return cloud


def killed_after(file: str, allowed: int) -> str:
    """The call after which a pass in a process of its own was killed; empty when it came to its end."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        cloud, calls = opened(file), []
        for name in PORTS:
            cloud.__dict__[name] = Deadly(name, getattr(cloud, name), calls, allowed, write)
        Watchdog(cloud).run_pass()
        os._exit(0)
    os.close(write)
    status = os.waitpid(pid, 0)[1]
    with os.fdopen(read) as pipe:
        call = pipe.read()
    assert os.WIFSIGNALED(status) is bool(call), status
    return call


def main() -> None:
    for allowed, file in enumerate(sys.argv[1:], start=1):
        call = killed_after(file, allowed)
        cloud = opened(file)
        counts = [len(cloud.fleet.instances())]
        for seconds in LATER:
            cloud.clock.shift = seconds  # type: ignore[attr-defined]
            done = Watchdog(cloud).run_pass()
            assert done is not None
            counts.append(len(cloud.fleet.instances()))
        sys.stdout.write(json.dumps({"call": call, "machines": counts}) + "\n")


if __name__ == "__main__":
    main()
