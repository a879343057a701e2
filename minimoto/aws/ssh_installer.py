"""Installs EC2 machines over SSH, their host keys read from their consoles."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from minimoto.aws.host_keys import read_host_keys
from minimoto.aws.userdata import machine_config
from minimoto.config import Config, dump
from minimoto.errors import InstallFailed
from minimoto.install import find_source_tree, install_role
from minimoto.machine import Echo
from minimoto.ports import Clock
from minimoto.ssh import Login, connect

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from minimoto.aws.resources.installer import Target


class SshInstaller:
    """The installer of real machines (:class:`minimoto.aws.resources.installer.Installer`).

    Parameters:
        say: is shown what the machines print, line by line, and how long each step took; from any thread.
        source_tree: the project's folder; found if it is not given.
    """

    def __init__(self, ec2: EC2Client, clock: Clock, say: Echo, source_tree: Path | None = None) -> None:
        self._ec2, self._clock, self._say, self._source_tree = ec2, clock, say, source_tree

    def install(self, target: Target, config: Config) -> None:
        """Installs a role, or brings it up to date.

        Raises:
            InstallFailed: names the machine and the step.
            CloudError: EC2 refuses to show the machine's console.
        """
        source_tree = self._source_tree or find_source_tree()
        if not config.key_file:
            raise InstallFailed(f"{target.role} {target.id}: the option key_file of [INIT] names no private key")
        key_file = Path(config.key_file).expanduser()
        keys = self._host_keys(target.id, known_hosts(key_file))
        login = Login(target.address, config.login, key_file, keys)
        settings = dump(machine_config(config))
        with closing(connect(login, self._clock, role=target.role, echo=self._say)) as machine:
            for step in install_role(machine, target.role, source_tree, self._clock, settings=settings):
                detail = f" ({step.detail})" if step.detail else ""
                self._say(f"[{machine.name}] {step.name}: {step.seconds:.1f} s{detail}")

    def _host_keys(self, instance: str, file: Path) -> tuple[str, ...]:
        """The machine's keys: remembered, for a console forgets, or read from its console and then remembered."""
        known = remembered(file, instance)
        if known:
            return known
        keys = read_host_keys(self._ec2, instance, self._clock)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="ascii") as lines:
            lines.writelines(f"{instance} {key}\n" for key in keys)
        return keys


def known_hosts(key_file: Path) -> Path:
    """Where host keys are kept, by the instance's id: an address may belong to another machine tomorrow.

    ``ssh -i KEY -o UserKnownHostsFile=KEY.known_hosts -o HostKeyAlias=INSTANCE USER@ADDRESS`` checks them too.
    """
    return key_file.with_name(f"{key_file.name}.known_hosts")


def remembered(file: Path, instance: str) -> tuple[str, ...]:
    """The keys of an instance in that file, each ``<type> <base64>``."""
    if not file.exists():
        return ()
    lines = (line.split() for line in file.read_text("ascii").splitlines())
    return tuple(f"{words[1]} {words[2]}" for words in lines if len(words) >= 3 and words[0] == instance)
