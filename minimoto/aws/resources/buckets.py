"""The input and the output bucket: private, encrypted, TLS only, with a lifecycle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import ClientError

from minimoto.aws.calls import code_of
from minimoto.aws.resources.context import Context, tag_dict
from minimoto.aws.resources.queues import tls_only
from minimoto.aws.resources.resource import Found, Resource, Setting
from minimoto.config import Config

PRIVATE = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}
ABSENT = frozenset(
    {
        "NoSuchTagSet",
        "NoSuchBucketPolicy",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "OwnershipControlsNotFoundError",
        "ServerSideEncryptionConfigurationNotFoundError",
    }
)
"""How S3 says that a bucket has no such configuration."""

Call = Callable[..., Any]


@dataclass(frozen=True)
class Part:
    """One configuration of a bucket, and how S3 reads, writes and deletes it."""

    name: str
    wanted: Any
    read: Callable[[], Any]
    write: Callable[[Any], Any]
    delete: Callable[[], Any]

    def current(self) -> Any:
        """What S3 has, or ``None``."""
        try:
            return self.read()
        except ClientError as error:
            if code_of(error) in ABSENT:
                return None
            raise

    def put(self, value: Any) -> None:
        """Writes a value; ``None`` deletes the configuration."""
        if value is None:
            self.delete()
        else:
            self.write(value)


class Bucket(Resource):
    """An S3 bucket of the deployment; ``which`` is ``input`` or ``output``."""

    def __init__(self, which: str) -> None:
        self.key = self.role = which
        self.kind = f"{which} bucket"

    def find_all(self, ctx: Context) -> list[Found]:
        s3 = ctx.client("s3")
        found = []
        for name in self._names(ctx):
            try:
                tags = tag_dict(s3.get_bucket_tagging(Bucket=name)["TagSet"])
            except ClientError as error:
                # Untagged is not ours, and a deleted one is listed for a while.
                if code_of(error) in {"NoSuchTagSet", "NoSuchBucket"}:
                    continue
                raise
            if ctx.owns(tags, self.role):
                found.append(Found(name, name, tags))
        return found

    def find_made(self, ctx: Context) -> list[Found]:
        # By its name, which only this run can have given: a bucket may exist before it has its tags.
        return [Found(name, name) for name in self._names(ctx) if name == ctx.name(self.key)]

    def make(self, ctx: Context) -> Found:
        name = ctx.name(self.key)
        place: dict[str, Any] = {"Tags": ctx.tag_list(self.role)}
        if ctx.config.region != "us-east-1":
            # S3's first region has no name here: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
            place["LocationConstraint"] = ctx.config.region
        ctx.client("s3").create_bucket(
            Bucket=name, ObjectOwnership="BucketOwnerEnforced", CreateBucketConfiguration=place
        )
        for part in self._parts(ctx, name):
            if part.name != "ownership":
                part.put(part.wanted)
        return Found(name, name, ctx.tags(self.role))

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        return [
            Setting(part.name, part.current(), part.wanted, part.put)
            for part in self._parts(ctx, found.name)
            if part.name != "tags"
        ]

    def remove(self, ctx: Context, found: Found) -> None:
        s3 = ctx.client("s3")
        try:
            try:
                s3.delete_bucket(Bucket=found.name)
            except ClientError as error:
                if code_of(error) != "BucketNotEmpty":
                    raise
                empty(s3, found.name)
                s3.delete_bucket(Bucket=found.name)
        except ClientError as error:
            if code_of(error) != "NoSuchBucket":
                raise

    def record(self, ctx: Context, found: Found) -> Config:
        ids: dict[str, Any] = {f"bucket_{self.key}": found.name}
        return replace(ctx.config, **ids)

    def _names(self, ctx: Context) -> Iterator[str]:
        pages = (
            ctx.client("s3")
            .get_paginator("list_buckets")
            .paginate(Prefix=ctx.prefix(self.key), BucketRegion=ctx.config.region)
        )
        return (bucket["Name"] for page in pages for bucket in page.get("Buckets", []))

    def _parts(self, ctx: Context, name: str) -> list[Part]:
        s3, arn = ctx.client("s3"), f"arn:{ctx.partition}:s3:::{name}"

        def part(what: str, wanted: Any, stem: str, argument: str, unwrap: Call, wrap: Call) -> Part:
            stem, getter = (stem, stem) if stem != "bucket_lifecycle" else (stem, "bucket_lifecycle_configuration")
            return Part(
                what,
                wanted,
                lambda: unwrap(getattr(s3, f"get_{getter}")(Bucket=name)),
                lambda value: getattr(s3, f"put_{getter}")(Bucket=name, **{argument: wrap(value)}),
                lambda: getattr(s3, f"delete_{stem}")(Bucket=name),
            )

        def rules(algorithm: str) -> dict[str, Any]:
            return {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}}]}

        parts = [
            part("tags", ctx.tag_list(self.role), "bucket_tagging", "Tagging", _get("TagSet"), _as("TagSet")),
            part(
                "public access block",
                PRIVATE,
                "public_access_block",
                "PublicAccessBlockConfiguration",
                _get("PublicAccessBlockConfiguration"),
                _same,
            ),
            part("encryption", "AES256", "bucket_encryption", "ServerSideEncryptionConfiguration", _algorithm, rules),
            part(
                "ownership",
                [{"ObjectOwnership": "BucketOwnerEnforced"}],
                "bucket_ownership_controls",
                "OwnershipControls",
                lambda answer: answer["OwnershipControls"]["Rules"],
                _as("Rules"),
            ),
            part(
                "lifecycle",
                self._lifecycle(ctx.config),
                "bucket_lifecycle",
                "LifecycleConfiguration",
                _get("Rules"),
                _as("Rules"),
            ),
        ]
        if ctx.tls_only:
            policy = tls_only("s3:*", [arn, f"{arn}/*"])
            parts.append(
                part("policy", policy, "bucket_policy", "Policy", lambda a: json.loads(a["Policy"]), json.dumps)
            )
        return parts

    def _lifecycle(self, config: Config) -> list[dict[str, Any]]:
        days = config.input_days if self.key == "input" else config.output_days
        everything = {"Status": "Enabled", "Filter": {"Prefix": ""}}
        rules: list[dict[str, Any]] = [
            {"ID": "abort-uploads", **everything, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
        ]
        if days:
            rules.append({"ID": "expire", **everything, "Expiration": {"Days": days}})
        return rules


def holds_objects(s3: Any, bucket: str) -> int:
    """How many objects a bucket holds, counted up to 1000."""
    try:
        return int(s3.list_objects_v2(Bucket=bucket, MaxKeys=1000).get("KeyCount", 0))
    except ClientError as error:
        if code_of(error) == "NoSuchBucket":
            return 0
        raise


def empty(s3: Any, bucket: str) -> None:
    """Deletes every version of every object, and every unfinished upload."""
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        doomed = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
        if doomed:
            errors = s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True}).get("Errors", [])
            if errors:
                raise ClientError({"Error": errors[0]}, "DeleteObjects")


def _same(value: Any) -> Any:
    return value


def _get(key: str) -> Call:
    return lambda answer: answer[key]


def _as(key: str) -> Call:
    return lambda value: {key: value}


def _algorithm(answer: Any) -> Any:
    rule = answer["ServerSideEncryptionConfiguration"]["Rules"][0]
    return rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
