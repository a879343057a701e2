"""An embedded AWS of its own process, and a deployment on it, for benchmarks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minimoto import config

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Deployment:
    """Where its settings lie, and what they say."""

    file: Path
    settings: config.Config


@contextmanager
def deployment(folder: Path) -> Iterator[Deployment]:
    """Starts the embedded AWS, sets a deployment up with the commands of a user, and ends both.

    No machine works in it: whatever is sent stays where it is.
    """
    file = folder / "configure.ini"
    environ = dict(os.environ, MINIMOTO_CONFIG=str(file))
    local = [sys.executable, "-m", "minimoto", "local"]
    state = ["--state", str(folder / "state")]
    subprocess.run([*local, "start", *state, "--write-config", str(file)], check=True, stdout=subprocess.DEVNULL)
    try:
        subprocess.run(
            [sys.executable, str(ROOT / "minimoto_setup.py"), "--yes"],
            env=environ,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        rest(config.load(str(file), environ={}))
        yield Deployment(file, config.load(str(file), environ={}))
    finally:
        subprocess.run([*local, "stop", *state], check=True, stdout=subprocess.DEVNULL)


def rest(settings: config.Config) -> None:
    """Stops the machines: they would work on what is being measured."""
    from minimoto.aws.clients import client
    from minimoto.wiring import Cloud

    cloud = Cloud(settings)
    ids = [i.id for role in ("service", "watchdog") for i in cloud.fleet.instances(role)]
    client(cloud.session, settings, "ec2").terminate_instances(InstanceIds=ids)
