"""An account of the embedded AWS, seen through its APIs; calls to it can be watched and made to fail."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError, ConnectionClosedError

from minimoto.aws.clients import client
from minimoto.aws.resources import RESOURCES
from minimoto.aws.resources.context import Context
from minimoto.aws.resources.installer import Target
from minimoto.aws.resources.scaling_group import OfGroup
from minimoto.aws.resources.setup import Outcome, Setup
from minimoto.clock import SystemClock
from minimoto.config import Config

ACCOUNT = "123456789012"
OPERATOR = "203.0.113.7"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
READING = ("Describe", "Get", "Head", "List")

PLAIN = [resource for resource in RESOURCES if not isinstance(resource, OfGroup)]
"""What a deployment has whose watchdog sizes its fleet itself."""

State = dict[str, set[str]]


ALIVE = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
# moto has a snapshot for each of Amazon's own images.
BAKED = [{"Name": "description", "Values": ["Created by CreateImage*"]}]

LISTS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "queues": ("sqs", "list_queues", "QueueUrls[]", {}),
    "tables": ("dynamodb", "list_tables", "TableNames[]", {}),
    "topics": ("sns", "list_topics", "Topics[].TopicArn", {}),
    "groups": ("ec2", "describe_security_groups", "SecurityGroups[].GroupId", {}),
    "images": ("ec2", "describe_images", "Images[].ImageId", {"Owners": ["self"]}),
    "snapshots": ("ec2", "describe_snapshots", "Snapshots[].SnapshotId", {"OwnerIds": ["self"], "Filters": BAKED}),
    "instances": ("ec2", "describe_instances", "Reservations[].Instances[].InstanceId", {"Filters": ALIVE}),
    "templates": ("ec2", "describe_launch_templates", "LaunchTemplates[].LaunchTemplateId", {}),
    "roles": ("iam", "list_roles", "Roles[].RoleName", {}),
    "profiles": ("iam", "list_instance_profiles", "InstanceProfiles[].InstanceProfileName", {}),
    "scaling groups": ("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups[].AutoScalingGroupName", {}),
    "scaling policies": ("autoscaling", "describe_policies", "ScalingPolicies[].PolicyName", {}),
    "alarms": ("cloudwatch", "describe_alarms", "MetricAlarms[].AlarmName", {}),
    "dashboards": ("cloudwatch", "list_dashboards", "DashboardEntries[].DashboardName", {}),
}
"""What an account can hold that setup makes: service, list, names in a page, filters."""


@dataclass(frozen=True)
class Call:
    """One call to AWS."""

    service: str
    operation: str

    @property
    def mutating(self) -> bool:
        return not self.operation.startswith(READING)


class Installed:
    """An installer that notes what it was asked to install."""

    def __init__(self) -> None:
        self.targets: list[Target] = []

    def install(self, target: Target, config: Config) -> None:
        self.targets.append(target)


class Account:
    """The embedded AWS as one operator sees it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: list[Call] = []
        self._before: Callable[[int, Call], None] | None = None
        self._after: Callable[[int, Call], None] | None = None
        # A session of its own: what is hooked into it concerns nobody else.
        self._session = boto3.session.Session("embedded", "embedded", region_name="us-east-1")
        self._session.events.register("before-call", self._see)
        self._session.events.register("after-call", self._seen)

    def config(self, name: str, **settings: Any) -> Config:
        return Config(name=name, endpoint_url=self.url, **settings)

    def client(self, service: str, region: str = "us-east-1") -> Any:
        return client(self._session, self.config("any", region=region), service)  # type: ignore[call-overload]

    def context(self, config: Config, keys: Path, **options: Any) -> Context:
        defaults: dict[str, Any] = {
            "clients": lambda service: self.client(service, config.region),
            "account": ACCOUNT,
            "partition": "aws",
            "clock": SystemClock(),
            "installer": Installed(),
            "operator_address": lambda: OPERATOR,
            "key_folder": keys,
            "poll": 0.001,
            "patience": 10.0,
            "tls_only": False,
        }
        return Context(config=config, **(defaults | options))

    def set_up(self, config: Config, keys: Path, **options: Any) -> tuple[Context, Outcome]:
        """One run of setup; ``calls`` are those of this run."""
        ctx = self.context(config, keys, **options)
        self.calls.clear()
        outcome = Setup(ctx, RESOURCES, say=lambda line: None, save=lambda c: None, restore=lambda: None).run()
        return ctx, outcome

    @contextmanager
    def failing(self, at: int, how: str) -> Iterator[None]:
        """Makes call number ``at`` fail: refused, answered but the answer lost, or interrupted by Ctrl-C."""

        def before(number: int, call: Call) -> None:
            if number != at:
                return
            if how == "refused":
                reason = {"Code": "AccessDenied", "Message": f"you may not {call.operation}"}
                raise ClientError({"Error": reason}, call.operation)
            if how == "interrupted" and not call.mutating:
                raise KeyboardInterrupt

        def after(number: int, call: Call) -> None:
            if number != at or not call.mutating:
                return
            if how == "lost":
                raise ConnectionClosedError(endpoint_url=self.url)
            if how == "interrupted":
                raise KeyboardInterrupt

        self._before, self._after = before, after
        try:
            yield
        finally:
            self._before = self._after = None

    def state(self, region: str = "us-east-1") -> State:
        """Everything that exists, tagged or not, read through AWS's own lists."""
        clients = {name: self.client(name, region) for name in {service for service, *_ in LISTS.values()}}
        state = {}
        for kind, (service, call, names, filters) in LISTS.items():
            # Many tests share the account: what is listed comes in pages.
            pages = clients[service].get_paginator(call).paginate(**filters)
            state[kind] = set(pages.search(names)) - {None}
        state["keys"] = {pair["KeyName"] for pair in clients["ec2"].describe_key_pairs()["KeyPairs"]}
        state["buckets"] = {bucket["Name"] for bucket in self.client("s3", region).list_buckets()["Buckets"]}
        return state

    def _see(self, model: Any, **_: Any) -> None:
        self.calls.append(Call(model.service_model.service_name, model.name))
        if self._before is not None:
            self._before(len(self.calls) - 1, self.calls[-1])

    def _seen(self, http_response: Any, **_: Any) -> None:
        if self._after is not None and http_response.status_code < 300:
            self._after(len(self.calls) - 1, self.calls[-1])


def unique(name: str) -> str:
    """A deployment's name that no other test of this process uses."""
    return f"{name}-{secrets.token_hex(3)}"


def new(before: State, after: State) -> State:
    """What exists afterwards only."""
    return {kind: after[kind] - before[kind] for kind in after if after[kind] - before[kind]}


def gone(before: State, after: State) -> State:
    """What exists no longer."""
    return new(after, before)


def make_look_alikes(account: Account, name: str) -> dict[str, Any]:
    """Resources with names like ours, and without our tags or with another deployment's."""
    ec2, s3, sqs = account.client("ec2"), account.client("s3"), account.client("sqs")
    other = {"minimoto:deployment": f"{name}-2", "minimoto:role": "tasks"}
    tags = [{"Key": key, "Value": value} for key, value in {**other, "minimoto:role": "input"}.items()]
    made = {
        "queue": sqs.create_queue(QueueName=f"{name}-tasks-0badcafe")["QueueUrl"],
        "other queue": sqs.create_queue(QueueName=f"{name}-tasks-0badcafe2", tags=other)["QueueUrl"],
        "group": ec2.create_security_group(GroupName=f"{name}-machines-0badcafe", Description="not ours")["GroupId"],
        "instance": ec2.run_instances(
            ImageId="ami-0d1000000000000a1",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": f"{name}-service"}]}],
        )["Instances"][0]["InstanceId"],
    }
    for bucket in (f"{name}-input-0badcafe", f"{name}-output-0badcafe"):
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="precious", Body=b"not ours")
    s3.put_bucket_tagging(Bucket=f"{name}-input-0badcafe", Tagging={"TagSet": tags})
    account.client("sns").create_topic(Name=f"{name}-events-0badcafe")
    account.client("dynamodb").create_table(
        TableName=f"{name}-jobs-0badcafe",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    )
    account.client("cloudwatch").put_dashboard(DashboardName=f"{name}-dashboard-0badcafe", DashboardBody="{}")
    account.client("cloudwatch").put_metric_alarm(
        AlarmName=f"{name}-no-node-alarm-0badcafe",
        Namespace="N",
        MetricName="M",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
    )
    account.client("iam").create_role(RoleName=f"{name}-us-east-1-other", AssumeRolePolicyDocument=TRUST)
    return made
