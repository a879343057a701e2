"""The launch template from which the watchdog starts service machines: nothing needs to be copied to them."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from minimoto.aws.calls import code_of
from minimoto.aws.policies import DEPLOYMENT_TAG, ROLE_TAG
from minimoto.aws.resources.base_image import SERVICE_DISK, image
from minimoto.aws.resources.context import Context, tag_dict
from minimoto.aws.resources.machines import METADATA, identity
from minimoto.aws.resources.resource import Found, Resource, Setting
from minimoto.aws.resources.software import SOFTWARE_TAG, digest, settings_of
from minimoto.aws.userdata import user_data
from minimoto.config import Config

GONE = frozenset({"InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.NotFoundException"})

DISK = {"VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}


class LaunchTemplate(Resource):
    """Baked image, instance profile, IMDSv2, encrypted disk, user data and tags; a change is a new version."""

    key = role = "launch-template"
    kind = "launch template"

    def find_all(self, ctx: Context) -> list[Found]:
        pages = (
            ctx.client("ec2").get_paginator("describe_launch_templates").paginate(Filters=ctx.tag_filters(self.role))
        )
        templates = [template for page in pages for template in page["LaunchTemplates"]]
        return [Found(t["LaunchTemplateId"], t["LaunchTemplateName"], tag_dict(t.get("Tags")), t) for t in templates]

    def make(self, ctx: Context) -> Found:
        name = ctx.name("service")
        template = ctx.client("ec2").create_launch_template(
            LaunchTemplateName=name,
            LaunchTemplateData=self._wanted(ctx),
            TagSpecifications=[{"ResourceType": "launch-template", "Tags": ctx.tag_list(self.role)}],
        )["LaunchTemplate"]
        return Found(template["LaunchTemplateId"], name, ctx.tags(self.role))

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        ec2 = ctx.client("ec2")
        version = ec2.describe_launch_template_versions(LaunchTemplateId=found.id, Versions=["$Default"])
        current = version["LaunchTemplateVersions"][0]
        wanted = self._wanted(ctx)
        data = dict(current["LaunchTemplateData"])
        # moto keeps the template's own tags here too.
        data["TagSpecifications"] = [t for t in data.get("TagSpecifications", []) if t["ResourceType"] != self.role]
        seen = {key: as_far_as(data.get(key), value) for key, value in wanted.items()}

        newest, default = found.details["LatestVersionNumber"], current["VersionNumber"]

        def write(value: Any) -> None:
            if value == wanted:
                made = ec2.create_launch_template_version(LaunchTemplateId=found.id, LaunchTemplateData=wanted)
                version = made["LaunchTemplateVersion"]["VersionNumber"]
                ec2.modify_launch_template(LaunchTemplateId=found.id, DefaultVersion=str(version))
                return
            # Undone: what stood before is the default again, and what was added goes.
            ec2.modify_launch_template(LaunchTemplateId=found.id, DefaultVersion=str(default))
            if ctx.config.local:
                # moto cannot delete a version.
                return
            pages = ec2.get_paginator("describe_launch_template_versions").paginate(LaunchTemplateId=found.id)
            numbers = [v["VersionNumber"] for page in pages for v in page["LaunchTemplateVersions"]]
            added = [str(number) for number in numbers if number > newest]
            if added:
                ec2.delete_launch_template_versions(LaunchTemplateId=found.id, Versions=added)

        return [Setting("template", seen, wanted, write)]

    def remove(self, ctx: Context, found: Found) -> None:
        try:
            ctx.client("ec2").delete_launch_template(LaunchTemplateId=found.id)
        except ClientError as error:
            if code_of(error) not in GONE:
                raise

    def record(self, ctx: Context, found: Found) -> Config:
        return replace(ctx.config, launch_template=found.id)

    @staticmethod
    def _wanted(ctx: Context) -> dict[str, Any]:
        config = ctx.config
        # Without the run's mark: machines started later are not this run's.
        tags = {DEPLOYMENT_TAG: config.name, ROLE_TAG: "service", "Name": identity(config, "service")}
        tags[SOFTWARE_TAG] = digest(config, "service")
        tag_list = [{"Key": key, "Value": value} for key, value in tags.items()]
        return {
            "ImageId": ctx.id("image"),
            "InstanceType": config.service_type,
            "KeyName": ctx.get("key-pair").name,
            "SecurityGroupIds": [ctx.id("security-group")],
            "IamInstanceProfile": {"Name": ctx.id("service-profile")},
            "MetadataOptions": METADATA,
            "BlockDeviceMappings": [{"DeviceName": _root_device(ctx), "Ebs": {**DISK, "VolumeSize": _disk(ctx)}}],
            "UserData": base64.b64encode(user_data(settings_of(config, "service")).encode()).decode(),
            "TagSpecifications": [
                {"ResourceType": what, "Tags": tag_list} for what in ("instance", "volume", "network-interface")
            ],
        }


def _disk(ctx: Context) -> int:
    """GiB: as large as the disk of the machine that was baked."""
    return max(SERVICE_DISK, image(ctx, ctx.config.base_ami).disk if ctx.config.base_ami else 0)


def _root_device(ctx: Context) -> str:
    """The baked image's root disk is that of the machine it was made from."""
    for found in (ctx.found.get("service"), ctx.get("image")):
        if found and found.details.get("RootDeviceName"):
            return str(found.details["RootDeviceName"])
    return "/dev/sda1"


def as_far_as(current: Any, wanted: Any) -> Any:
    """What AWS has, without what it adds of its own accord to what was asked for."""
    if isinstance(current, dict) and isinstance(wanted, dict):
        return {key: as_far_as(current.get(key), value) for key, value in wanted.items()}
    if isinstance(current, list) and isinstance(wanted, list) and len(current) == len(wanted):
        order = [_place(value) for value in wanted]
        current = sorted(current, key=lambda value: order.index(_place(value)) if _place(value) in order else -1)
        return [as_far_as(have, want) for have, want in zip(current, wanted, strict=True)]
    return current


def _place(value: Any) -> str:
    """By what an element of a list is known: AWS keeps no order."""
    return str(value.get("Key") or value.get("ResourceType") or "") if isinstance(value, dict) else str(value)
