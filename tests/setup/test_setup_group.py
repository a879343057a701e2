"""``policy = asg``: the group with its policies, hook and alarms is made, kept, repaired, given up and removed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from setup_account import PLAIN, Account, Call, unique

from minimoto.aws.policies import group_name
from minimoto.aws.resources import RESOURCES
from minimoto.aws.resources.cleanup import remove
from minimoto.aws.resources.context import Context
from minimoto.aws.resources.plan import plan
from minimoto.aws.resources.prices import estimate
from minimoto.aws.resources.scaling_group import OfGroup
from minimoto.aws.resources.setup import Outcome, Setup
from minimoto.errors import CloudError, SetupFailed

pytestmark = pytest.mark.usefixtures("afresh")

OF_GROUP = [resource for resource in RESOURCES if isinstance(resource, OfGroup)]


@dataclass
class Grouped:
    """A deployment whose fleet is an Auto Scaling group."""

    account: Account
    ctx: Context
    keys: Path

    @property
    def scaling(self) -> Any:
        return self.account.client("autoscaling")

    @property
    def group(self) -> Any:
        found = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group_name(self.ctx.config)])
        return next(iter(found["AutoScalingGroups"]), None)

    def again(self, **settings: Any) -> Outcome:
        self.ctx, outcome = self.account.set_up(replace(self.ctx.config, **settings), self.keys)
        return outcome

    def instances(self) -> dict[str, str]:
        tags = {"minimoto:deployment": self.ctx.config.name, "minimoto:role": "service"}
        filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
        found = self.account.client("ec2").describe_instances(Filters=filters)["Reservations"]
        return {i["InstanceId"]: i["State"]["Name"] for r in found for i in r["Instances"]}


@pytest.fixture
def grouped(account: Account, keys: Path) -> Iterator[Grouped]:
    before = account.state()
    config = account.config(unique("grouped"), policy="asg", min_nodes=2, max_nodes=4, market="on-demand")
    made = Grouped(account, account.set_up(config, keys)[0], keys)
    yield made
    removal = remove(made.ctx, RESOURCES, keep_results=False, say=lambda line: None)
    assert removal.problems == []
    assert account.state() == before


def test_the_group_starts_its_nodes_and_setup_none_but_the_one_to_bake(grouped: Grouped) -> None:
    group = grouped.group
    assert (group["MinSize"], group["MaxSize"], group["DesiredCapacity"]) == (2, 4, 2)
    assert not group["NewInstancesProtectedFromScaleIn"]
    members = {member["InstanceId"] for member in group["Instances"]}
    assert len(members) == 2
    # They are the fleet's by their tags, beside the machine that the image was baked from.
    assert set(grouped.instances()) - members == {grouped.ctx.id("service")}
    launched = [call for call in grouped.account.calls if call.operation == "RunInstances"]
    assert len(launched) == 3, "client, watchdog, and the one to bake"
    (hook,) = grouped.scaling.describe_lifecycle_hooks(AutoScalingGroupName=group["AutoScalingGroupName"])[
        "LifecycleHooks"
    ]
    assert (hook["LifecycleTransition"], hook["DefaultResult"]) == ("autoscaling:EC2_INSTANCE_TERMINATING", "CONTINUE")


def test_setup_again_finds_nothing_to_do_and_bakes_no_second_time(grouped: Grouped) -> None:
    grouped.account.client("ec2").terminate_instances(InstanceIds=[grouped.ctx.id("service")])
    outcome = grouped.again()
    assert (outcome.made, outcome.repaired, outcome.drift, outcome.removed) == ([], [], [], [])
    assert [call for call in grouped.account.calls if call.mutating] == []
    assert {p.action for p in plan(grouped.account.context(grouped.ctx.config, grouped.keys), RESOURCES)} == {"keep"}


def test_each_alarm_executes_its_policy_and_watches_what_the_watchdog_publishes(grouped: Grouped) -> None:
    cloudwatch, name = grouped.account.client("cloudwatch"), grouped.ctx.config.name
    policies = grouped.scaling.describe_policies(AutoScalingGroupName=group_name(grouped.ctx.config))["ScalingPolicies"]
    arns = {policy["PolicyName"]: policy["PolicyARN"] for policy in policies}
    assert set(arns) == {f"{name}-backlog-policy", f"{name}-wake-policy", f"{name}-rest-policy"}
    alarms = {
        key: cloudwatch.describe_alarms(AlarmNames=[grouped.ctx.get(f"{key}-alarm").name]) for key in ("wake", "rest")
    }
    for key, found in alarms.items():
        (alarm,) = found["MetricAlarms"]
        assert alarm["AlarmActions"] == [arns[f"{name}-{key}-policy"]]
        assert (alarm["Namespace"], alarm["MetricName"]) == ("DeepStyleQueue", "NumJobsReadyOrBeingProcessed")
        assert alarm["TreatMissingData"] == "missing"
    (tracking,) = [p["TargetTrackingConfiguration"] for p in policies if p["PolicyType"] == "TargetTrackingScaling"]
    assert tracking["CustomizedMetricSpecification"]["MetricName"] == "BacklogPerNode"
    assert tracking["TargetValue"] == grouped.ctx.config.target_seconds


def test_spot_and_more_types_are_a_mixed_instances_policy(grouped: Grouped) -> None:
    outcome = grouped.again(market="spot", more_types=("g6.xlarge", "g5.2xlarge"))
    assert [line for line in outcome.repaired if "Auto Scaling group" in line]
    mixed = grouped.group["MixedInstancesPolicy"]
    overrides = [each["InstanceType"] for each in mixed["LaunchTemplate"]["Overrides"]]
    assert overrides == ["g5.xlarge", "g6.xlarge", "g5.2xlarge"]
    assert mixed["InstancesDistribution"]["SpotAllocationStrategy"] == "price-capacity-optimized"
    assert mixed["InstancesDistribution"]["OnDemandBaseCapacity"] == 1
    assert not grouped.again().changed
    outcome = grouped.again(market="on-demand", more_types=())
    assert [line for line in outcome.repaired if "launch: LaunchTemplate" in line]
    assert not grouped.again().changed


Damage = Callable[[Grouped, str], Any]


def _too_large(grouped: Grouped, name: str) -> None:
    grouped.scaling.update_auto_scaling_group(AutoScalingGroupName=name, MaxSize=50)


def _hasty_hook(grouped: Grouped, name: str) -> None:
    grouped.scaling.put_lifecycle_hook(
        AutoScalingGroupName=name,
        LifecycleHookName="drain",
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        HeartbeatTimeout=30,
        DefaultResult="ABANDON",
    )


def _leap(grouped: Grouped, name: str) -> None:
    grouped.scaling.put_scaling_policy(
        AutoScalingGroupName=name,
        PolicyName=f"{grouped.ctx.config.name}-wake-policy",
        PolicyType="StepScaling",
        AdjustmentType="ChangeInCapacity",
        StepAdjustments=[{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 10}],
    )


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_too_large, "Auto Scaling group .*bounds: .*MaxSize is 50, not"),
        (_hasty_hook, "termination hook of the group .*hook: HeartbeatTimeout is .*, DefaultResult is"),
        (_leap, "policy for the first node .*policy: .*StepAdjustments"),
    ],
    ids=["bounds", "hook", "policy"],
)
def test_drift_is_said_and_repaired(grouped: Grouped, damage: Damage, said: str) -> None:
    damage(grouped, group_name(grouped.ctx.config))
    outcome = grouped.again()
    assert len(outcome.repaired) == 1
    assert re.search(said, outcome.repaired[0]), outcome.repaired
    assert not grouped.again().changed


@pytest.mark.parametrize("size", [0, 3])
def test_bounds_that_the_watchdog_holds_are_left_alone(grouped: Grouped, size: int) -> None:
    name = group_name(grouped.ctx.config)
    grouped.scaling.update_auto_scaling_group(AutoScalingGroupName=name, MinSize=size, MaxSize=size)
    assert not grouped.again().changed
    assert (grouped.group["MinSize"], grouped.group["MaxSize"]) == (size, size)


def test_another_policy_lets_the_machines_go_and_removes_the_group(grouped: Grouped) -> None:
    members = {member["InstanceId"] for member in grouped.group["Instances"]}
    busy = min(members)
    name = group_name(grouped.ctx.config)
    grouped.scaling.set_instance_protection(AutoScalingGroupName=name, InstanceIds=[busy], ProtectedFromScaleIn=True)
    foreseen = plan(grouped.account.context(replace(grouped.ctx.config, policy="target"), grouped.keys), RESOURCES)
    assert len([planned for planned in foreseen if planned.action == "remove"]) == 3
    outcome = grouped.again(policy="target")
    assert [label.split(" grouped")[0] for label in outcome.removed] == [
        "alarm for no jobs",
        "alarm for jobs without a node",
        "Auto Scaling group",
    ]
    assert grouped.group is None
    assert {id: state for id, state in grouped.instances().items() if id in members} == dict.fromkeys(
        members, "running"
    )
    assert not grouped.again().changed
    # And back: the machines are the watchdog's to end, the group starts its own.
    assert len(grouped.again(policy="asg").made) == len(OF_GROUP)
    assert members & set(grouped.instances()) == members
    assert not {member["InstanceId"] for member in grouped.group["Instances"]} & members


def test_a_group_of_that_name_which_is_not_ours_stops_setup(account: Account, keys: Path) -> None:
    config = account.config(unique("clash"), policy="asg")
    ec2, scaling, name = account.client("ec2"), account.client("autoscaling"), group_name(config)
    data = {"ImageId": "ami-0d1000000000000a1", "InstanceType": "t3.micro"}
    template = ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)["LaunchTemplate"]
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        MinSize=0,
        MaxSize=0,
        AvailabilityZones=["us-east-1a"],
        LaunchTemplate={"LaunchTemplateId": template["LaunchTemplateId"]},
    )
    before = account.state()
    with pytest.raises(SetupFailed, match=r"Auto Scaling group .*is there already, and is not this deployment's"):
        account.set_up(config, keys)
    assert account.state() == before
    scaling.delete_auto_scaling_group(AutoScalingGroupName=name)
    ec2.delete_launch_template(LaunchTemplateId=template["LaunchTemplateId"])


@pytest.mark.parametrize("how", ["refused", "lost", "interrupted"])
def test_whichever_call_for_the_group_fails_nothing_is_left(account: Account, tmp_path: Path, how: str) -> None:
    config = account.config(unique("undone"), policy="asg", min_nodes=1)
    before = account.state()
    ctx, _ = account.set_up(config, tmp_path / "keys")
    calls = list(account.calls)
    assert remove(ctx, RESOURCES, keep_results=False, say=lambda line: None).problems == []
    # Those that change nothing are refused as any other: test_setup_rollback.py.
    numbers = [number for number, call in enumerate(calls) if _is_of_group(call) and call.mutating]
    assert len(numbers) >= 4
    for number in numbers:
        ctx = account.context(config, tmp_path / f"keys-{number}")
        setup = Setup(ctx, RESOURCES, say=lambda line: None, save=lambda c: None, restore=lambda: None)
        account.calls.clear()
        with (
            account.failing(number, how),
            pytest.raises(KeyboardInterrupt if how == "interrupted" else SetupFailed) as failure,
        ):
            setup.run()
        assert "still there" not in str(failure.value)
        assert account.state() == before, f"call {number} {calls[number]} {how}"


def _is_of_group(call: Call) -> bool:
    return call.service == "autoscaling" or call.operation == "PutMetricAlarm"


def test_a_group_that_cannot_be_removed_is_said_and_the_next_run_goes_on(
    grouped: Grouped, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int, call: Call) -> None:
        if call.operation == "DeleteAutoScalingGroup":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "you may not"}}, call.operation)

    with monkeypatch.context() as patch:
        patch.setattr(grouped.account, "_before", refuse)
        with pytest.raises(CloudError, match=r"Auto Scaling group .*: you may not"):
            grouped.again(policy="target")
    assert grouped.group is not None
    assert grouped.again(policy="target").removed
    assert grouped.group is None


def test_the_plan_and_the_price_know_the_group(account: Account, keys: Path) -> None:
    config = account.config("not-there-yet", policy="asg", min_nodes=0)
    planned = plan(account.context(config, keys), RESOURCES)
    assert len(planned) == len(RESOURCES)
    assert {each.action for each in planned} == {"make"}
    assert len(plan(account.context(replace(config, policy="target"), keys), RESOURCES)) == len(PLAIN)
    items = [item.what for item in estimate(config).items]
    assert "service: 0 x g5.xlarge" in items
    assert "alarms: 7, dashboard: 1" in items
