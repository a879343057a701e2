"""What each role of a deployment may do, as IAM policy documents: the least that its job needs.

Roles are carried by machines through instance profiles, so no access key is ever written anywhere. Client, service and
watchdog all move jobs on (:mod:`minimoto.dispatch`): each may send to the queue, write the table, remove a job's
intermediate files and announce its end. What only one of them does, only it may do.

Source of actions, resource types and condition keys: AWS Service Authorization Reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from minimoto.config import Config
from minimoto.errors import ConfigError

Role = Literal["client", "watchdog", "service"]
ROLES: tuple[Role, ...] = ("client", "watchdog", "service")

DEPLOYMENT_TAG = "minimoto:deployment"
ROLE_TAG = "minimoto:role"
NAMESPACE = "DeepStyleQueue"

LAUNCHING = ["CreateFleet", "RunInstances"]
"""The calls by which machines come with their tags."""

Document = dict[str, Any]

HOOK = "drain"
"""The lifecycle hook that has the Auto Scaling group wait for a machine's last task."""


def group_name(config: Config) -> str:
    """Name of the Auto Scaling group, which services and watchdog know without being told."""
    return f"{config.name}-service"


def role_name(role: str, config: Config) -> str:
    """Name of the IAM role and of its instance profile; IAM is global, so the region is part of it."""
    return f"{config.name}-{config.region}-{role}"


def trust_policy(partition: str = "aws") -> Document:
    """Who may take a role on: EC2, for its machines.

    Parameters:
        partition: ``aws``, ``aws-cn`` or ``aws-us-gov``.
    """
    statement = {"Effect": "Allow", "Principal": {"Service": _ec2_service(partition)}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _ec2_service(partition: str) -> str:
    return "ec2.amazonaws.com.cn" if partition == "aws-cn" else "ec2.amazonaws.com"


def role_policy(role: str, config: Config, account: str, partition: str = "aws") -> Document:
    """The policy of one role.

    Parameters:
        config: settings that name the deployment's queue, dead-letter queue, buckets, table and topic.
        account: the account's number, twelve digits.
        partition: ``aws``, ``aws-cn`` or ``aws-us-gov``.

    Raises:
        ConfigError: a resource that the policy must name is not known yet.
        ValueError: there is no such role.
    """
    names = _Names(config, account, partition)
    if role == "client":
        statements = _client(names)
    elif role == "service":
        statements = _service(names)
    elif role == "watchdog":
        statements = _watchdog(names)
    else:
        raise ValueError(f"no role {role!r}; there are: {', '.join(ROLES)}")
    return {"Version": "2012-10-17", "Statement": statements}


class _Names:
    """The ARNs of one deployment."""

    def __init__(self, config: Config, account: str, partition: str) -> None:
        self.config, self.account, self.partition = config, account, partition
        more = config.more_buckets
        self.queue = self._in_region("sqs", _last("queue_url", config.queue_url))
        self.dead_letters = self._in_region("sqs", _last("dead_letter_url", config.dead_letter_url))
        self.inputs = [self._bucket(name) for name in (_known("bucket_input", config.bucket_input), *more)]
        self.outputs = [self._bucket(name) for name in (_known("bucket_output", config.bucket_output), *more)]
        self.table = self._in_region("dynamodb", f"table/{_known('table', config.table)}")
        self.topic = _known("topic_arn", config.topic_arn)
        self.group = self._in_region("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{group_name(config)}")
        self.service_role = f"arn:{partition}:iam::{account}:role/{role_name('service', config)}"

    def ec2(self, kind: str, name: str = "*", *, public: bool = False) -> str:
        """ARN of an EC2 resource; images and the like of others have no account in it."""
        account = "" if public else self.account
        return f"arn:{self.partition}:ec2:{self.config.region}:{account}:{kind}/{name}"

    def _in_region(self, service: str, name: str) -> str:
        return f"arn:{self.partition}:{service}:{self.config.region}:{self.account}:{name}"

    def _bucket(self, name: str) -> str:
        return f"arn:{self.partition}:s3:::{name}"


def _known(option: str, value: str) -> str:
    if not value:
        raise ConfigError(f"a role's policy needs {option}, which is not set: make that resource first")
    return value


def _last(option: str, url: str) -> str:
    return _known(option, url).rstrip("/").rsplit("/", 1)[-1]


def _allow(
    name: str, actions: Sequence[str], resources: str | Sequence[str], condition: Document | None = None
) -> Document:
    statement: Document = {
        "Sid": name,
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": resources if isinstance(resources, str) else list(dict.fromkeys(resources)),
    }
    return statement | ({"Condition": condition} if condition else {})


def _below(buckets: Sequence[str], pattern: str = "*") -> list[str]:
    return [f"{bucket}/{pattern}" for bucket in buckets]


def _moving_jobs(names: _Names) -> list[Document]:
    """What every role needs to apply an event to a job (:class:`minimoto.dispatch.Dispatcher`)."""
    return [
        _allow("SendTasks", ["sqs:SendMessage"], names.queue),
        _allow("Announce", ["sns:Publish"], names.topic),
        _allow("RemoveWork", ["s3:DeleteObject"], _below(names.inputs, "*/work/*")),
        _allow("List", ["s3:ListBucket"], [*names.inputs, *names.outputs]),
    ]


def _items(names: _Names, actions: Sequence[str], partitions: Sequence[str]) -> Document:
    """Items of the table (:mod:`minimoto.aws.table`), by their partition key or by that of an index."""
    return _allow(
        "Items",
        [f"dynamodb:{action}" for action in ("GetItem", "PutItem", "Query", *actions)],
        [names.table, f"{names.table}/index/*"],
        {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(partitions)}},
    )


def _reading(names: _Names, partitions: Sequence[str]) -> Document:
    keys = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(partitions)}}
    return _allow("ReadItems", ["dynamodb:GetItem"], names.table, keys)


def _client(names: _Names) -> list[Document]:
    return [
        *_moving_jobs(names),
        # LIVE (and ENDED, for the watchdog) and JOB are the keys of the two indexes.
        _items(names, ("BatchGetItem",), ("JOB#*", "LIVE", "JOB")),
        # What the watchdog saw last, for a quote.
        _reading(names, ("LEDGER",)),
        _allow("Upload", ["s3:PutObject", "s3:AbortMultipartUpload"], _below(names.inputs, "*/in/*")),
        _allow("Read", ["s3:GetObject"], [*_below(names.inputs), *_below(names.outputs)]),
    ]


def _service(names: _Names) -> list[Document]:
    return [
        *_moving_jobs(names),
        _items(names, ("UpdateItem",), ("JOB#*", "NODE", "DRAIN")),
        _allow("Work", ["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage"], names.queue),
        _allow("Bury", ["sqs:SendMessage"], names.dead_letters),
        _allow("Read", ["s3:GetObject"], [*_below(names.inputs), *_below(names.outputs)]),
        # Below in/ too: a request for a folder becomes a job with copies of its photos.
        _allow(
            "Write",
            ["s3:PutObject", "s3:AbortMultipartUpload"],
            [*_below(names.inputs, "*/in/*"), *_below(names.inputs, "*/work/*")],
        ),
        _allow("Deliver", ["s3:PutObject", "s3:AbortMultipartUpload"], _below(names.outputs)),
        *([_being_of_the_group(names)] if names.config.grouped else ()),
    ]


def _watchdog(names: _Names) -> list[Document]:
    return [
        *_moving_jobs(names),
        _items(
            names,
            ("BatchGetItem", "DeleteItem"),
            ("JOB#*", "LIVE", "ENDED", "JOB", "NODE", "DRAIN", "LEDGER", "DECISIONS"),
        ),
        _allow("Count", ["sqs:GetQueueAttributes"], names.queue),
        _allow("DeadLetters", ["sqs:ReceiveMessage", "sqs:DeleteMessage"], names.dead_letters),
        *_seeing_the_fleet(names),
        *(_bounding_the_group(names) if names.config.grouped else _launching(names)),
        _allow("Terminate", ["ec2:TerminateInstances"], names.ec2("instance"), {"StringEquals": _tagged(names)}),
    ]


def _being_of_the_group(names: _Names) -> Document:
    """What a machine tells its own group: that it is busy, that it needs more time, that it may go."""
    told = ("SetInstanceProtection", "RecordLifecycleActionHeartbeat", "CompleteLifecycleAction")
    return _allow("TellGroup", [f"autoscaling:{action}" for action in told], names.group, _our_group(names))


def _bounding_the_group(names: _Names) -> list[Document]:
    """The group launches machines by its own right; the watchdog can make it neither larger than it may be nor another.

    A new launch template would need ``ec2:RunInstances``, which the watchdog of a group does not have.
    """
    # What leaves the group without a smaller size is replaced: not for a watchdog that has nothing to keep.
    keeps = ["DetachInstances"] if names.config.keep_failed else []
    ends = ("TerminateInstanceInAutoScalingGroup", "CompleteLifecycleAction", *keeps)
    most = {"NumericLessThanEquals": {"autoscaling:MaxSize": str(names.config.max_nodes)}}
    return [
        _allow("ReplaceNodes", [f"autoscaling:{action}" for action in ends], names.group, _our_group(names)),
        _allow("BoundGroup", ["autoscaling:UpdateAutoScalingGroup"], names.group, _our_group(names) | most),
    ]


def _our_group(names: _Names) -> Document:
    return {"StringEquals": _tagged(names)}


def _seeing_the_fleet(names: _Names) -> list[Document]:
    """Calls that know no narrower resource than ``*``; publishing is held to one namespace."""
    seen = ["ec2:DescribeInstances", "ec2:DescribeInstanceStatus", "cloudwatch:GetMetricData"]
    if names.config.grouped:
        seen += ["autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeScalingActivities"]
    else:
        seen += ["ec2:DescribeLaunchTemplates", "ec2:DescribeSubnets"]
        seen += ["ec2:DescribeSpotPriceHistory"] if names.config.market == "spot" else []
    return [
        _allow("See", seen, "*"),
        _allow("Publish", ["cloudwatch:PutMetricData"], "*", {"StringEquals": {"cloudwatch:namespace": NAMESPACE}}),
    ]


def _launching(names: _Names) -> list[Document]:
    """Service machines from the deployment's launch template only: image, group and key cannot be swapped for others.

    Every resource of a ``CreateFleet`` or ``RunInstances`` call is authorised by itself, hence one statement for each
    kind of condition. The condition keys of the former are those of Karpenter's policy, which is known to work.
    """
    run, create = ["ec2:RunInstances"], ["ec2:CreateTags"]
    template = names.ec2("launch-template", names.config.launch_template or "*")
    from_template = {"ArnLike": {"ec2:LaunchTemplate": template}}
    new_tags = _tagged(names, "aws:RequestTag")
    parts = [names.ec2(kind) for kind in ("network-interface", "volume", "subnet", "spot-instances-request")]
    fixed = [names.ec2("image", public=True), names.ec2("security-group"), names.ec2("key-pair")]
    tagged = [names.ec2(kind) for kind in ("instance", "volume", "network-interface", "fleet")]
    fleet = ["ec2:CreateFleet"]
    ours = {f"aws:ResourceTag/{DEPLOYMENT_TAG}": names.config.name}
    metadata = {"ec2:MetadataHttpTokens": "required"}
    return [
        _allow("RunTemplate", run, template, {"StringEquals": ours}),
        _allow("RunInstance", run, names.ec2("instance"), {**from_template, "StringEquals": {**new_tags, **metadata}}),
        _allow("RunParts", run, parts, from_template),
        _allow("RunFixed", run, fixed, {**from_template, "Bool": {"ec2:IsLaunchTemplateResource": "true"}}),
        # An instant fleet runs instances in its caller's name: it is bound by what stands above as well.
        _allow("FleetTemplate", fleet, template, {"StringEquals": ours}),
        _allow("FleetNew", fleet, [names.ec2("fleet"), names.ec2("instance")], {"StringEquals": new_tags}),
        _allow("FleetParts", fleet, [*parts, *fixed]),
        _allow("TagNew", create, tagged, {"StringEquals": {"ec2:CreateAction": LAUNCHING, **new_tags}}),
        _allow(
            "PassServiceRole",
            ["iam:PassRole"],
            names.service_role,
            {"StringEquals": {"iam:PassedToService": _ec2_service(names.partition)}},
        ),
        *([_first_spot(names)] if names.config.market == "spot" else ()),
    ]


def _first_spot(names: _Names) -> Document:
    """EC2's own role for spot machines, which EC2 makes at an account's first one if the caller may have it made."""
    service = "spot.amazonaws.com"
    role = f"arn:{names.partition}:iam::{names.account}:role/aws-service-role/{service}/AWSServiceRoleForEC2Spot"
    return _allow("FirstSpot", ["iam:CreateServiceLinkedRole"], role, {"StringEquals": {"iam:AWSServiceName": service}})


def _tagged(names: _Names, key: str = "aws:ResourceTag") -> dict[str, str]:
    """The tags of a service machine of this deployment."""
    return {f"{key}/{DEPLOYMENT_TAG}": names.config.name, f"{key}/{ROLE_TAG}": "service"}
