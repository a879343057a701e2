"""The policy documents themselves: nothing wider than it must be, and every condition where it belongs.

Conditions are looked up in the documents here because moto, left alone, does not weigh them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from minimoto.aws.policies import NAMESPACE, ROLES, role_name, role_policy, trust_policy
from minimoto.config import Config
from minimoto.errors import ConfigError

ACCOUNT = "123456789012"
CONFIG = Config(
    name="trip",
    queue_url=f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/trip-queue-1",
    dead_letter_url=f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/trip-dead-1",
    bucket_input="trip-in",
    bucket_output="trip-out",
    table="trip-table",
    topic_arn=f"arn:aws:sns:us-east-1:{ACCOUNT}:trip-topic",
    launch_template="lt-0123456789abcdef0",
)
GROUPED = replace(CONFIG, policy="asg", max_nodes=5)
OURS = (
    "trip-",
    "autoScalingGroup:*:autoScalingGroupName/trip-service",
    "table/trip-",
    "role/trip-",
    "role/aws-service-role/spot.amazonaws.com/",
)
ANYWHERE = {
    "ec2:DescribeInstances",
    "ec2:DescribeInstanceStatus",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeSpotPriceHistory",
    "ec2:DescribeSubnets",
    "cloudwatch:GetMetricData",
    "cloudwatch:PutMetricData",
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeScalingActivities",
}
"""Actions for which AWS knows no resource."""


def statements(role: str, config: Config = CONFIG) -> dict[str, Any]:
    return {statement["Sid"]: statement for statement in role_policy(role, config, ACCOUNT)["Statement"]}


def resources(statement: Any) -> list[str]:
    found = statement["Resource"]
    return [found] if isinstance(found, str) else found


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("config", [CONFIG, GROUPED], ids=["target", "asg"])
def test_no_statement_is_wider_than_the_deployment(config: Config, role: str) -> None:
    for statement in statements(role, config).values():
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in statement["Action"])
        for arn in resources(statement):
            if arn == "*":
                assert set(statement["Action"]) <= ANYWHERE
            elif ":ec2:" in arn:
                # Machines have no name before they are made: their tags and their template hold them in. Nothing comes
                # of CreateFleet that RunInstances does not allow as well.
                assert "Condition" in statement or statement["Action"] == ["ec2:CreateFleet"]
            else:
                assert arn.split(":", 5)[5].startswith(OURS), arn


@pytest.mark.parametrize("role", ROLES)
def test_no_role_may_touch_iam_but_to_hand_on_the_role_of_the_service(role: str) -> None:
    """And, where there may be spot machines, to have EC2 make its own role for them."""
    iam = [s for s in statements(role).values() if any(a.startswith(("iam:", "sts:")) for a in s["Action"])]
    if role != "watchdog":
        assert iam == []
        return
    passing, first_spot = iam
    assert first_spot["Action"] == ["iam:CreateServiceLinkedRole"]
    assert resources(first_spot) == [
        f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
    ]
    assert first_spot["Condition"] == {"StringEquals": {"iam:AWSServiceName": "spot.amazonaws.com"}}
    on_demand = role_policy(role, replace(CONFIG, market="on-demand"), ACCOUNT)
    assert "CreateServiceLinkedRole" not in json.dumps(on_demand)
    assert passing["Action"] == ["iam:PassRole"]
    assert resources(passing) == [f"arn:aws:iam::{ACCOUNT}:role/trip-us-east-1-service"]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


def test_only_service_machines_of_the_deployment_can_be_terminated() -> None:
    [terminating] = [s for s in statements("watchdog").values() if "ec2:TerminateInstances" in s["Action"]]
    assert terminating["Action"] == ["ec2:TerminateInstances"]
    assert terminating["Condition"] == {
        "StringEquals": {"aws:ResourceTag/minimoto:deployment": "trip", "aws:ResourceTag/minimoto:role": "service"}
    }


def test_machines_are_launched_from_the_template_only() -> None:
    template = f"arn:aws:ec2:us-east-1:{ACCOUNT}:launch-template/lt-0123456789abcdef0"
    launching = [s for s in statements("watchdog").values() if "ec2:RunInstances" in s["Action"]]
    covered: set[str] = set()
    for statement in launching:
        assert statement["Action"] == ["ec2:RunInstances"]
        kinds = {arn.split(":", 5)[5].split("/")[0] for arn in resources(statement)}
        condition = statement["Condition"]
        covered |= kinds
        if kinds == {"launch-template"}:
            assert resources(statement) == [template]
            assert condition == {"StringEquals": {"aws:ResourceTag/minimoto:deployment": "trip"}}
            continue
        assert condition["ArnLike"] == {"ec2:LaunchTemplate": template}
        if kinds & {"image", "security-group", "key-pair"}:
            assert condition["Bool"] == {"ec2:IsLaunchTemplateResource": "true"}
        if "instance" in kinds:
            assert condition["StringEquals"] == {
                "aws:RequestTag/minimoto:deployment": "trip",
                "aws:RequestTag/minimoto:role": "service",
                "ec2:MetadataHttpTokens": "required",
            }
    required = {"image", "instance", "network-interface", "security-group", "subnet", "volume"}
    assert covered == required | {"key-pair", "launch-template", "spot-instances-request"}


def test_where_a_group_launches_the_watchdog_may_not_and_each_tells_its_own_group_only() -> None:
    ours = {"aws:ResourceTag/minimoto:deployment": "trip", "aws:ResourceTag/minimoto:role": "service"}
    arn = f"arn:aws:autoscaling:us-east-1:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/trip-service"
    assert "ec2:RunInstances" not in json.dumps(statements("watchdog", GROUPED))
    assert "iam:" not in json.dumps(statements("watchdog", GROUPED))
    for role in ROLES:
        for statement in statements(role, GROUPED).values():
            if any(a.startswith("autoscaling:") and "Describe" not in a for a in statement["Action"]):
                assert resources(statement) == [arn]
                assert statement["Condition"]["StringEquals"] == ours
        assert "autoscaling" not in json.dumps(statements(role))
    assert "autoscaling" not in json.dumps(statements("client", GROUPED))
    bound = statements("watchdog", GROUPED)["BoundGroup"]
    assert bound["Action"] == ["autoscaling:UpdateAutoScalingGroup"]
    assert bound["Condition"]["NumericLessThanEquals"] == {"autoscaling:MaxSize": "5"}


def test_tags_are_written_at_launch_only() -> None:
    [tagging] = [s for s in statements("watchdog").values() if "ec2:CreateTags" in s["Action"]]
    assert tagging["Condition"]["StringEquals"]["ec2:CreateAction"] == ["CreateFleet", "RunInstances"]
    assert tagging["Condition"]["StringEquals"]["aws:RequestTag/minimoto:role"] == "service"


def test_metrics_are_published_in_one_namespace() -> None:
    [publishing] = [s for s in statements("watchdog").values() if "cloudwatch:PutMetricData" in s["Action"]]
    assert publishing["Action"] == ["cloudwatch:PutMetricData"]
    assert publishing["Condition"] == {"StringEquals": {"cloudwatch:namespace": NAMESPACE}}


@pytest.mark.parametrize(
    ("role", "partitions"),
    [
        ("client", {"JOB#*", "LIVE", "JOB"}),
        ("service", {"JOB#*", "NODE", "DRAIN"}),
        ("watchdog", {"JOB#*", "LIVE", "ENDED", "JOB", "NODE", "DRAIN", "LEDGER", "DECISIONS"}),
    ],
)
def test_each_role_has_its_part_of_the_table(role: str, partitions: set[str]) -> None:
    items = statements(role)["Items"]
    assert set(items["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]) == partitions
    # Without a key there is nothing to hold against the list.
    assert "dynamodb:Scan" not in items["Action"]


def test_the_client_only_reads_what_the_watchdog_remembers() -> None:
    [reading] = [s for s in statements("client").values() if "LEDGER" in str(s.get("Condition"))]
    assert reading["Action"] == ["dynamodb:GetItem"]


@pytest.mark.parametrize("role", ROLES)
def test_a_policy_fits_into_a_role(role: str) -> None:
    """IAM takes 10,240 characters without white space in the inline policies of a role."""
    assert len(json.dumps(role_policy(role, CONFIG, ACCOUNT), separators=(",", ":"))) < 10_240


@pytest.mark.parametrize("role", ROLES)
def test_other_partitions_have_other_names(role: str) -> None:
    text = json.dumps(role_policy(role, CONFIG, ACCOUNT, "aws-cn")).replace(CONFIG.topic_arn, "")
    assert "arn:aws:" not in text
    assert "arn:aws-cn:" in text
    assert trust_policy("aws-cn")["Statement"][0]["Principal"] == {"Service": "ec2.amazonaws.com.cn"}


def test_only_machines_may_take_a_role_on() -> None:
    assert trust_policy() == {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "option", ["queue_url", "dead_letter_url", "bucket_input", "bucket_output", "table", "topic_arn"]
)
def test_a_policy_that_would_have_to_guess_is_not_written(role: str, option: str) -> None:
    with pytest.raises(ConfigError, match=f"needs {option}, which is not set"):
        role_policy(role, replace(CONFIG, **{option: ""}), ACCOUNT)


def test_a_role_that_is_none_is_an_error_of_the_program() -> None:
    with pytest.raises(ValueError, match="no role 'butler'"):
        role_policy("butler", CONFIG, ACCOUNT)


def test_other_buckets_of_the_settings_can_be_used_too() -> None:
    policy = json.dumps(role_policy("service", replace(CONFIG, more_buckets=("holiday",)), ACCOUNT))
    assert "arn:aws:s3:::holiday/*" in policy


def test_names_of_roles_tell_regions_apart() -> None:
    assert role_name("client", CONFIG) == "trip-us-east-1-client"


def test_only_a_watchdog_that_keeps_what_failed_may_take_machines_out_of_the_group() -> None:
    def replaces(keep: bool) -> Any:
        return statements("watchdog", replace(GROUPED, keep_failed=keep))["ReplaceNodes"]["Action"]

    assert set(replaces(True)) - set(replaces(False)) == {"autoscaling:DetachInstances"}
    assert "autoscaling:DetachInstances" not in json.dumps(statements("service", replace(GROUPED, keep_failed=True)))
