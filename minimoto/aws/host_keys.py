"""The SSH host keys of a new machine, read from its console, so that the first login is checked already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minimoto.aws.calls import aws_call, code_of
from minimoto.core.host_keys import parse_console
from minimoto.errors import InstallFailed
from minimoto.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

PAUSE_SECONDS = 5.0


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
