"""The machines that setup starts: the client's, the watchdog's and the first service machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from minimoto.aws.calls import code_of
from minimoto.aws.resources.baked_image import BakedImage
from minimoto.aws.resources.base_image import SERVICE_DISK, SMALL_DISK, base_image, machine_type, subnets
from minimoto.aws.resources.context import Context, tag_dict
from minimoto.aws.resources.resource import Found, Resource, Setting
from minimoto.aws.userdata import user_data
from minimoto.config import Config
from minimoto.errors import CloudError

METADATA = {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"}
"""IMDSv2 only, and only from the machine itself."""

TAKEN = frozenset({"InsufficientInstanceCapacity", "Unsupported"})
"""Refusals that another zone may not give."""

ALIVE = ("pending", "running", "stopping", "stopped")


class Machine(Resource):
    """An EC2 instance: IMDSv2 required, encrypted disk."""

    def __init__(self, machine: str) -> None:
        self.key = self.role = machine
        self.kind = f"{machine} machine"

    def wanted(self, ctx: Context) -> bool:
        return not is_spare(ctx, self.role)

    def find_all(self, ctx: Context) -> list[Found]:
        filters = [*ctx.tag_filters(self.role), {"Name": "instance-state-name", "Values": list(ALIVE)}]
        pages = ctx.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
        instances = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
        instances.sort(key=lambda i: (i["State"]["Name"] not in {"pending", "running"}, i["LaunchTime"]))
        return [Found(i["InstanceId"], i["InstanceId"], tag_dict(i.get("Tags")), i) for i in instances]

    def make(self, ctx: Context) -> Found:
        kind = machine_type(ctx, self._type(ctx.config))
        image = base_image(ctx, kind, self.role)
        tags = ctx.tag_list(self.role, Name=identity(ctx.config, self.role))
        request = {
            "ImageId": image.id,
            "InstanceType": kind.name,
            "MinCount": 1,
            "MaxCount": 1,
            "KeyName": ctx.get("key-pair").name,
            "SecurityGroupIds": [ctx.id("security-group")],
            "IamInstanceProfile": {"Name": ctx.id(f"{self.role}-profile")},
            "MetadataOptions": METADATA,
            "BlockDeviceMappings": image.disk_mapping(SERVICE_DISK if self.role == "service" else SMALL_DISK),
            "UserData": user_data(ctx.config, self.role),
            "TagSpecifications": [{"ResourceType": what, "Tags": tags} for what in ("instance", "volume")],
        }
        instance = self._run(ctx, request, subnets(ctx, kind))
        return Found(instance["InstanceId"], instance["InstanceId"], ctx.tags(self.role), instance)

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        ec2, details = ctx.client("ec2"), found.details
        options = details.get("MetadataOptions", {})

        def switch(value: Any) -> None:
            (ec2.start_instances if value == "running" else ec2.stop_instances)(InstanceIds=[found.id])

        def protect(value: Any) -> None:
            ec2.modify_instance_metadata_options(InstanceId=found.id, **value)

        state = details["State"]["Name"]
        profile = f"{self.role}-profile"
        renewed = "one that is gone" if profile in ctx.made else ctx.id(profile)
        settings = [
            Setting("state", "running" if state == "pending" else state, "running", switch),
            Setting("metadata options", {key: options.get(key) for key in METADATA}, METADATA, protect),
            Setting("instance profile", renewed, ctx.id(profile), lambda value: self._give_profile(ctx, value)),
            Setting(
                "type",
                details["InstanceType"],
                self._type(ctx.config),
                advice="terminate it, and the next run of setup (or the watchdog) starts one of the new type",
            ),
        ]
        # Its replacements are the watchdog's, which chooses among several types.
        return settings if self.role != "service" else settings[:3]

    def remove(self, ctx: Context, found: Found) -> None:
        # Whether it is gone is waited for where that matters: before the security group goes.
        try:
            ctx.client("ec2").terminate_instances(InstanceIds=[found.id])
        except ClientError as error:
            if code_of(error) != "InvalidInstanceID.NotFound":
                raise

    def record(self, ctx: Context, found: Found) -> Config:
        names: dict[str, Any] = {f"{self.role}_id": found.id, f"{self.role}_identity": identity(ctx.config, self.role)}
        return replace(ctx.config, **names)

    def _give_profile(self, ctx: Context, profile: str) -> None:
        """Gives all machines of the role a profile that was made again; one that is gone cannot be put back."""
        if profile != ctx.id(f"{self.role}-profile"):
            return
        ec2, ids = ctx.client("ec2"), [machine.id for machine in self.find_all(ctx)]
        filters = [{"Name": "instance-id", "Values": ids}, {"Name": "state", "Values": ["associated"]}]
        pages = ec2.get_paginator("describe_iam_instance_profile_associations").paginate(Filters=filters)
        held = {a["InstanceId"]: a["AssociationId"] for page in pages for a in page["IamInstanceProfileAssociations"]}
        for id in ids:
            ctx.insist(self.kind, _give(ec2, id, held.get(id), profile), while_=_profile_unknown)

    def _type(self, config: Config) -> str:
        return config.service_type if self.role == "service" else config.small_type

    def _run(self, ctx: Context, request: dict[str, Any], places: list[str]) -> Any:
        """Starts it in the first zone that has room."""
        ec2, refusal = ctx.client("ec2"), ""
        for number, subnet in enumerate(places):
            token = f"{ctx.token}-{self.role}-{number}"
            try:
                answer = ctx.insist(
                    self.kind,
                    _launch(ec2, {**request, "SubnetId": subnet, "ClientToken": token}),
                    while_=_profile_unknown,
                )
            except ClientError as error:
                if code_of(error) not in TAKEN:
                    raise
                refusal = str(error)
            else:
                return answer["Instances"][0]
        raise CloudError(f"no zone of {ctx.config.region} has a {request['InstanceType']} now: {refusal}")


def is_spare(ctx: Context, role: str) -> bool:
    """Whether setup has no use for a machine: once there is the image, the watchdog starts the nodes that are wanted.

    One that setup made again would be paid for until it is scaled in, and might be called dead while it is installed. A
    group starts its own; the one the image was baked from is none of them, and the watchdog ends it.
    """
    if role != "service" or BakedImage().find(ctx) is None:
        return False
    return ctx.config.grouped or not Machine(role).find_all(ctx)


def identity(config: Config, role: str) -> str:
    """The tag ``Name`` of the machines of a role."""
    return str(getattr(config, f"{role}_identity")) or f"{config.name}-{role}"


def _launch(ec2: Any, request: dict[str, Any]) -> Callable[[], Any]:
    return lambda: ec2.run_instances(**request)


def _give(ec2: Any, instance: str, association: str | None, profile: str) -> Callable[[], Any]:
    given = {"IamInstanceProfile": {"Name": profile}}
    if association is None:
        return lambda: ec2.associate_iam_instance_profile(InstanceId=instance, **given)
    return lambda: ec2.replace_iam_instance_profile_association(AssociationId=association, **given)


def _profile_unknown(error: ClientError) -> bool:
    """EC2 hears of a new instance profile some seconds after IAM made it."""
    text = str(error).lower()
    return code_of(error) == "InvalidParameterValue" and ("instance profile" in text or "instanceprofile" in text)
