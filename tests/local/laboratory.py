"""What the tests of the embedded AWS's machines work with: a daemon of their own, clients, and patience."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import psutil

from minimoto.aws.clients import client
from minimoto.aws.session import open_session
from minimoto.config import Config
from minimoto.local import daemon
from minimoto.local.tree import marked

T = TypeVar("T")

STAND_IN = """#!/bin/sh
# Stands in for run_service.sh: says where it runs, and keeps one worker with children that are hard to end.
env > env.txt
echo "started on $MINIMOTO_NODE"
if mkdir worker 2>/dev/null; then
    (trap '' TERM; exec sleep 1000) &
    setsid sleep 1001 &
    exec sleep 1002
fi
while [ -e busy ]; do :; done
"""


def until(look: Callable[[], T | None], seconds: float = 15.0, what: str = "") -> T:
    """Waits for real processes: what ``look`` finds, as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or look}")
        time.sleep(0.02)
    return found


@dataclass(frozen=True)
class Laboratory:
    """A running daemon."""

    url: str
    state: Path

    def client(self, service: str) -> Any:
        return _client(self.url, service)

    def launch(self, role: str = "service", user_data: str = "", tagged: bool = True) -> str:
        tags = [{"Key": "minimoto:deployment", "Value": "trip"}, {"Key": "minimoto:role", "Value": role}]
        run = self.client("ec2").run_instances(
            ImageId="ami-12c6146b",
            InstanceType="g5.xlarge",
            MinCount=1,
            MaxCount=1,
            UserData=user_data,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}] if tagged else [],
        )
        return str(run["Instances"][0]["InstanceId"])

    def describe(self, instance: str) -> dict[str, Any]:
        answer = self.client("ec2").describe_instances(InstanceIds=[instance])
        return dict(answer["Reservations"][0]["Instances"][0])

    def state_of(self, instance: str) -> str:
        return str(self.describe(instance)["State"]["Name"])

    def health(self, instance: str) -> str:
        answer = self.client("ec2").describe_instance_status(InstanceIds=[instance], IncludeAllInstances=True)
        return str(answer["InstanceStatuses"][0]["InstanceStatus"]["Status"])

    def machine(self, instance: str) -> dict[str, Any]:
        machines = daemon.require(self.state).ask("status")["instances"]
        return next((m for m in machines if m["id"] == instance), {})

    def pid(self, instance: str) -> int | None:
        return self.machine(instance).get("pid")

    def folder(self, instance: str) -> Path:
        return self.state / "nodes" / instance

    def processes(self, instance: str = "") -> list[psutil.Process]:
        """Living processes of a machine, or of all; zombies are not living."""
        return [p for p in marked(str(self.state), instance) if _lives(p)]

    def up(self, instance: str) -> int:
        """Waits until the machine's worker and its children run; returns the tree's root."""
        until(lambda: {"sleep"} <= {_name(p) for p in self.processes(instance)}, what=f"the worker of {instance}")
        until(lambda: sum(_name(p) == "sleep" for p in self.processes(instance)) == 3, what="its three processes")
        return until(lambda: self.pid(instance))


@lru_cache
def _client(url: str, service: str) -> Any:
    config = Config(endpoint_url=url)
    return client(open_session(config), config, service)  # type: ignore[call-overload]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def write_stand_in(folder: Path, text: str = STAND_IN) -> Path:
    script = folder / "stand-in.sh"
    script.write_text(text)
    os.chmod(script, 0o755)
    return script
