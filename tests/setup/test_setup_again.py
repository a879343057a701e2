"""A second run changes nothing; what was removed by hand is made again; what drifted is repaired or reported."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from setup_account import OPERATOR, PLAIN, Account, Installed, unique

from minimoto.aws.resources import RESOURCES
from minimoto.aws.resources.baked_image import BakedImage
from minimoto.aws.resources.context import Context
from minimoto.aws.resources.machines import Machine
from minimoto.aws.resources.plan import plan
from minimoto.aws.resources.resource import Resource
from minimoto.aws.resources.roles import MachineProfile
from minimoto.aws.resources.setup import Outcome
from minimoto.errors import SetupFailed


@dataclass
class Deployed:
    """A deployment that a test may damage, as long as setup mends it."""

    account: Account
    ctx: Context
    keys: Path

    def again(self, **options: Any) -> Outcome:
        """Setup once more, with the settings that the last run left."""
        self.ctx, outcome = self.account.set_up(self.ctx.config, self.keys, **options)
        return outcome


@pytest.fixture(scope="module")
def deployed(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    keys = tmp_path_factory.mktemp("keys")
    ctx, outcome = account.set_up(account.config(unique("again")), keys)
    assert len(outcome.made) == len(PLAIN)
    return Deployed(account, ctx, keys)


def test_a_second_run_makes_no_mutating_call(deployed: Deployed) -> None:
    before, config = deployed.account.state(), deployed.ctx.config
    outcome = deployed.again()
    assert [call for call in deployed.account.calls if call.mutating] == []
    assert not outcome.changed
    assert outcome.drift == []
    assert len(outcome.kept) == len(PLAIN)
    assert deployed.ctx.config == config
    assert deployed.account.state() == before


def test_a_second_run_without_the_settings_finds_everything_by_its_tags(deployed: Deployed) -> None:
    bare = deployed.account.config(deployed.ctx.config.name, key_file=deployed.ctx.config.key_file)
    ctx, outcome = deployed.account.set_up(bare, deployed.keys)
    assert not outcome.changed
    assert ctx.config == deployed.ctx.config


def test_a_plan_changes_nothing_and_foresees_what_setup_does(deployed: Deployed, tmp_path: Path) -> None:
    account = deployed.account
    account.calls.clear()
    fresh = plan(account.context(account.config("not-there-yet"), tmp_path), RESOURCES)
    stands = plan(account.context(deployed.ctx.config, deployed.keys), RESOURCES)
    assert {planned.action for planned in fresh} == {"make"}
    assert {planned.action for planned in stands} == {"keep"}
    assert len(fresh) == len(stands) == len(PLAIN)
    assert [call for call in account.calls if call.mutating] == []


REMOVABLE = [r for r in PLAIN if not r.key.endswith(("program", "programs")) and r.key != "service"]


@pytest.mark.parametrize("resource", REMOVABLE, ids=lambda resource: resource.key)
def test_what_was_removed_by_hand_is_made_again(deployed: Deployed, resource: Resource) -> None:
    ctx = deployed.account.context(deployed.ctx.config, deployed.keys)
    ctx.found = dict(deployed.ctx.found)
    if resource.key == "security-group":
        # As in EC2, it cannot go while machines use it.
        for machine in ("service", "client", "watchdog"):
            ctx.client("ec2").terminate_instances(InstanceIds=[ctx.id(machine)])
    resource.remove(ctx, ctx.get(resource.key))
    foreseen = [p for p in plan(deployed.account.context(ctx.config, deployed.keys), RESOURCES) if p.action == "make"]
    outcome = deployed.again()
    label = resource.label(deployed.ctx.get(resource.key))
    assert label in outcome.made
    assert resource.label() in [planned.what for planned in foreseen]
    assert not deployed.again().changed
    if resource.key == "security-group":
        # As the watchdog would.
        Machine("service").make(deployed.ctx)
        deployed.again()


def test_a_node_that_was_scaled_in_is_not_made_again_while_there_is_the_image(deployed: Deployed) -> None:
    machines = Machine("service").find_all(deployed.ctx)
    for machine in machines:
        Machine("service").remove(deployed.ctx, machine)
    assert not deployed.again().changed
    assert Machine("service").find_all(deployed.ctx) == []
    BakedImage().remove(deployed.ctx, deployed.ctx.get("image"))
    outcome = deployed.again()
    assert [label.split(" ")[0] for label in outcome.made] == ["service", "program", "image"]


def test_machines_get_a_profile_that_was_made_again(deployed: Deployed) -> None:
    before = _associations(deployed)
    MachineProfile("client").remove(deployed.ctx, deployed.ctx.get("client-profile"))
    outcome = deployed.again()
    assert [line for line in outcome.repaired if "instance profile is one that is gone" in line]
    (was,), (now,) = before, _associations(deployed)
    assert was["IamInstanceProfile"]["Id"] != now["IamInstanceProfile"]["Id"]


def _associations(deployed: Deployed) -> Any:
    filters = [{"Name": "instance-id", "Values": [deployed.ctx.id("client")]}]
    answer = deployed.account.client("ec2").describe_iam_instance_profile_associations(Filters=filters)
    return answer["IamInstanceProfileAssociations"]


Damage = Callable[[Account, Context], Any]


def _open_port(account: Account, ctx: Context) -> None:
    rule = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    account.client("ec2").authorize_security_group_ingress(GroupId=ctx.id("security-group"), IpPermissions=[rule])


def _public_bucket(account: Account, ctx: Context) -> None:
    account.client("s3").delete_public_access_block(Bucket=ctx.id("output"))


def _plain_bucket(account: Account, ctx: Context) -> None:
    account.client("s3").delete_bucket_encryption(Bucket=ctx.id("input"))


def _no_redrive(account: Account, ctx: Context) -> None:
    account.client("sqs").set_queue_attributes(QueueUrl=ctx.id("tasks"), Attributes={"RedrivePolicy": ""})


def _no_expiry(account: Account, ctx: Context) -> None:
    specification = {"Enabled": False, "AttributeName": "expires"}
    account.client("dynamodb").update_time_to_live(TableName=ctx.id("table"), TimeToLiveSpecification=specification)


def _imdsv1(account: Account, ctx: Context) -> None:
    account.client("ec2").modify_instance_metadata_options(InstanceId=ctx.id("client"), HttpTokens="optional")


def _stopped(account: Account, ctx: Context) -> None:
    account.client("ec2").stop_instances(InstanceIds=[ctx.id("watchdog")])


def _all_powerful(account: Account, ctx: Context) -> None:
    everything = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
    account.client("iam").put_role_policy(
        RoleName=ctx.id("service-role"), PolicyName="minimoto", PolicyDocument=everything
    )


def _trusts_lambda(account: Account, ctx: Context) -> None:
    trust = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",'
        '"Principal":{"Service":"lambda.amazonaws.com"}}]}'
    )
    account.client("iam").update_assume_role_policy(RoleName=ctx.id("client-role"), PolicyDocument=trust)


def _empty_profile(account: Account, ctx: Context) -> None:
    account.client("iam").remove_role_from_instance_profile(
        InstanceProfileName=ctx.id("watchdog-profile"), RoleName=ctx.id("watchdog-role")
    )


def _deaf_alarm(account: Account, ctx: Context) -> None:
    alarm = ctx.get("dead-letters-alarm")
    kept = ("Namespace", "MetricName", "Dimensions", "Statistic", "Period", "EvaluationPeriods", "ComparisonOperator")
    described = account.client("cloudwatch").describe_alarms(AlarmNames=[alarm.name])["MetricAlarms"][0]
    account.client("cloudwatch").put_metric_alarm(
        AlarmName=alarm.name, Threshold=1000.0, **{key: described[key] for key in kept}
    )


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_open_port, "way in is"),
        (_public_bucket, "output bucket .*public access block is missing"),
        (_plain_bucket, "input bucket .*encryption is missing"),
        (_no_redrive, "RedrivePolicy is"),
        (_no_expiry, "time to live is missing"),
        (_imdsv1, "client machine .*metadata options"),
        (_stopped, "watchdog machine .*state is stopp"),
        (_all_powerful, "permissions of the service .*policy: Statement differs"),
        (_trusts_lambda, "client role .*trust policy: Statement differs"),
        (_empty_profile, "watchdog instance profile .*role is missing"),
        (_deaf_alarm, "alarm for dead letters .*Threshold"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_drift_is_said_and_repaired(deployed: Deployed, damage: Damage, said: str) -> None:
    damage(deployed.account, deployed.ctx)
    outcome = deployed.again()
    assert len(outcome.repaired) == 1
    assert re.search(said, outcome.repaired[0]), outcome.repaired
    assert outcome.made == []
    assert not deployed.again().changed


def test_a_change_that_cannot_be_repaired_is_reported_and_left(deployed: Deployed) -> None:
    config = replace(deployed.ctx.config, small_type="t3.medium")
    _, outcome = deployed.account.set_up(config, deployed.keys)
    assert len(outcome.drift) == 2
    assert all("type is t3.small, not t3.medium; terminate it" in line for line in outcome.drift)
    # The settings have changed, so the machines get them.
    assert deployed.again().drift == []


def test_a_private_key_that_is_elsewhere_is_reported(deployed: Deployed) -> None:
    file = Path(deployed.ctx.config.key_file)
    key = file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    file.unlink()
    try:
        outcome = deployed.again()
        assert [line for line in outcome.drift if "copy it from where setup first ran" in line]
        assert not outcome.changed
    finally:
        file.write_bytes(key)
        file.chmod(0o600)
    assert deployed.again().drift == []


def test_new_settings_reach_machines_and_launch_template(deployed: Deployed) -> None:
    installed = Installed()
    config = replace(deployed.ctx.config, target_seconds=77.0)
    deployed.ctx, outcome = deployed.account.set_up(config, deployed.keys, installer=installed)
    assert sorted(target.role for target in installed.targets) == ["client", "service", "watchdog"]
    assert [line for line in outcome.repaired if "launch template" in line and "UserData" in line]
    versions = deployed.account.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=deployed.ctx.id("launch-template")
    )["LaunchTemplateVersions"]
    assert max(v["VersionNumber"] for v in versions if v["DefaultVersion"]) == max(v["VersionNumber"] for v in versions)
    assert not deployed.again().changed


def test_deployments_live_side_by_side(deployed: Deployed, tmp_path: Path) -> None:
    """One whose name begins with another's name is still another."""
    before = deployed.account.state()
    ctx, outcome = deployed.account.set_up(deployed.account.config(f"{deployed.ctx.config.name}-2"), tmp_path)
    assert len(outcome.made) == len(PLAIN)
    assert not deployed.again().changed
    for resource in reversed(RESOURCES):
        for found in resource.find_all(ctx):
            resource.remove(ctx, found)
    assert deployed.account.state() == before
    assert not deployed.again().changed


def test_only_ssh_from_the_operator_gets_in(deployed: Deployed) -> None:
    group = deployed.account.client("ec2").describe_security_groups(GroupIds=[deployed.ctx.id("security-group")])
    (rule,) = group["SecurityGroups"][0]["IpPermissions"]
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 22, 22)
    assert [r["CidrIp"] for r in rule["IpRanges"]] == [f"{OPERATOR}/32"]


@pytest.mark.parametrize("answer", ["<html>", "", "1.2.3", "203.0.113.7/33"])
def test_an_address_that_is_none_is_refused(account: Account, keys: Path, answer: str) -> None:
    before = account.state()
    with pytest.raises(SetupFailed, match=r"security group: this address: .* is not an address"):
        account.set_up(account.config("nowhere"), keys, operator_address=lambda: answer)
    assert account.state() == before


def test_a_role_of_that_name_which_is_not_ours_stops_setup(account: Account, keys: Path) -> None:
    iam = account.client("iam")
    iam.create_role(RoleName="clash-us-east-1-client", AssumeRolePolicyDocument="{}")
    before = account.state()
    try:
        with pytest.raises(SetupFailed, match=r"client role: .*EntityAlreadyExists") as failure:
            account.set_up(account.config("clash"), keys)
        assert failure.value.code == "EntityAlreadyExists"
        assert account.state() == before
    finally:
        iam.delete_role(RoleName="clash-us-east-1-client")
