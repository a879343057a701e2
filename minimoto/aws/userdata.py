"""What a new machine is told at its first boot: its deployment, by cloud-init user data.

A node made from the baked image needs nothing copied to it: cloud-init writes ``/etc/minimoto/configure.ini``, starts
the cron file of the machine's role, and reads the disk ahead in the background, because a disk made from a snapshot
is filled from S3 block by block as it is read, which would make the first task wait for its models.

The document is JSON below the line ``#cloud-config`` (every JSON document is YAML), so that it is read back exactly.
Format: https://cloudinit.readthedocs.io/en/latest/reference/examples.html
"""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

from minimoto.config import SYSTEM_FILE, Config, dump
from minimoto.errors import ConfigError

HEADER = "#cloud-config"
MOST_BYTES = 16_384
"""EC2's limit for user data, before base64."""

HOME = "/opt/minimoto"
"""Where ``minimoto_install.sh`` puts the program, its environment and the models."""

CRON_ROLES = frozenset({"service", "watchdog"})
"""Roles whose program is started by cron."""

_READ_AHEAD = (
    # Models first: the first task waits for them. Several readers, because each block waits for the network.
    f"for part in {HOME}/models {HOME}/venv {HOME}/app; do "
    'find "$part" -xdev -type f -print0 2>/dev/null | xargs -0 -r -n 16 -P 4 cat; done >/dev/null'
)


def machine_config(config: Config) -> Config:
    """The settings as a machine of the deployment needs them: nothing that only the operator's computer has."""
    log_file = config.log_file if config.local else Config().log_file
    return replace(config, profile="", key_file="", ssh_from="", owner="", log_file=log_file)


def user_data(config: Config, role: str = "service") -> str:
    """The user data of a machine, not yet in base64.

    Parameters:
        role: ``client``, ``watchdog`` or ``service``.

    Raises:
        ConfigError: the settings are too long for EC2.
    """
    document: dict[str, Any] = {
        "disable_root": True,
        "ssh_pwauth": False,
        # The console is where setup reads the host keys from, to check them at its first login.
        "ssh": {"emit_keys_to_console": True},
        "write_files": [
            {
                "path": str(SYSTEM_FILE),
                "owner": "root:root",
                # No secret is in it, and the service's own user must read it.
                "permissions": "0644",
                "content": dump(machine_config(config)),
            }
        ],
        "runcmd": [["sh", "-c", command] for command in _commands(role)],
    }
    text = f"{HEADER}\n{json.dumps(document, ensure_ascii=False, indent=1)}\n"
    size = len(text.encode())
    if size > MOST_BYTES:
        raise ConfigError(
            f"the settings make {size} bytes of user data, EC2 takes {MOST_BYTES}: "
            "shorten the longest lists in configure.ini (more_buckets, more_types)"
        )
    return text


def config_from_user_data(text: str) -> str | None:
    """The text of ``configure.ini`` in a machine's user data, or ``None`` if it is not ours.

    Parameters:
        text: user data as the instance metadata service gives it (not base64).
    """
    header, _, body = text.partition("\n")
    if header.strip() != HEADER:
        return None
    try:
        for file in json.loads(body)["write_files"]:
            if file["path"] == str(SYSTEM_FILE):
                return str(file["content"])
    except (ValueError, KeyError, TypeError):
        return None
    return None


def _commands(role: str) -> list[str]:
    """What runs at the end of the first boot. Nothing here may hold the boot up."""
    commands = [_in_background("minimoto-read-ahead", _READ_AHEAD, "Nice=19", "IOSchedulingClass=idle")]
    if role in CRON_ROLES:
        installer = f"{HOME}/app/minimoto_install.sh"
        # A machine that setup has yet to install over SSH has no installer, and is started by it.
        commands.insert(0, f"if [ -x {installer} ]; then {installer} {role} --enable; fi")
    return commands


def _in_background(unit: str, command: str, *properties: str) -> str:
    options = " ".join(f"--property={value}" for value in properties)
    return f"systemd-run --unit={unit} {options} sh -c {shlex.quote(command)}"
