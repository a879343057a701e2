"""Host keys out of a machine's console."""

from __future__ import annotations

import base64
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber

from minimoto.aws.host_keys import machine_host_keys, read_host_keys
from minimoto.core.host_keys import BEGIN, END, parse_console
from minimoto.errors import CloudError, InstallFailed

from .conftest import FakeClock

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINyXkPGPcxQrHnsvx3PmrVbbKSYR+PhmsIqX1b3tGZ6k"
ECDSA = (
    "ecdsa-sha2-nistp256 "
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGFxrJ8GGY3lWVsUkYTgE4V0RfSlFBcxbdoJXRjvPeO2"
    "0Yk6kS5Yc3S3Gv8yA0dJ1bT5jZ8yQdT0Zp7QmZ4l8XU="
)


def console(*keys: str, prefix: str = "") -> str:
    """As EC2 shows it: cloud-init's own lines around the block, CRLF, a kernel line in between."""
    lines = [
        "[   11.2] cloud-init[1290]: Cloud-init v. 24.1 running 'modules:final'",
        "ci-info: no authorized SSH keys fingerprints found for user ubuntu.",
        "<14>Nov 22 10:00:00 cloud-init: #############################################################",
        "<14>Nov 22 10:00:00 cloud-init: 256 SHA256:abc root@ip-172-31-0-1 (ED25519)",
        BEGIN,
        *(f"{prefix}{key} root@ip-172-31-0-1" for key in keys),
        "[   12.9] audit: type=1400 apparmor",
        END,
        "[   13.0] cloud-init[1290]: finished",
    ]
    return "\r\n".join(lines)


def test_the_keys_between_the_markers_are_read() -> None:
    assert parse_console(console(ECDSA, ED25519)) == (ECDSA, ED25519)


def test_lines_with_the_prefix_of_a_logger_are_read_too() -> None:
    assert parse_console(console(ED25519, prefix="<14>Nov 22 10:00:00 cloud-init: ")) == (ED25519,)


def test_a_key_outside_the_markers_is_not_believed() -> None:
    assert parse_console(f"{ED25519} root@ip\nhello") == ()


def test_a_block_that_has_not_ended_is_not_believed() -> None:
    assert parse_console(console(ED25519).partition(END)[0]) == ()


def test_of_two_boots_the_last_counts() -> None:
    assert parse_console(console(ECDSA) + "\n" + console(ED25519)) == (ED25519,)


@pytest.mark.parametrize(
    "broken", ["ssh-rsa " + ED25519.split()[1], "ssh-ed25519 AAAAC3Nz", "ssh-ed25519 AAAA=", "ssh-dss AAAAB3NzaC1kc3M="]
)
def test_a_damaged_key_or_one_of_no_use_is_left_out(broken: str) -> None:
    assert parse_console(console(broken, ECDSA)) == (ECDSA,)


@pytest.fixture
def ec2():
    client = boto3.client(
        "ec2",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:1",
        aws_access_key_id="embedded",
        aws_secret_access_key="embedded",
    )
    with Stubber(client) as stubber:
        client.stubber = stubber
        yield client
        stubber.assert_no_pending_responses()


def shows(text: str) -> dict[str, str]:
    """EC2's answer, whose text is in base64 on the wire (botocore takes it out of that)."""
    return {"Output": base64.b64encode(text.encode()).decode()}


LATEST = {"InstanceId": "i-1", "Latest": True}


def test_the_console_is_read_until_it_shows_them(ec2, clock: FakeClock) -> None:
    for text in ({}, shows("booting"), shows(console(ED25519))):
        ec2.stubber.add_response("get_console_output", text, LATEST)
    assert read_host_keys(ec2, "i-1", clock) == (ED25519,)
    assert clock.slept == [5.0, 5.0]


def test_a_machine_that_cannot_show_the_latest_is_asked_for_what_it_has(ec2, clock: FakeClock) -> None:
    ec2.stubber.add_client_error("get_console_output", "UnsupportedOperation", expected_params=LATEST)
    ec2.stubber.add_response("get_console_output", shows(console(ED25519)), {"InstanceId": "i-1"})
    assert read_host_keys(ec2, "i-1", clock) == (ED25519,)


def test_a_console_without_keys_is_given_up_in_one_line(ec2, clock: FakeClock) -> None:
    for _ in range(3):
        ec2.stubber.add_response("get_console_output", shows("login:"), LATEST)
    with pytest.raises(InstallFailed, match="i-1: its console has shown no SSH host keys within 12 s"):
        read_host_keys(ec2, "i-1", clock, patience=12)


def test_a_refusal_of_ec2_is_not_waited_for(ec2, clock: FakeClock) -> None:
    ec2.stubber.add_client_error("get_console_output", "UnauthorizedOperation", expected_params=LATEST)
    with pytest.raises(CloudError, match="reading its console"):
        read_host_keys(ec2, "i-1", clock)
    assert clock.slept == []


def test_keys_are_remembered_by_the_machines_id(ec2, clock: FakeClock, tmp_path: Path) -> None:
    key_file = tmp_path / "trip.pem"
    ec2.stubber.add_response("get_console_output", shows(console(ED25519, ECDSA)), LATEST)
    for _ in range(2):
        assert machine_host_keys(ec2, "i-1", key_file, clock) == (ED25519, ECDSA)
    file = tmp_path / "trip.pem.known_hosts"
    assert file.read_text() == f"i-1 {ED25519}\ni-1 {ECDSA}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    ec2.stubber.add_response("get_console_output", shows(console(ECDSA)), {"InstanceId": "i-2", "Latest": True})
    assert machine_host_keys(ec2, "i-2", key_file, clock) == (ECDSA,)


def test_keys_that_cannot_be_kept_are_one_clear_line(ec2, clock: FakeClock, tmp_path: Path) -> None:
    ec2.stubber.add_response("get_console_output", shows(console(ED25519)), LATEST)
    with pytest.raises(InstallFailed, match=r"i-1: its host keys are kept in .*/nowhere/key\.known_hosts: No such"):
        machine_host_keys(ec2, "i-1", tmp_path / "nowhere" / "key", clock)
