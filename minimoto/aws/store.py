"""Buckets on S3. Transfers are s3transfer's: parts side by side, tried again, a file renamed when it is whole."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimoto.aws.calls import MAKE_AGAIN, aws_call, code_of
from minimoto.aws.clients import client
from minimoto.config import Config
from minimoto.core.job import Location
from minimoto.core.location import check_location, check_object, check_removable
from minimoto.errors import CloudError, NotFound
from minimoto.ports import StoredObject, Transferred

if TYPE_CHECKING:
    import boto3
    from boto3.s3.transfer import S3Transfer
    from mypy_boto3_s3 import S3Client

Keys = list[str]

REMOVE_BATCH = 1000
"""Objects of one ``DeleteObjects``."""

ONE_PART = 16 << 20
"""Bytes from which a file is sent in parts."""

DIGEST = "sha256"
"""The key of the digest in an object's metadata."""


class S3Store:
    """``minimoto.ports.Store`` on S3: the deployment's own buckets and no other."""

    def __init__(self, session: boto3.session.Session, config: Config) -> None:
        self._session, self._config = session, config
        self._lock = threading.Lock()
        self._shared: S3Transfer | None = None

    @cached_property
    def _s3(self) -> S3Client:
        return client(self._session, self._config, "s3")

    @property
    def _transfer(self) -> S3Transfer:
        """One for all transfers: its threads are shared by callers that upload side by side."""
        with self._lock:
            if self._shared is None:
                self._shared = self._open_transfer()
            return self._shared

    def _open_transfer(self) -> S3Transfer:
        from boto3.s3.transfer import S3Transfer, TransferConfig, create_transfer_manager

        settings = TransferConfig(
            multipart_threshold=ONE_PART, multipart_chunksize=ONE_PART, max_concurrency=16, num_download_attempts=6
        )
        return S3Transfer(manager=create_transfer_manager(self._s3, settings))

    def upload(self, path: Path, to: Location, sha256: str = "", moved: Transferred | None = None) -> None:
        """Puts a file; its digest is kept in the object's metadata, and what is sent whole is held to it by S3."""
        check_object(to, self._config.buckets)
        more: dict[str, Any] = {"Metadata": _metadata(sha256)}
        if sha256 and path.stat().st_size < ONE_PART:
            more["ChecksumSHA256"] = base64.b64encode(bytes.fromhex(sha256)).decode()
        with aws_call(f"{to}: uploading"):
            self._transfer.upload_file(str(path), to.bucket, to.key, callback=moved, extra_args=more)

    def download(self, source: Location, path: Path, moved: Transferred | None = None) -> None:
        """Gets an object into a file, which appears when it is whole."""
        check_object(source, self._config.buckets)
        with aws_call(f"{source}: downloading"):
            self._transfer.download_file(source.bucket, source.key, str(path), callback=moved)

    def copy(self, source: Location, to: Location) -> None:
        """Copies an object inside S3."""
        check_object(source, self._config.buckets)
        check_object(to, self._config.buckets)
        with aws_call(f"{source}: copying to {to}"):
            self._s3.copy_object(Bucket=to.bucket, Key=to.key, CopySource={"Bucket": source.bucket, "Key": source.key})

    def write(self, to: Location, data: bytes) -> None:
        """Puts a small object."""
        check_object(to, self._config.buckets)
        with aws_call(f"{to}: writing"):
            self._s3.put_object(Bucket=to.bucket, Key=to.key, Body=data)

    def read(self, source: Location, limit: int = 16_000_000) -> bytes:
        """Gets a small object; one larger than ``limit`` bytes is refused before its body is read."""
        check_object(source, self._config.buckets)
        with aws_call(f"{source}: reading"):
            answer = self._s3.get_object(Bucket=source.bucket, Key=source.key)
            with answer["Body"] as body:
                if answer["ContentLength"] > limit:
                    raise CloudError(
                        f"{source}: {answer['ContentLength']} bytes, where at most {limit} are expected",
                        code="EntityTooLarge",
                    )
                return body.read()

    def stat(self, location: Location) -> StoredObject | None:
        """Size, time and digest of an object, or ``None``."""
        check_object(location, self._config.buckets)
        try:
            with aws_call(f"{location}: looking"):
                head = self._s3.head_object(Bucket=location.bucket, Key=location.key)
        except NotFound:
            return None
        digest = head["Metadata"].get(DIGEST, "")
        return StoredObject(location, head["ContentLength"], head["LastModified"].timestamp(), digest)

    def list(self, prefix: Location) -> Iterable[StoredObject]:
        """Objects below a prefix, page by page."""
        check_location(prefix, self._config.buckets)
        return self._list(prefix)

    def _list(self, prefix: Location) -> Iterator[StoredObject]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key)
        with aws_call(f"{prefix}: listing"):
            for page in pages:
                for found in page.get("Contents", []):
                    location = Location(prefix.bucket, found["Key"])
                    yield StoredObject(location, found["Size"], found["LastModified"].timestamp())

    def remove(self, prefix: Location) -> int:
        """Deletes every object below a prefix, a thousand a call."""
        check_removable(prefix, self._config.buckets)
        removed = 0
        batch: Keys = []
        for found in self._list(prefix):
            batch.append(found.location.key)
            if len(batch) == REMOVE_BATCH:
                removed += self._remove(prefix, batch)
                batch = []
        return removed + (self._remove(prefix, batch) if batch else 0)

    def _remove(self, prefix: Location, keys: Keys) -> int:
        with aws_call(f"{prefix}: deleting"):
            answer = self._s3.delete_objects(
                Bucket=prefix.bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
        refused = answer.get("Errors", [])
        if refused:
            reason = f"{refused[0].get('Key')}: {refused[0].get('Message')} ({refused[0].get('Code')})"
            raise CloudError(
                f"{prefix}: {len(refused)} of {len(keys)} objects were not deleted: {reason}",
                code=refused[0].get("Code", ""),
            )
        return len(keys)

    def check(self, bucket: str) -> None:
        """One request that says whether the bucket is there and may be used."""
        check_location(Location(bucket, ""), self._config.buckets)
        with aws_call(f"bucket {bucket}"):
            try:
                self._s3.head_bucket(Bucket=bucket)
            except self._s3.exceptions.ClientError as error:
                # A HEAD has no body: AWS gives no reason but the status.
                again = f" ({MAKE_AGAIN})" if bucket not in self._config.more_buckets else ""
                reasons = {
                    "404": NotFound(f"bucket {bucket}: there is no such bucket{again}"),
                    "403": CloudError(f"bucket {bucket}: these credentials may not use it", code="AccessDenied"),
                    "301": CloudError(f"bucket {bucket}: it lies in another region than {self._config.region}"),
                }
                if code_of(error) in reasons:
                    raise reasons[code_of(error)] from error
                raise


def _metadata(sha256: str) -> dict[str, str]:
    return {DIGEST: sha256} if sha256 else {}
