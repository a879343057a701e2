"""Pages of objects, refusals, and transfers that break."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from minimoto.aws.clients import client
from minimoto.aws.store import S3Store
from minimoto.config import Config
from minimoto.core.job import Location
from minimoto.errors import CloudError, NotFound

WHEN = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(session: boto3.session.Session, deployment: Config) -> S3Store:
    return S3Store(session, deployment)


@pytest.fixture
def s3(session: boto3.session.Session, deployment: Config) -> Any:
    return client(session, deployment, "s3")


@pytest.fixture
def below(deployment: Config) -> Location:
    return Location(deployment.bucket_input, "trip/")


def test_every_page_is_listed_and_removed(
    store: S3Store, s3: Any, below: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two_a_page(params: dict[str, Any], **_: Any) -> None:
        params["MaxKeys"] = 2

    monkeypatch.setattr("minimoto.aws.store.REMOVE_BATCH", 3)
    for number in range(7):
        store.write(below / f"{number}", b"x")
    s3.meta.events.register("provide-client-params.s3.ListObjectsV2", two_a_page)
    try:
        assert [found.location.key for found in store.list(below)] == [f"trip/{number}" for number in range(7)]
        assert store.remove(below) == 7
    finally:
        s3.meta.events.unregister("provide-client-params.s3.ListObjectsV2", two_a_page)
    assert list(store.list(below)) == []


def test_objects_that_are_not_deleted_are_an_error(store: S3Store, s3: Any, below: Location) -> None:
    with Stubber(s3) as stub:
        contents = [{"Key": f"trip/{name}", "Size": 1, "LastModified": WHEN} for name in "ab"]
        stub.add_response("list_objects_v2", {"Contents": contents})
        stub.add_response(
            "delete_objects", {"Errors": [{"Key": "trip/b", "Code": "AccessDenied", "Message": "Access Denied"}]}
        )
        with pytest.raises(CloudError, match=r"1 of 2 objects were not deleted: trip/b: Access Denied") as caught:
            store.remove(below)
    assert caught.value.code == "AccessDenied"


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        ("404", NotFound, "there is no such bucket"),
        ("403", CloudError, "may not use it"),
        ("301", CloudError, "another region than us-east-1"),
        ("500", CloudError, "Oops"),
    ],
)
def test_why_a_bucket_cannot_be_used(
    store: S3Store, s3: Any, deployment: Config, status: str, kind: type[Exception], words: str
) -> None:
    with Stubber(s3) as stub:
        stub.add_client_error("head_bucket", status, "Oops", int(status))
        with pytest.raises(kind, match=rf"^bucket {deployment.bucket_input}.*{words}"):
            store.check(deployment.bucket_input)


def test_a_bucket_of_others_is_refused_without_a_request(store: S3Store, s3: Any) -> None:
    with Stubber(s3):
        # A request would fail: the stub expects none.
        with pytest.raises(CloudError, match="not one of this deployment"):
            store.read(Location("another", "a"))
        with pytest.raises(CloudError, match="not one of this deployment"):
            store.check("another")


def test_an_upload_that_is_refused_names_the_object_and_the_reason(
    store: S3Store, s3: Any, below: Location, tmp_path: Path
) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}, "PutObject")

    (tmp_path / "a").write_bytes(b"a")
    s3.meta.events.register("before-call.s3.PutObject", refuse)
    try:
        with pytest.raises(CloudError, match=r"trip/a: uploading: Access Denied \(AccessDenied\)$"):
            store.upload(tmp_path / "a", below / "a")
    finally:
        s3.meta.events.unregister("before-call.s3.PutObject", refuse)


def test_a_download_that_breaks_leaves_nothing_behind(store: S3Store, s3: Any, below: Location, tmp_path: Path) -> None:
    def break_off(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "InternalError", "Message": "Oops"}}, "GetObject")

    store.write(below / "a", b"x" * 100_000)
    (tmp_path / "b").write_bytes(b"old")
    s3.meta.events.register("before-call.s3.GetObject", break_off)
    try:
        with pytest.raises(CloudError, match="InternalError"):
            store.download(below / "a", tmp_path / "b")
    finally:
        s3.meta.events.unregister("before-call.s3.GetObject", break_off)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("b", b"old")]


def test_a_file_that_is_not_there_is_no_error_of_the_cloud(store: S3Store, below: Location, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.upload(tmp_path / "nothing", below / "a")
