"""moto's IAM enforcement, taught what it leaves out.

moto 5 checks the signature and matches actions and resources of policies, but asks about ``*`` instead of the resource
for most services, leaves conditions of identity policies alone, and uses its own names for some actions. Here a
request is turned into the demands that AWS would make of it (Service Authorization Reference): an action, a resource,
and the condition keys that this project's policies name. moto decides on each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import pytest
from moto.core.authorization import ActionAuthenticatorMixin, enable_iam_authentication
from moto.iam.access_control import IAMPolicyStatement, IAMRequestBase, PermissionResult

from minimoto.local.server import ACCOUNT

AS_AWS_NAMES_IT = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "s3:HeadBucket": "s3:ListBucket",
}
"""AWS authorises a batch by its single action, and looking at a bucket by listing it."""


@dataclass(frozen=True)
class Demand:
    """What must be allowed for a request to go on. An empty action is the request's own."""

    resource: str
    keys: Mapping[str, Any] = field(default_factory=dict)
    action: str = ""


asked: set[tuple[str, str]] = set()
"""The names of roles and the actions that were asked of them since enforcement was last turned on."""


@contextmanager
def enforced() -> Iterator[None]:
    """Every request of the embedded AWS is authorised while this lasts."""
    asked.clear()
    with pytest.MonkeyPatch.context() as patch, enable_iam_authentication():
        _teach(patch)
        yield


def _teach(patch: pytest.MonkeyPatch) -> None:
    from moto.autoscaling.responses import AutoScalingResponse
    from moto.cloudwatch.responses import CloudWatchResponse
    from moto.dynamodb.responses import DynamoHandler
    from moto.ec2.responses import EC2Response
    from moto.s3.responses import S3Response
    from moto.sns.responses import SNSResponse

    for handler, demands in (
        (AutoScalingResponse, _of_group),
        (CloudWatchResponse, lambda self: [Demand("*", {"cloudwatch:namespace": self._get_param("Namespace")})]),
        (DynamoHandler, lambda self: _of_table(self.region, self._get_action(), self.body)),
        (EC2Response, _of_ec2),
        (SNSResponse, lambda self: [Demand(self._get_param("TopicArn") or "*")]),
    ):
        patch.setattr(handler, "_determine_resource", demands, raising=False)
    patch.setattr(S3Response, "_authenticate_and_authorize_s3_action", _authorize_s3)
    patch.setattr(IAMRequestBase, "check_action_permitted", _check)
    patch.setattr(IAMRequestBase, "check_signature", _check_signature)
    patch.setattr(IAMPolicyStatement, "is_action_permitted", _permits)


def _check(self: Any, resource: str | list[Demand], whole: Any = IAMRequestBase.check_action_permitted) -> None:
    own = self._action.replace("monitoring:", "cloudwatch:")
    own = AS_AWS_NAMES_IT.get(own, own)
    for demand in [Demand(resource)] if isinstance(resource, str) else resource:
        self._action = demand.action or own
        _keys.current = demand.keys
        asked.add((getattr(self._access_key, "_owner_role_name", ""), self._action))
        whole(self, demand.resource)


def _check_signature(self: Any, whole: Any = IAMRequestBase.check_signature) -> None:
    # The embedded AWS cuts long polls into short ones, so what moto sees of a receive is not what was signed.
    if self._action != "sqs:ReceiveMessage":
        whole(self)


class _Keys:
    """The condition keys of the request that is being looked at; moto's service lock keeps requests apart."""

    current: Mapping[str, Any] = {}


_keys = _Keys()


def _permits(self: Any, action: str, resource: str = "*", *_: Any) -> PermissionResult:
    """A statement of the role's policy: action, resource, then every condition."""
    statement = self._statement
    if not (self._check_element_matches("Action", action) and self._check_element_matches("Resource", resource)):
        return PermissionResult.NEUTRAL
    met = all(
        _meets(operator, _keys.current.get(key), wanted)
        for operator, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    )
    return PermissionResult.PERMITTED if met and statement["Effect"] == "Allow" else PermissionResult.NEUTRAL


def _meets(operator: str, found: Any, wanted: Any) -> bool:
    patterns = [wanted] if isinstance(wanted, str) else wanted
    if operator == "ForAllValues:StringLike":
        return all(any(fnmatchcase(value, pattern) for pattern in patterns) for value in found or ())
    if operator in ("StringEquals", "Bool"):
        return found in patterns
    if operator == "NumericLessThanEquals":
        return found is not None and float(found) <= float(wanted)
    if operator == "ArnLike":
        return any(fnmatchcase(found or "", pattern) for pattern in patterns)
    raise AssertionError(f"a policy uses {operator}, which these tests do not know")


def _authorize_s3(self: Any, bucket_name: str | None = None, key_name: str | None = None) -> None:
    """A deletion of many is authorised key by key, a copy by its source too; moto asks about the bucket only."""
    whole = ActionAuthenticatorMixin._authenticate_and_authorize_s3_action
    if self.data["Action"] == "DeleteObject" and key_name is None:
        for key in re.findall(rb"<Key>(.*?)</Key>", self.body if isinstance(self.body, bytes) else self.body.encode()):
            whole(self, bucket_name, key.decode())
        return
    whole(self, bucket_name, key_name)
    source = self.headers.get("x-amz-copy-source")
    if source:
        self.data["Action"] = "GetObject"
        whole(self, *source.lstrip("/").split("/", 1))


def _of_table(region: str, action: str, body: Any) -> list[Demand]:
    asked = {body["TableName"]: body} if "TableName" in body else body.get("RequestItems", {})
    demands = []
    for table, request in asked.items():
        arn = f"arn:aws:dynamodb:{region}:{ACCOUNT}:table/{table}"
        keys = [k["pk"]["S"] for k in (*request.get("Keys", ()), request.get("Key"), request.get("Item")) if k]
        if action == "Query":
            # ":p" or ":key": the one value that the partition key is compared with.
            keys = [request["ExpressionAttributeValues"][":key" if "IndexName" in request else ":p"]["S"]]
            arn += f"/index/{request['IndexName']}" if "IndexName" in request else ""
        demands.append(Demand(arn, {"dynamodb:LeadingKeys": keys}))
    return demands or [Demand("*")]


def _of_group(self: Any) -> list[Demand]:
    """The group that a request names, or whose machine it names, with its tags."""
    from moto.autoscaling.models import autoscaling_backends

    if self._get_action().startswith("Describe"):
        return [Demand("*")]
    name, instance = self._get_param("AutoScalingGroupName"), self._get_param("InstanceId")
    groups = autoscaling_backends[ACCOUNT][self.region].autoscaling_groups
    for group in groups.values():
        if group.name == name or (name is None and group.member(instance)):
            owned = {f"aws:ResourceTag/{tag['Key']}": tag["Value"] for tag in group.tags}
            return [Demand(group.arn, {**owned, "autoscaling:MaxSize": self._get_int_param("MaxSize")})]
    return [Demand(f"arn:aws:autoscaling:{self.region}:{ACCOUNT}:autoScalingGroup:none:autoScalingGroupName/{name}")]


def _of_ec2(self: Any) -> list[Demand]:
    from moto.ec2.models import ec2_backends

    backend, arn = ec2_backends[ACCOUNT][self.region], f"arn:aws:ec2:{self.region}:{ACCOUNT}"
    if self._get_action() == "TerminateInstances":
        ids = [values[0] for name, values in self.querystring.items() if name.startswith("InstanceId.")]
        return [
            Demand(f"{arn}:instance/{id}", _tags("aws:ResourceTag", backend.describe_tags({"resource-id": [id]})))
            for id in ids
        ]
    asked = {name: values[0] for name, values in self.querystring.items()}
    if self._get_action() == "RunInstances":
        return _of_launch(backend, arn, asked)
    if self._get_action() == "CreateFleet":
        return _of_fleet(backend, arn, asked)
    return [Demand("*")]


def _of_fleet(backend: Any, arn: str, asked: Mapping[str, str]) -> list[Demand]:
    """What an instant fleet touches: by itself, and as the launch that it makes in its caller's name."""
    prefix = "LaunchTemplateConfigs.1.LaunchTemplateSpecification."
    launch = {
        name.replace(prefix, "LaunchTemplate."): value
        for name, value in asked.items()
        if name.startswith((prefix, "TagSpecification."))
    }
    running = _of_launch(backend, arn, launch)
    keys = {f"aws:RequestTag/{key}": value for key, value in _requested_tags(launch).items()}
    template = launch.get("LaunchTemplate.LaunchTemplateId", "")
    owned = _tags("aws:ResourceTag", backend.describe_tags({"resource-id": [template]}))
    kinds = ("network-interface", "volume", "subnet", "security-group", "key-pair")
    own = [
        Demand(f"{arn}:launch-template/{template}", owned),
        *(Demand(f"{arn}:{kind}/*", keys) for kind in ("fleet", "instance")),
        *(Demand(f"{arn}:{kind}/*") for kind in kinds),
        Demand(f"{arn.removesuffix(ACCOUNT)}:image/*"),
        Demand(f"{arn}:fleet/*", {"ec2:CreateAction": "CreateFleet", **keys}, "ec2:CreateTags"),
    ]
    return [*own, *(Demand(d.resource, d.keys, d.action or "ec2:RunInstances") for d in running)]


def _of_launch(backend: Any, arn: str, asked: Mapping[str, str]) -> list[Demand]:
    """Every resource that a launch touches, its tags, and the role that it hands on."""
    template, data = None, {}
    if "LaunchTemplate.LaunchTemplateId" in asked:
        template = backend.get_launch_template(asked["LaunchTemplate.LaunchTemplateId"])
        data = template.default_version().data
    keys = {"ec2:LaunchTemplate": f"{arn}:launch-template/{template.id}"} if template else {}
    tags = _requested_tags(asked)
    request_tags = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    fixed = {**keys, "ec2:IsLaunchTemplateResource": str("ImageId" not in asked).lower()}
    tokens = data.get("MetadataOptions", {}).get("HttpTokens", "optional")
    profile = asked.get("IamInstanceProfile.Name") or data.get("IamInstanceProfile", {}).get("Name")
    demands = [
        Demand(f"{arn}:instance/*", {**keys, **request_tags, "ec2:MetadataHttpTokens": tokens}),
        *(Demand(f"{arn}:{kind}/*", keys) for kind in ("network-interface", "volume", "subnet")),
        Demand(f"{arn.removesuffix(ACCOUNT)}:image/{asked.get('ImageId', data.get('ImageId'))}", fixed),
        Demand(f"{arn}:security-group/*", {**keys, "ec2:IsLaunchTemplateResource": "true"}),
    ]
    if template:
        owned = _tags("aws:ResourceTag", backend.describe_tags({"resource-id": [template.id]}))
        demands.append(Demand(keys["ec2:LaunchTemplate"], {**keys, **owned}))
    if tags:
        created = {"ec2:CreateAction": "RunInstances", **request_tags}
        demands.append(Demand(f"{arn}:instance/*", created, "ec2:CreateTags"))
    if profile:
        passed = {"iam:PassedToService": "ec2.amazonaws.com"}
        demands.append(Demand(f"arn:aws:iam::{ACCOUNT}:role/{profile}", passed, "iam:PassRole"))
    return demands


def _requested_tags(asked: Mapping[str, str]) -> dict[str, str]:
    """The tags of the new instances."""
    of_instance = {
        name.split(".")[1]
        for name, value in asked.items()
        if name.startswith("TagSpecification.") and name.endswith(".ResourceType") and value == "instance"
    }
    return {
        value: asked[f"{name.removesuffix('.Key')}.Value"]
        for name, value in asked.items()
        if name.startswith("TagSpecification.") and name.endswith(".Key") and name.split(".")[1] in of_instance
    }


def _tags(key: str, tags: list[dict[str, str]]) -> dict[str, str]:
    return {f"{key}/{tag['key']}": tag["value"] for tag in tags}
