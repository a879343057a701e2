"""Which image a new machine starts from, and where it can stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minimoto.aws.resources.context import Context
from minimoto.errors import CloudError, NotFound

UBUNTU = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{arch}/hvm/ebs-gp3/ami-id"
"""SSM public parameter of machines without a GPU.
Source: https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/"""

SMALL_DISK, SERVICE_DISK = 16, 100
"""GiB. The Deep Learning AMI alone fills half of the latter."""


@dataclass(frozen=True)
class MachineType:
    """What EC2 says about an instance type."""

    name: str
    architecture: str
    gpu: bool


@dataclass(frozen=True)
class Image:
    """An image that machines can start from. ``disk`` is in GiB."""

    id: str
    device: str
    disk: int

    def disk_mapping(self, least: int) -> list[dict[str, Any]]:
        """The root disk: encrypted, gone with its machine, large enough."""
        disk = {
            "VolumeSize": max(least, self.disk),
            "VolumeType": "gp3",
            "Encrypted": True,
            "DeleteOnTermination": True,
        }
        return [{"DeviceName": self.device, "Ebs": disk}]


def machine_type(ctx: Context, name: str) -> MachineType:
    """Looks an instance type up; raises ``ClientError`` if the region does not know it."""
    ec2 = ctx.client("ec2")
    answer = ctx.once(("type", name), lambda: ec2.describe_instance_types(InstanceTypes=[name]))["InstanceTypes"][0]
    architectures = answer["ProcessorInfo"]["SupportedArchitectures"]
    return MachineType(name, "arm64" if "arm64" in architectures else "x86_64", bool(answer.get("GpuInfo")))


def base_image(ctx: Context, kind: MachineType, role: str) -> Image:
    """The image that a machine is installed on: ``base_ami`` for the service, else what an SSM parameter names.

    Raises:
        CloudError: the parameter or the image cannot be used.
    """
    chosen = ctx.config.base_ami if role == "service" else ""
    if not chosen:
        name = _parameter(ctx, kind, role)
        chosen = ctx.once(("parameter", name), lambda: ctx.client("ssm").get_parameter(Name=name))["Parameter"]["Value"]
    return image(ctx, chosen)


def image(ctx: Context, id: str) -> Image:
    """Looks an image up; raises ``NotFound``."""
    images = ctx.once(("image", id), lambda: ctx.client("ec2").describe_images(ImageIds=[id]))["Images"]
    if not images:
        raise NotFound(f"image {id} is not in region {ctx.config.region}")
    root = images[0].get("RootDeviceName") or "/dev/sda1"
    sizes = [m["Ebs"].get("VolumeSize", 0) for m in images[0].get("BlockDeviceMappings", []) if "Ebs" in m]
    return Image(id, root, max(sizes, default=0))


def subnets(ctx: Context, kind: MachineType) -> list[str]:
    """The default subnets of zones that offer an instance type, in the zones' order; raises ``CloudError``."""
    zones = ctx.once(("zones", kind.name), lambda: _zones(ctx, kind.name))
    found = ctx.once("subnets", lambda: _default_subnets(ctx))
    usable = [subnet for zone, subnet in found if zone in zones]
    if not usable:
        raise CloudError(f"no default subnet of {ctx.config.region} is in a zone that offers {kind.name}")
    return usable


def _zones(ctx: Context, kind: str) -> set[str]:
    pages = (
        ctx.client("ec2")
        .get_paginator("describe_instance_type_offerings")
        .paginate(LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": [kind]}])
    )
    return {offer["Location"] for page in pages for offer in page["InstanceTypeOfferings"]}


def _default_subnets(ctx: Context) -> list[tuple[str, str]]:
    defaults = [{"Name": "default-for-az", "Values": ["true"]}]
    pages = ctx.client("ec2").get_paginator("describe_subnets").paginate(Filters=defaults)
    return sorted((s["AvailabilityZone"], s["SubnetId"]) for page in pages for s in page["Subnets"])


def _parameter(ctx: Context, kind: MachineType, role: str) -> str:
    # The embedded AWS has one image for all: its machines boot nothing of it.
    if ctx.config.local or (role == "service" and kind.gpu):
        return ctx.config.base_parameter.replace("/x86_64/", f"/{kind.architecture}/")
    return UBUNTU.format(arch="arm64" if kind.architecture == "arm64" else "amd64")
