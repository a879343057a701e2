"""The seam between setup and the machines: whoever installs the program on them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from minimoto.aws.calls import aws_call
from minimoto.aws.userdata import machine_config, user_data
from minimoto.config import Config, dump
from minimoto.errors import InstallFailed
from minimoto.machine import LocalMachine

if TYPE_CHECKING:
    from minimoto.ports import Clock

ROOT = Path(__file__).parents[3]
"""Where the package lies: a machine of the embedded AWS starts it from there."""

COMMANDS = {"client": "submit", "service": "service", "watchdog": "watchdog"}
"""What a machine of each role runs."""


@dataclass(frozen=True)
class Target:
    """A running machine.

    Parameters:
        id: the instance's id.
        address: where SSH reaches it.
    """

    role: str
    id: str
    address: str


class Installer(Protocol):
    """Puts the program on a machine; several may be installed side by side."""

    def install(self, target: Target, config: Config) -> None:
        """Installs a role, or brings it up to date, with settings as that machine needs them.

        Raises:
            InstallFailed: names the machine and the step.
        """


class SshInstaller:
    """Logs in to the machine with its host key checked, and runs ``minimoto_install.sh`` there.

    Parameters:
        ec2: gives a machine's console, where its host keys are shown.
        say: is shown the machine's output, line by line.
    """

    def __init__(self, ec2: Callable[[], Any], clock: Clock, say: Callable[[str], None]) -> None:
        self._ec2, self._clock, self._say = ec2, clock, say

    def install(self, target: Target, config: Config) -> None:
        """Installs over SSH."""
        from minimoto.aws.host_keys import machine_host_keys
        from minimoto.install import find_source_tree, install_role
        from minimoto.ssh import Login, connect

        source = find_source_tree()
        models = _model_files(config) if target.role == "service" else ()
        if not target.address:
            raise InstallFailed(f"{target.role} {target.id} has no public address: is it in a public subnet?")
        key_file = Path(config.key_file).expanduser()
        host_keys = machine_host_keys(self._ec2(), target.id, key_file, self._clock)
        login = Login(host=target.address, user=config.login, key_file=key_file, host_keys=host_keys)
        machine = connect(login, self._clock, role=target.role, echo=self._say)
        try:
            settings = dump(machine_config(config))
            install_role(machine, target.role, source, self._clock, settings=settings, models=models)
        finally:
            machine.close()


def _model_files(config: Config) -> tuple[Path, ...]:
    """The models that the image shall carry, from this computer, where setup has brought them."""
    from minimoto.baked_models import carried
    from minimoto.engines.registry import paths

    return tuple(path for name in carried(config) for path in paths(name))


class LocalInstaller:
    """Machines of the embedded AWS are processes of this very program: it starts, and their settings are brought.

    They take new user data while they run, where AWS has SSH for it: see :mod:`minimoto.local.supervisor`.
    """

    def __init__(self, ec2: Callable[[], Any]) -> None:
        self._ec2 = ec2

    def install(self, target: Target, config: Config) -> None:
        """Starts the role's command once, and gives the machine its settings."""
        machine = LocalMachine(ROOT, name=f"{target.role} {target.id}")
        machine.run([sys.executable, "-m", "minimoto", COMMANDS[target.role], "--help"], step="starting minimoto")
        settings = user_data(config, target.role).encode()
        with aws_call(f"settings of {machine.name}"):
            self._ec2().modify_instance_attribute(InstanceId=target.id, UserData={"Value": settings})
