"""How the embedded AWS behaves; given to its process as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import minimoto

ROOT = Path(minimoto.__file__).resolve().parents[1]


def _command(file: str, name: str) -> tuple[str, ...]:
    """A script beside the package, as in a clone; where pip installed the package alone, the same by its command."""
    script = ROOT / file
    if not script.exists():
        return (sys.executable, "-m", "minimoto", name)
    return (sys.executable, str(script)) if script.suffix == ".py" else (str(script),)


@dataclass(frozen=True)
class LocalSettings:
    """Durations are seconds.

    Parameters:
        port: on 127.0.0.1; 0 takes the one used before in this state folder, or a free one.
        boot_seconds: how long a new service instance is pending.
        cron_seconds: between two starts of the service's command on a machine.
        cpu_seconds: between two datapoints of CPUUtilization.
        impaired_seconds: how long a machine whose processes died fails its status check before it is stopped.
        grace_seconds: between SIGTERM and SIGKILL when a machine is terminated or stopped.
        service_command: what cron starts on a service machine; empty: ``run_service.sh``.
        watchdog_command: and on a watchdog machine; empty: ``minimoto_watchdog.py``.
    """

    port: int = 0
    boot_seconds: float = 1.0
    cron_seconds: float = 5.0
    cpu_seconds: float = 2.0
    impaired_seconds: float = 1.0
    grace_seconds: float = 5.0
    service_command: tuple[str, ...] = ()
    watchdog_command: tuple[str, ...] = ()

    def command(self, role: str) -> tuple[str, ...]:
        """What cron starts on machines of a role; empty for roles that run nothing."""
        if role == "service":
            return self.service_command or _command("run_service.sh", "service")
        if role == "watchdog":
            return self.watchdog_command or _command("minimoto_watchdog.py", "watchdog")
        return ()

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> LocalSettings:
        """From :meth:`dump`."""
        values = json.loads(text)
        commands = {name: tuple(values[name]) for name in ("service_command", "watchdog_command")}
        return cls(**{**values, **commands})
