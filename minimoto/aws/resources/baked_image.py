"""The baked image: the first service machine after its installation, with the models in it."""

from __future__ import annotations

from dataclasses import replace

from botocore.exceptions import ClientError

from minimoto import __version__
from minimoto.aws.calls import code_of
from minimoto.aws.resources.context import Context, tag_dict
from minimoto.aws.resources.resource import Found, Resource, Setting
from minimoto.config import Config

VERSION_TAG = "minimoto:version"
MODELS_TAG = "minimoto:models"
"""The published models in an image; an image without any has no such tag."""
COMING = ("pending", "available")


class BakedImage(Resource):
    """An AMI and its snapshots, encrypted as the disk of the machine is."""

    key = role = "image"
    kind = "image"

    def find_all(self, ctx: Context) -> list[Found]:
        ec2 = ctx.client("ec2")
        images = self._images(ctx)
        # Snapshots outlive their image: those of one that is half removed are found by their own tags.
        pages = ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=ctx.tag_filters(self.role))
        used = {snapshot for image in images for snapshot in image.details["snapshots"]}
        orphans = [s for page in pages for s in page["Snapshots"] if s["SnapshotId"] not in used]
        return images + [
            Found(s["SnapshotId"], s["SnapshotId"], tag_dict(s.get("Tags")), {"snapshots": [s["SnapshotId"]]})
            for s in orphans
        ]

    def find(self, ctx: Context) -> Found | None:
        return next((image for image in self._images(ctx) if image.details["State"] in COMING), None)

    def make(self, ctx: Context) -> Found:
        ec2, name = ctx.client("ec2"), ctx.name(f"service-{__version__}")
        service = ctx.id("service")
        ctx.wait("ec2", "instance_running", f"machine {service}", InstanceIds=[service])
        carried = _models(ctx.config)
        models = {MODELS_TAG: carried} if carried else {}
        tags = ctx.tag_list(self.role, Name=name, **{VERSION_TAG: __version__, **models})
        # moto cannot tag a snapshot while it makes an image.
        tagged = ("image",) if ctx.config.local else ("image", "snapshot")
        image = ec2.create_image(
            InstanceId=service,
            Name=name,
            Description=f"minimoto {__version__} of {ctx.config.name}",
            # A new machine is restarted, which leaves a clean disk; one that may be at work is not.
            NoReboot="service" not in ctx.made,
            TagSpecifications=[{"ResourceType": what, "Tags": tags} for what in tagged],
        )["ImageId"]
        if ctx.config.local:
            ec2.create_tags(Resources=self._snapshots_of(ctx, image), Tags=tags)
        return Found(image, name, ctx.tags(self.role), {"State": "pending"})

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        advice = f"to bake a new one: aws ec2 deregister-image --image-id {found.id}, then run setup again"
        baked = found.tags.get(MODELS_TAG, "")
        return [
            Setting("version", found.tags.get(VERSION_TAG), __version__, advice=advice),
            Setting("models", baked, _models(ctx.config, baked), advice=advice),
        ]

    def settle(self, ctx: Context, found: Found) -> None:
        if found.details.get("State") != "available":
            ctx.wait("ec2", "image_available", f"image {found.name}", ImageIds=[found.id])

    def remove(self, ctx: Context, found: Found) -> None:
        ec2 = ctx.client("ec2")
        snapshots = found.details.get("snapshots")
        if snapshots is None:
            snapshots = self._snapshots_of(ctx, found.id)
        if found.id.startswith("ami-"):
            try:
                ec2.deregister_image(ImageId=found.id)
            except ClientError as error:
                if code_of(error) not in {"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"}:
                    raise
        for snapshot in snapshots:
            self._remove_snapshot(ctx, snapshot)

    def record(self, ctx: Context, found: Found) -> Config:
        return replace(ctx.config, service_ami=found.id, image_name=found.name)

    def _images(self, ctx: Context) -> list[Found]:
        pages = (
            ctx.client("ec2")
            .get_paginator("describe_images")
            .paginate(Owners=["self"], Filters=ctx.tag_filters(self.role))
        )
        images = sorted((i for page in pages for i in page["Images"]), key=lambda i: i["CreationDate"], reverse=True)
        return [
            Found(i["ImageId"], i["Name"], tag_dict(i.get("Tags")), {**i, "snapshots": _snapshots(i)}) for i in images
        ]

    def _snapshots_of(self, ctx: Context, id: str) -> list[str]:
        return [snapshot for image in self._images(ctx) if image.id == id for snapshot in image.details["snapshots"]]

    @staticmethod
    def _remove_snapshot(ctx: Context, snapshot: str) -> None:
        def delete() -> None:
            try:
                ctx.client("ec2").delete_snapshot(SnapshotId=snapshot)
            except ClientError as error:
                if code_of(error) != "InvalidSnapshot.NotFound":
                    raise

        # It is in use for some seconds after its image is gone.
        ctx.insist(f"snapshot {snapshot}", delete, while_=lambda error: code_of(error) == "InvalidSnapshot.InUse")


def _models(config: Config, baked: str = "") -> str:
    from minimoto.baked_models import carried

    return " ".join(sorted(carried(config, baked.split())))


def _snapshots(image: object) -> list[str]:
    assert isinstance(image, dict)
    disks = [mapping.get("Ebs", {}) for mapping in image.get("BlockDeviceMappings", [])]
    return [disk["SnapshotId"] for disk in disks if disk.get("SnapshotId")]
