"""The program on the machines that setup starts: installed, checked, and brought up to date when settings change."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Sequence
from dataclasses import replace

from minimoto import __version__
from minimoto.aws.resources.context import Context
from minimoto.aws.resources.installer import Target
from minimoto.aws.resources.machines import is_spare
from minimoto.aws.resources.resource import Found, Resource, Setting
from minimoto.aws.userdata import machine_config
from minimoto.config import Config, dump
from minimoto.errors import TimedOut

SOFTWARE_TAG = "minimoto:software"
"""On a machine: what was installed on it, as a digest of version and settings."""


class Software(Resource):
    """The program on the first machines of some roles, which are installed side by side."""

    def __init__(self, key: str, machines: Sequence[str]) -> None:
        self.key, self.role, self._machines = key, "software", tuple(machines)
        self.kind = f"program on {' and '.join(machines)}"

    def wanted(self, ctx: Context) -> bool:
        return not any(is_spare(ctx, machine) for machine in self._machines)

    def find_all(self, ctx: Context) -> list[Found]:
        machines = [ctx.get(m) for m in self._machines if m in ctx.found]
        if len(machines) < len(self._machines) or not all(SOFTWARE_TAG in machine.tags for machine in machines):
            return []
        return [_found(machines)]

    def make(self, ctx: Context) -> Found:
        self._install(ctx, [m for m in self._machines if SOFTWARE_TAG not in ctx.get(m).tags])
        return _found([ctx.get(m) for m in self._machines])

    def find_made(self, ctx: Context) -> list[Found]:
        # A machine that this run made goes as a whole; on one that stood before, the next run installs again.
        return []

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        def setting(machine: str) -> Setting:
            current = ctx.get(machine).tags.get(SOFTWARE_TAG)
            wanted = digest(ctx.config, machine)

            def write(value: object) -> None:
                if value == wanted:
                    self._install(ctx, [machine])
                else:
                    self._mark(ctx, machine, "outdated")

            return Setting(f"program on {machine}", current, wanted, write)

        return [setting(machine) for machine in self._machines]

    def remove(self, ctx: Context, found: Found) -> None:
        """Nothing: it goes with its machine."""

    def _install(self, ctx: Context, machines: Sequence[str]) -> None:
        ec2, ids = ctx.client("ec2"), [ctx.id(m) for m in machines]
        ctx.wait("ec2", "instance_running", f"machine {', '.join(ids)}", InstanceIds=ids)
        pages = ec2.get_paginator("describe_instances").paginate(InstanceIds=ids)
        seen = {i["InstanceId"]: i for page in pages for r in page["Reservations"] for i in r["Instances"]}
        targets = [Target(machine, ctx.id(machine), address_of(seen[ctx.id(machine)])) for machine in machines]
        self._side_by_side(ctx, targets)
        for machine in machines:
            self._mark(ctx, machine, digest(ctx.config, machine))

    @staticmethod
    def _side_by_side(ctx: Context, targets: Sequence[Target]) -> None:
        """Installs on all at once; the first failure ends the wait (what setup then undoes ends the others)."""
        ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        def install(target: Target) -> None:
            try:
                ctx.installer.install(target, settings_of(ctx.config, target.role))
            except BaseException as error:
                ended.put(error)
            else:
                ended.put(None)

        for target in targets:
            threading.Thread(target=install, args=(target,), daemon=True, name=f"install-{target.role}").start()
        for _ in targets:
            try:
                error = ended.get(timeout=3 * ctx.patience)
            except queue.Empty:
                raise TimedOut(f"the installation was not done within {3 * ctx.patience:.0f} s") from None
            if error is not None:
                raise error

    @staticmethod
    def _mark(ctx: Context, machine: str, digest: str) -> None:
        ctx.client("ec2").create_tags(Resources=[ctx.id(machine)], Tags=[{"Key": SOFTWARE_TAG, "Value": digest}])


def _found(machines: Sequence[Found]) -> Found:
    ids = " ".join(machine.id for machine in machines)
    return Found(ids, f"({ids})")


def digest(config: Config, role: str) -> str:
    """What a machine of a role should have: changes with the program's version and with the settings."""
    text = f"{__version__}\n{dump(machine_config(settings_of(config, role)))}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def settings_of(config: Config, role: str) -> Config:
    """The settings as a machine of a role gets them: without the ids that it does not need and that may change."""
    kept = replace(config, client_id="", watchdog_id="", service_id="")
    return replace(kept, launch_template="", service_ami="", image_name="") if role == "service" else kept


def address_of(instance: object) -> str:
    """Where an instance is reached from outside: its public name, else its address; empty without one."""
    assert isinstance(instance, dict)
    return str(instance.get("PublicDnsName") or instance.get("PublicIpAddress") or "")
