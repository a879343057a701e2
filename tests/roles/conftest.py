"""A deployment with its roles, another one beside it, and IAM enforced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from minimoto.aws.clients import client
from minimoto.aws.policies import (
    DEPLOYMENT_TAG,
    HOOK,
    ROLE_TAG,
    ROLES,
    group_name,
    role_name,
    role_policy,
    trust_policy,
)
from minimoto.aws.resources.scaling_group import HOOK_DEFINITION
from minimoto.aws.session import open_session
from minimoto.config import Config
from minimoto.local.server import ACCOUNT
from minimoto.wiring import Cloud

from .enforcement import enforced

IMAGE = "ami-12c6146b"


@dataclass(frozen=True)
class Roles:
    """A deployment, its machines by role, and clients that carry a role's credentials."""

    config: Config
    machines: dict[str, str]
    sessions: dict[str, boto3.session.Session]

    def cloud(self, role: str, **settings: Any) -> Cloud:
        """The ports of the deployment, as the machines of a role have them."""
        cloud = Cloud(replace(self.config, **settings))
        vars(cloud)["session"] = self.sessions[role]
        return cloud

    def client(self, role: str, service: Any) -> Any:
        """A plain client, for calls that minimoto itself does not make."""
        return client(self.sessions[role], self.config, service)


def make_roles(config: Config) -> Roles:
    """Puts the IAM roles and one machine of each role beside what the deployment has; nothing is enforced yet."""
    session = open_session(config)
    ec2, iam, sts = (client(session, config, name) for name in ("ec2", "iam", "sts"))

    def tagged(role: str, *kinds: str) -> Any:
        tags = [{"Key": DEPLOYMENT_TAG, "Value": config.name}, {"Key": ROLE_TAG, "Value": role}]
        return [{"ResourceType": kind, "Tags": tags} for kind in kinds]

    sessions, machines = {}, {}
    template = ec2.create_launch_template(
        LaunchTemplateName=f"{config.name}-service",
        LaunchTemplateData={
            "ImageId": IMAGE,
            "InstanceType": "g5.xlarge",
            "MetadataOptions": {"HttpTokens": "required"},
            "IamInstanceProfile": {"Name": role_name("service", config)},
        },
        TagSpecifications=tagged("service", "launch-template"),
    )
    config = replace(config, launch_template=template["LaunchTemplate"]["LaunchTemplateId"])
    for role in ROLES:
        name = role_name(role, config)
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust_policy()))["Role"]["Arn"]
        policy = json.dumps(role_policy(role, config, ACCOUNT))
        iam.put_role_policy(RoleName=name, PolicyName="minimoto", PolicyDocument=policy)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        given = sts.assume_role(RoleArn=arn, RoleSessionName=role)["Credentials"]
        sessions[role] = boto3.session.Session(
            given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=config.region
        )
        [machine] = ec2.run_instances(
            ImageId=IMAGE, MinCount=1, MaxCount=1, TagSpecifications=tagged(role, "instance")
        )["Instances"]
        machines[role] = machine["InstanceId"]
    if config.grouped:
        client(session, config, "autoscaling").create_auto_scaling_group(
            AutoScalingGroupName=group_name(config),
            MinSize=2,
            MaxSize=4,
            AvailabilityZones=["us-east-1a"],
            LaunchTemplate={"LaunchTemplateId": config.launch_template},
            Tags=[{**tag, "PropagateAtLaunch": True} for tag in tagged("service", "group")[0]["Tags"]],
        )
        client(session, config, "autoscaling").put_lifecycle_hook(
            AutoScalingGroupName=group_name(config), LifecycleHookName=HOOK, **HOOK_DEFINITION
        )
    return Roles(config, machines, sessions)


@dataclass(frozen=True)
class Neighbours:
    """Our deployment, and another one in the same account."""

    ours: Roles
    theirs: Roles


@pytest.fixture
def ours(make_deployment: Any, tmp_path: Path) -> Iterator[Roles]:
    """A deployment of its own for a test, with IAM enforced from here on."""
    made = make_roles(
        make_deployment(quiet=0.2, data_dir=str(tmp_path / "data"), min_nodes=1, market="on-demand", free_disk=0)
    )
    with enforced():
        yield made


@pytest.fixture
def grouped(make_deployment: Any, tmp_path: Path) -> Iterator[Roles]:
    """The same, whose fleet is an Auto Scaling group."""
    settings = {"quiet": 0.2, "data_dir": str(tmp_path / "data"), "min_nodes": 1, "max_nodes": 4, "free_disk": 0}
    made = make_roles(make_deployment(policy="asg", market="on-demand", cooldown=0.0, **settings))
    with enforced():
        yield made


@pytest.fixture(scope="module")
def made_grouped_neighbours(make_deployment: Any) -> Neighbours:
    """Two deployments with a group each, for a module's tests that change neither."""
    return Neighbours(make_roles(make_deployment(policy="asg")), make_roles(make_deployment(policy="asg")))


@pytest.fixture
def grouped_neighbours(made_grouped_neighbours: Neighbours) -> Iterator[Neighbours]:
    """The same, with IAM enforced."""
    with enforced():
        yield made_grouped_neighbours


@pytest.fixture(scope="module")
def made_neighbours(make_deployment: Any) -> Neighbours:
    """Two deployments for a module's tests that change neither."""
    return Neighbours(make_roles(make_deployment()), make_roles(make_deployment()))


@pytest.fixture
def neighbours(made_neighbours: Neighbours) -> Iterator[Neighbours]:
    """The same, with IAM enforced."""
    with enforced():
        yield made_neighbours
