"""The smaller parts of setup: undoing, waiting, keys, network rules, what a machine is told."""

from __future__ import annotations

import base64
import stat
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from setup_account import Account, Installed, unique

from minimoto.aws.resources.base_image import MachineType, _parameter, machine_type
from minimoto.aws.resources.installer import LocalInstaller, SshInstaller, Target
from minimoto.aws.resources.journal import Journal
from minimoto.aws.resources.key_pair import is_own, make_key, public_half
from minimoto.aws.resources.launch_template import as_far_as
from minimoto.aws.resources.machines import Machine
from minimoto.aws.resources.resource import Setting
from minimoto.aws.resources.security_group import _permissions, _rules
from minimoto.aws.resources.software import digest, settings_of
from minimoto.aws.userdata import user_data
from minimoto.config import Config
from minimoto.errors import CloudError, InstallFailed, SetupFailed, TimedOut
from minimoto.memory import FakeClock


def test_steps_are_undone_newest_first_and_each_failure_is_told() -> None:
    undone: list[str] = []
    journal = Journal()

    def undo(name: str, error: Exception | None = None) -> Any:
        def act() -> bool:
            undone.append(name)
            if error is not None:
                raise error
            return True

        return act

    journal.note("first", undo("first"))
    journal.note("second", undo("second", ClientError({"Error": {"Code": "Busy", "Message": "wait"}}, "Delete")))
    journal.note("third", undo("third", ZeroDivisionError("bug")))
    said: list[str] = []
    failures = journal.roll_back(said.append)
    assert undone == ["third", "second", "first"]
    assert len(failures) == 2
    assert "wait (Busy)" in failures[1]
    assert "ZeroDivisionError" in failures[0]
    assert "undone   first" in said
    assert journal.roll_back(said.append) == []


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Call")


def test_a_call_is_repeated_until_its_time_is_over(account: Account, keys: Path) -> None:
    clock = FakeClock()
    ctx = account.context(account.config("x"), keys, clock=clock, poll=5.0, patience=60.0)
    tries = []

    def call() -> str:
        tries.append(clock.monotonic())
        if len(tries) < 4:
            raise refusal("Busy")
        return "done"

    busy = lambda error: error.response["Error"]["Code"] == "Busy"  # noqa: E731
    assert ctx.insist("thing", call, while_=busy) == "done"
    assert tries[3] - tries[0] == 15.0

    def never() -> None:
        raise refusal("Busy")

    with pytest.raises(TimedOut, match="thing: still refused after 60 s"):
        ctx.insist("thing", never, while_=busy)

    def other() -> None:
        raise refusal("Denied")

    with pytest.raises(ClientError, match="Denied"):
        ctx.insist("thing", other, while_=busy)


def test_a_wait_ends(account: Account, keys: Path) -> None:
    ctx = account.context(account.config("x"), keys, poll=0.001, patience=0.003)
    with pytest.raises(TimedOut, match=r"table nowhere: AWS was not ready within 0 s"):
        ctx.wait("dynamodb", "table_exists", "table nowhere", TableName="nowhere")


class Zones:
    """An EC2 whose zones are full, and which hears of the instance profile late."""

    def __init__(self, answers: list[str]) -> None:
        self.answers, self.asked = answers, []

    def run_instances(self, **request: Any) -> Any:
        self.asked.append((request["SubnetId"], request["ClientToken"]))
        answer = self.answers.pop(0)
        if answer == "profile":
            message = "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
            raise ClientError({"Error": {"Code": "InvalidParameterValue", "Message": message}}, "RunInstances")
        if answer:
            raise refusal(answer)
        return {"Instances": [{"InstanceId": "i-1"}]}


def test_a_full_zone_and_a_late_profile_are_overcome(account: Account, keys: Path) -> None:
    ec2 = Zones(["profile", "profile", "InsufficientInstanceCapacity", ""])
    ctx = account.context(account.config("x"), keys, clock=FakeClock(), poll=5.0, clients=lambda service: ec2)
    started = Machine("service")._run(ctx, {"InstanceType": "g5.xlarge"}, ["subnet-a", "subnet-b"])
    assert started["InstanceId"] == "i-1"
    assert [subnet for subnet, _ in ec2.asked] == ["subnet-a"] * 3 + ["subnet-b"]
    # The same token for the same request: a lost answer does not start a second machine.
    assert len({token for _, token in ec2.asked[:3]}) == 1


def test_no_zone_with_room_is_said(account: Account, keys: Path) -> None:
    ec2 = Zones(["InsufficientInstanceCapacity"] * 2)
    ctx = account.context(account.config("x"), keys, clock=FakeClock(), clients=lambda service: ec2)
    with pytest.raises(CloudError, match=r"no zone of us-east-1 has a g5.xlarge now: .*InsufficientInstanceCapacity"):
        Machine("service")._run(ctx, {"InstanceType": "g5.xlarge"}, ["subnet-a", "subnet-b"])


def test_a_new_key_is_private_and_openssh_can_use_it(tmp_path: Path) -> None:
    file = tmp_path / "new" / "trip-key-0a1b2c3d.pem"
    public = make_key(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    derived = subprocess.run(["ssh-keygen", "-y", "-f", str(file)], capture_output=True, text=True, check=True).stdout
    assert derived.split()[:2] == public.split()[:2]
    assert public_half(file) == public
    with pytest.raises(CloudError, match="File exists"):
        make_key(file)


@pytest.mark.parametrize("content", [b"", b"ssh-ed25519 AAAA", b"-----BEGIN OPENSSH PRIVATE KEY-----\nxx"])
def test_a_key_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(CloudError, match="not a private key"):
        public_half(file)
    with pytest.raises(CloudError, match="No such file"):
        public_half(tmp_path / "nothing")


def test_only_keys_that_setup_named_are_its_own() -> None:
    assert is_own(Path("/h/trip-key-0a1b2c3d.pem"), "trip")
    assert not is_own(Path("/h/trip-key-mine.pem"), "trip")
    assert not is_own(Path("/h/trip-2-key-0a1b2c3d.pem"), "trip")
    assert not is_own(Path("/h/id_ed25519"), "trip")


def test_rules_of_every_kind_survive_being_read_and_written() -> None:
    permissions = [
        {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
        {"IpProtocol": "udp", "FromPort": 1, "ToPort": 9, "UserIdGroupPairs": [{"GroupId": "sg-1"}]},
        {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "PrefixListIds": [{"PrefixListId": "pl-1"}]},
    ]
    rules = _rules(permissions)
    assert len(rules) == 4
    assert _rules(_permissions(rules)) == rules


def test_what_aws_adds_or_reorders_is_no_drift() -> None:
    wanted = {"A": [{"Key": "x", "Value": "1"}, {"Key": "y", "Value": "2"}], "B": {"C": True}}
    current = {"A": [{"Key": "y", "Value": "2"}, {"Key": "x", "Value": "1"}], "B": {"C": True, "D": 5}, "E": 1}
    assert as_far_as(current, wanted) == wanted
    assert as_far_as({"A": [], "B": {"C": False}}, wanted) != wanted


def test_a_difference_is_told_by_its_parts_and_no_longer_than_it_is_worth() -> None:
    seen = {"UserData": "x" * 400, "Tags": ["a"], "Threshold": 1.0, "Old": 1}
    wanted = {"UserData": "y" * 400, "Tags": ["a"], "Threshold": 2.0}
    told = "template: UserData differs, Threshold is 1.0, not 2.0, Old is 1, not missing"
    assert str(Setting("template", seen, wanted)) == told
    assert str(Setting("type", "a", "b", advice="end it")) == "type is a, not b; end it"


def test_the_digest_follows_settings_that_a_machine_needs_and_no_others() -> None:
    config = Config(name="trip", queue_url="q")
    assert digest(config, "client") == digest(replace(config, service_id="i-1", key_file="/k"), "client")
    assert digest(config, "service") == digest(replace(config, launch_template="lt-1", service_ami="ami-1"), "service")
    assert digest(config, "watchdog") != digest(replace(config, launch_template="lt-1"), "watchdog")
    assert digest(config, "service") != digest(replace(config, lease=5.0), "service")
    assert settings_of(replace(config, client_id="i-1"), "client").client_id == ""


@pytest.mark.parametrize(
    ("kind", "role", "parameter"),
    [
        (MachineType("g5.xlarge", "x86_64", True), "service", "/x86_64/base-oss-nvidia-driver-gpu"),
        (MachineType("g5g.xlarge", "arm64", True), "service", "/arm64/base-oss-nvidia-driver-gpu"),
        (MachineType("c7i.xlarge", "x86_64", False), "service", "canonical/ubuntu/server/24.04/stable/current/amd64"),
        (MachineType("t4g.small", "arm64", False), "client", "canonical/ubuntu/server/24.04/stable/current/arm64"),
    ],
)
def test_each_kind_of_machine_has_an_image_that_fits(
    account: Account, keys: Path, kind: MachineType, role: str, parameter: str
) -> None:
    assert parameter in _parameter(account.context(Config(name="x"), keys), kind, role)


def test_an_instance_type_is_looked_up(account: Account, keys: Path) -> None:
    ctx = account.context(account.config("x"), keys)
    assert machine_type(ctx, "g5.xlarge") == MachineType("g5.xlarge", "x86_64", True)
    assert machine_type(ctx, "t4g.small") == MachineType("t4g.small", "arm64", False)


def test_machines_of_this_computer_start_the_program_and_are_given_their_settings(account: Account) -> None:
    ec2 = account.client("ec2")
    machine = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    config = Config(name="trip", table="trip-jobs", min_nodes=3)
    LocalInstaller(lambda: ec2).install(Target("watchdog", machine, ""), config)
    told = ec2.describe_instance_attribute(InstanceId=machine, Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(told).decode() == user_data(config, "watchdog")
    ec2.terminate_instances(InstanceIds=[machine])


def test_a_program_that_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimoto.aws.resources.installer.COMMANDS", {"client": "no-such-command"})
    with pytest.raises(InstallFailed, match=r"client i-1: starting minimoto failed with exit status 2: .*no-such-comm"):
        LocalInstaller(SimpleNamespace).install(Target("client", "i-1", ""), Config())


def test_an_installation_without_end_is_given_up(account: Account, keys: Path) -> None:
    never = threading.Event()

    class Hanging(Installed):
        def install(self, target: Target, config: Config) -> None:
            never.wait(30)

    before = account.state()
    try:
        with pytest.raises(SetupFailed, match="program on service: the installation was not done within"):
            account.set_up(account.config(unique("hangs")), keys, installer=Hanging(), patience=0.05)
    finally:
        never.set()
    assert account.state() == before


def test_ssh_needs_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    installer = SshInstaller(SimpleNamespace, FakeClock(), lambda line: None)
    with pytest.raises(InstallFailed, match="client i-1 has no public address"):
        installer.install(Target("client", "i-1", ""), Config())
