"""The SSH host keys of a new machine, read from its console, so that the first login is checked already."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from minimoto.aws.calls import aws_call, code_of
from minimoto.core.host_keys import parse_console
from minimoto.errors import InstallFailed
from minimoto.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

PAUSE_SECONDS = 5.0


def machine_host_keys(ec2: EC2Client, instance: str, key_file: Path, clock: Clock) -> tuple[str, ...]:
    """The host keys of a machine: remembered beside the private key, for a console forgets; else from its console.

    They are kept by the instance's id, because its address may be another machine's tomorrow:
    ``ssh -i KEY -o UserKnownHostsFile=KEY.known_hosts -o HostKeyAlias=INSTANCE USER@ADDRESS`` checks them too.

    Raises:
        InstallFailed: the console does not show them, or they cannot be kept.
        CloudError: EC2 refuses to show the console.
    """
    file = key_file.with_name(f"{key_file.name}.known_hosts")
    try:
        keys = _remembered(file, instance)
        if not keys:
            keys = read_host_keys(ec2, instance, clock)
            # One write: machines are installed side by side.
            lines = "".join(f"{instance} {key}\n" for key in keys)
            handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as appended:
                appended.write(lines)
    except OSError as error:
        raise InstallFailed(f"{instance}: its host keys are kept in {file}: {error.strerror}") from error
    return keys


def _remembered(file: Path, instance: str) -> tuple[str, ...]:
    if not file.exists():
        return ()
    lines = (line.split() for line in file.read_text("ascii").splitlines())
    return tuple(f"{words[1]} {words[2]}" for words in lines if len(words) >= 3 and words[0] == instance)


def read_host_keys(ec2: EC2Client, instance: str, clock: Clock, patience: float = 300.0) -> tuple[str, ...]:
    """Waits until a machine has printed its host keys.

    Parameters:
        instance: the machine's id.
        patience: seconds to wait; a first boot takes about one minute.

    Returns:
        The keys, each ``<type> <base64>``, for :class:`minimoto.ssh.Login`.

    Raises:
        InstallFailed: the time is over.
        CloudError: EC2 refuses to show the console.
    """
    give_up = clock.monotonic() + patience
    while True:
        with aws_call(f"machine {instance}: reading its console"):
            keys = parse_console(_console(ec2, instance))
        if keys:
            return keys
        if clock.monotonic() + PAUSE_SECONDS > give_up:
            raise InstallFailed(
                f"{instance}: its console has shown no SSH host keys within {patience:g} s, and without them "
                "its identity cannot be checked; is cloud-init part of the image?"
            )
        clock.sleep(PAUSE_SECONDS)


def _console(ec2: EC2Client, instance: str) -> str:
    from botocore.exceptions import ClientError

    try:
        # Without "Latest" the output is minutes old; only machines on Nitro have it.
        return ec2.get_console_output(InstanceId=instance, Latest=True).get("Output", "")
    except ClientError as error:
        if code_of(error) != "UnsupportedOperation":
            raise
        return ec2.get_console_output(InstanceId=instance).get("Output", "")
