"""Keeps a process tree for every machine of the embedded AWS that should have one, and tells moto what became of it."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimoto import config
from minimoto.aws.userdata import config_from_user_data
from minimoto.errors import ConfigError, NotFound, UsageError
from minimoto.local import groups, instances, usage
from minimoto.local.alarms import Evaluator
from minimoto.local.gate import Gate
from minimoto.local.instances import LocalInstance
from minimoto.local.settings import LocalSettings
from minimoto.local.tree import OWN_END, ProcessTree, environment, reap_adopted

log = logging.getLogger(__name__)

LOOK_EVERY = 0.25
"""Seconds between two looks at the processes; changes through the API wake it at once."""
ALARMS_EVERY = 1.0
"""Seconds between two looks at the alarms, of which each has a period of its own."""
KEPT_LOGS = 50
"""Terminated machines whose logs are kept."""
FAILED = "Server.InternalError: the processes of this machine have ended"
INTERRUPTED = "Server.SpotInstanceTermination: Spot instance termination"


@dataclass(frozen=True)
class Notice:
    """An interruption that a machine has been told of. Seconds since the epoch."""

    told: float
    at: float


class Supervisor:
    """The machines of the embedded AWS.

    Parameters:
        gate: of the embedded AWS in this process.
        url: its endpoint.
        state: the state folder; machines live in ``nodes/<instance-id>`` below it.
    """

    def __init__(self, gate: Gate, url: str, state: Path, settings: LocalSettings) -> None:
        self._gate, self._url, self._state, self._settings = gate, url, state, settings
        self._trees: dict[str, ProcessTree] = {}
        self._told: dict[str, str] = {}
        self._booting: dict[str, float] = {}
        self._failed: dict[str, float] = {}
        self._seen: set[str] = set()
        self._cpu: dict[str, float] = {}
        self._cpu_due = 0.0
        self._notices: dict[str, Notice] = {}
        self._evaluator, self._alarms_due = Evaluator(), 0.0
        self._wake = threading.Event()
        self._stopping = False
        self._pass = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._gate.after("ec2", self._look)
        self._thread.start()

    def stop(self) -> None:
        """Ends every process of every machine, and then itself."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._end_all(self._settings.grace_seconds)

    def forget(self) -> None:
        """Ends and wipes every machine; hold no lock."""
        with self._pass:
            self._end_all(0.0)
            for memory in (self._booting, self._failed, self._seen, self._cpu, self._notices, self._told):
                memory.clear()
            shutil.rmtree(self._state / "nodes", ignore_errors=True)

    def notice(self, instance_id: str) -> Notice | None:
        """The interruption that a machine has been told of."""
        return self._notices.get(instance_id)

    def interrupt(self, instance_id: str, seconds: float) -> None:
        """Sends a machine the notice of a spot interruption, and terminates it ``seconds`` later.

        Raises:
            NotFound: there is no such machine.
            UsageError: it is not running.
        """
        with self._gate.lock("ec2"):
            instance = instances.find(instance_id)
        if instance is None:
            raise NotFound(f"there is no instance {instance_id}")
        if instance.state != "running":
            raise UsageError(f"instance {instance_id} is {instance.state}; only a running one can be interrupted")
        now = time.time()
        self._notices.setdefault(instance_id, Notice(told=now, at=now + seconds))

    def describe(self) -> list[dict[str, Any]]:
        """Every machine with the state of its processes, for ``status``."""
        with self._gate.lock("ec2"):
            machines = instances.all_instances()
        return [self._describe(machine) for machine in machines]

    def _describe(self, machine: LocalInstance) -> dict[str, Any]:
        tree = self._trees.get(machine.id)
        alive = tree is not None and tree.alive
        return {
            "id": machine.id,
            "role": machine.role,
            "deployment": machine.deployment,
            "state": machine.state,
            "impaired": machine.model.impaired,
            "pid": tree.pid if tree is not None and alive else None,
            "cpu": self._cpu.get(machine.id) if alive else None,
            "folder": str(self._folder(machine.id)),
            "interrupted_at": notice.at if (notice := self._notices.get(machine.id)) else None,
        }

    def _folder(self, instance_id: str) -> Path:
        return self._state / "nodes" / instance_id

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(LOOK_EVERY)
            self._wake.clear()
            try:
                with self._pass:
                    self._tick(time.monotonic())
            except Exception:
                # One machine's trouble must not end the others; the next look tries again.
                log.exception("the supervisor failed to look after the machines")

    def _look(self) -> None:
        """After each call to EC2, under its lock."""
        self._begin_boots()
        self._wake.set()

    def _begin_boots(self) -> None:
        """New service machines boot first."""
        for machine in instances.all_instances():
            if machine.id not in self._seen:
                self._seen.add(machine.id)
                if machine.role == "service" and machine.state == "running" and self._settings.boot_seconds > 0:
                    instances.set_state(machine, "pending", 0)
                    self._booting[machine.id] = time.monotonic() + self._settings.boot_seconds

    def _tick(self, now: float) -> None:
        self._scale(now)
        with self._gate.lock("ec2"):
            self._finish_boots(now)
            self._carry_out_notices()
            self._stop_failed(now)
            machines = {machine.id: machine for machine in instances.all_instances()}
        working = {m.id: m for m in machines.values() if m.state == "running" and self._settings.command(m.role)}
        for instance_id, tree in list(self._trees.items()):
            if not tree.alive:
                self._bury(instance_id, machines.get(instance_id), now)
            elif instance_id not in working:
                tree.end(self._settings.grace_seconds)
        for machine in working.values():
            if machine.id in self._trees:
                self._bring_settings(machine)
            elif machine.id not in self._failed:
                self._begin(machine, now)
        if now >= self._cpu_due:
            self._cpu_due = now + self._settings.cpu_seconds
            self._measure(working)
            reap_adopted({tree.pid for tree in self._trees.values()})

    def _scale(self, now: float) -> None:
        """Has the alarms move the Auto Scaling groups, and the groups their machines."""
        if now >= self._alarms_due:
            self._alarms_due = now + ALARMS_EVERY
            # In the order in which every service is held still, so that nobody waits for another.
            with self._gate.lock("ec2"), self._gate.lock("monitoring"):
                self._evaluator.look(time.time())
        with self._gate.lock("ec2"):
            groups.look(now)
            self._begin_boots()

    def _finish_boots(self, now: float) -> None:
        for instance_id in [i for i, due in self._booting.items() if now >= due]:
            del self._booting[instance_id]
            machine = instances.find(instance_id)
            if machine is not None and machine.state == "pending":
                instances.set_state(machine, "running", 16)

    def _carry_out_notices(self) -> None:
        for instance_id in [i for i, notice in self._notices.items() if time.time() >= notice.at]:
            machine = instances.find(instance_id)
            if machine is not None and machine.state != "terminated":
                instances.terminate(machine, INTERRUPTED, "Server.SpotInstanceTermination")
            del self._notices[instance_id]

    def _stop_failed(self, now: float) -> None:
        for instance_id in [i for i, due in self._failed.items() if now >= due]:
            del self._failed[instance_id]
            machine = instances.find(instance_id)
            if machine is not None and machine.state == "running":
                instances.set_state(machine, "stopped", 80, FAILED, "Server.InternalError")

    def _begin(self, machine: LocalInstance, now: float) -> None:
        machine.model.impaired = False
        folder = self._folder(machine.id)
        (folder / "data").mkdir(parents=True, exist_ok=True)
        every = self._settings.cron_seconds
        more = {
            "MINIMOTO_PYTHON": sys.executable,
            "MINIMOTO_INIT_ENDPOINT_URL": self._url,
            "MINIMOTO_INIT_LOG_FILE": str(folder / "minimoto.log"),
            "MINIMOTO_SERVICE_DATA_DIR": str(folder / "data"),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{self._url}/_imds/{machine.id}",
        }
        file = self._write_settings(machine)
        if file is not None:
            more["MINIMOTO_CONFIG"] = str(file)
            every = self._every(machine.role, file)
        arguments = ["--every", str(every), "--log", "node.log", "--grace", str(self._settings.grace_seconds)]
        if machine.role != "service":
            # A watchdog's pass that takes long would only find its own lease held.
            arguments.append("--no-overlap")
        try:
            self._trees[machine.id] = ProcessTree(
                machine.id,
                folder,
                [*arguments, "--", *self._settings.command(machine.role)],
                environment(self._state, machine.id, more),
            )
        except OSError as error:
            log.error("%s: its processes cannot be started: %s", machine.id, error)
            self._fail(machine, now)

    def _write_settings(self, machine: LocalInstance) -> Path | None:
        """Keeps the settings of a machine's user data in its folder; ``None`` if there are none in it."""
        self._told[machine.id] = machine.user_data
        settings = config_from_user_data(machine.user_data)
        if settings is None:
            return None
        file = self._folder(machine.id) / "configure.ini"
        new = file.with_name(f".{file.name}.new")
        new.write_text(settings, encoding="utf-8")
        new.chmod(0o600)
        # Somebody may be reading it.
        new.replace(file)
        return file

    def _bring_settings(self, machine: LocalInstance) -> None:
        """New settings for a machine that runs, where AWS has SSH: what cron starts from now on begins with them."""
        if machine.user_data == self._told.get(machine.id):
            return
        file = self._folder(machine.id) / "configure.ini"
        before = self._every(machine.role, file) if file.exists() else None
        if self._write_settings(machine) is not None and before != self._every(machine.role, file):
            # Another pace is another cron; a watchdog may be ended at any line.
            self._trees[machine.id].end(self._settings.grace_seconds)

    def _every(self, role: str, file: Path) -> float:
        """Seconds between two starts by cron."""
        if role != "watchdog":
            return self._settings.cron_seconds
        try:
            return config.load(str(file), environ={}).watchdog_every
        except ConfigError as error:
            log.error("%s", error)
            return self._settings.cron_seconds

    def _bury(self, instance_id: str, machine: LocalInstance | None, now: float) -> None:
        tree = self._trees.pop(instance_id)
        tree.bury()
        self._cpu.pop(instance_id, None)
        self._told.pop(instance_id, None)
        if machine is None:
            # The disk of a terminated machine is gone; its log stays to be read.
            shutil.rmtree(self._folder(instance_id) / "data", ignore_errors=True)
            self._forget_oldest()
        elif machine.state == "running" and not tree.ending:
            log.warning("%s: its processes have ended", instance_id)
            self._fail(machine, now)

    def _forget_oldest(self) -> None:
        """Keeps the logs of the machines that were there last."""
        gone = [f for f in (self._state / "nodes").iterdir() if f.name not in self._trees and not (f / "data").exists()]
        for folder in sorted(gone, key=lambda f: f.stat().st_mtime)[:-KEPT_LOGS]:
            shutil.rmtree(folder, ignore_errors=True)

    def _fail(self, machine: LocalInstance, now: float) -> None:
        """First the status check fails, then the machine is stopped."""
        machine.model.impaired = True
        self._failed[machine.id] = now + self._settings.impaired_seconds

    def _measure(self, working: dict[str, LocalInstance]) -> None:
        cores = usage.share(os.cpu_count() or 1, sum(m.role == "service" for m in working.values()))
        used = {}
        for instance_id, tree in self._trees.items():
            if instance_id in working and tree.alive:
                self._cpu[instance_id] = round(min(100.0, 100.0 * tree.cpu() / cores), 1)
                used[working[instance_id]] = self._cpu[instance_id]
        with self._gate.lock("monitoring"):
            usage.publish(used)
            usage.forget_old()

    def _end_all(self, grace: float) -> None:
        deadline = time.monotonic() + grace + 2 * OWN_END
        while any(tree.alive for tree in self._trees.values()) and time.monotonic() < deadline:
            for tree in self._trees.values():
                tree.end(grace)
            time.sleep(0.02)
        for tree in self._trees.values():
            tree.bury()
        self._trees.clear()
