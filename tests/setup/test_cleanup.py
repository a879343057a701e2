"""Cleanup removes what carries a deployment's tags, in any state it may be in, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from setup_account import Account, gone, make_look_alikes

from minimoto.aws.resources import RESOURCES
from minimoto.aws.resources.cleanup import Removal, remove, survey
from minimoto.aws.resources.context import Context
from minimoto.aws.resources.setup import Setup

pytestmark = pytest.mark.usefixtures("afresh")

Names = Callable[[], str]


def clean(ctx: Context, *, keep_results: bool = False) -> Removal:
    return remove(ctx, RESOURCES, keep_results=keep_results, say=lambda line: None)


def test_nothing_but_ours_goes_and_twice_is_as_good_as_once(account: Account, keys: Path) -> None:
    others, _ = account.set_up(account.config("tidy-2"), keys)
    made = make_look_alikes(account, "tidy")
    before = account.state()
    ctx, _ = account.set_up(account.config("tidy"), keys)
    # Two service machines more, as the watchdog starts them.
    template = {"LaunchTemplateId": ctx.id("launch-template")}
    account.client("ec2").run_instances(LaunchTemplate=template, MinCount=2, MaxCount=2)
    listed = survey(ctx, RESOURCES)
    removal = clean(ctx)
    assert removal.problems == []
    assert sorted(removal.removed) == sorted(listed.labels)
    assert len([label for label in removal.removed if label.startswith("service machine")]) == 3
    assert account.state() == before
    assert [file.name for file in keys.iterdir()] == [Path(others.config.key_file).name]
    again = clean(ctx)
    assert (again.removed, again.kept, again.problems) == ([], [], [])
    assert account.client("s3").get_object(Bucket="tidy-output-0badcafe", Key="precious")["Body"].read() == b"not ours"
    assert made["queue"] in account.state()["queues"]
    assert not account.set_up(others.config, keys)[1].changed


@pytest.mark.parametrize("last", range(0, len(RESOURCES), 4))
def test_a_setup_that_was_killed_on_its_way_is_cleaned_up(account: Account, keys: Path, last: int) -> None:
    """Killed, so that nothing was rolled back: the resources after ``last`` were never made."""
    before = account.state()
    ctx = account.context(account.config(f"part-{last}"), keys)
    resources = RESOURCES[: last + 1]
    Setup(ctx, resources, say=lambda line: None, save=lambda c: None, restore=lambda: None).run()
    removal = clean(account.context(account.config(f"part-{last}"), keys))
    assert removal.removed
    assert removal.problems == []
    assert account.state() == before


def test_buckets_are_emptied_of_versions_and_unfinished_uploads(account: Account, keys: Path) -> None:
    before = account.state()
    ctx, _ = account.set_up(account.config("full"), keys)
    s3 = account.client("s3")
    for bucket in (ctx.id("input"), ctx.id("output")):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        for _ in range(2):
            s3.put_object(Bucket=bucket, Key="a/ä b.jpg", Body=b"x")
        s3.delete_object(Bucket=bucket, Key="a/ä b.jpg")
        s3.put_object(Bucket=bucket, Key="film.mp4", Body=b"x")
        s3.create_multipart_upload(Bucket=bucket, Key="half.mp4")
    assert survey(ctx, RESOURCES).results == ((ctx.id("output"), 1),)
    assert clean(ctx).problems == []
    assert account.state() == before


def test_results_can_be_kept(account: Account, keys: Path) -> None:
    before = account.state()
    ctx, _ = account.set_up(account.config("kept"), keys)
    account.client("s3").put_object(Bucket=ctx.id("output"), Key="film.mp4", Body=b"film")
    removal = clean(ctx, keep_results=True)
    assert removal.kept == [f"output bucket {ctx.id('output')}"]
    assert removal.problems == []
    assert {kind for kind, names in account.state().items() if names != before[kind]} == {"buckets"}
    assert account.client("s3").get_object(Bucket=ctx.id("output"), Key="film.mp4")["Body"].read() == b"film"
    # A new deployment of that name finds it again.
    after, outcome = account.set_up(account.config("kept"), keys)
    assert after.id("output") == ctx.id("output")
    assert outcome.kept == [f"output bucket {ctx.id('output')}"]
    assert clean(after).problems == []
    assert account.state() == before


@pytest.mark.parametrize(
    ("operation", "left"),
    [
        ("DeleteTable", {"tables"}),
        ("DeleteSecurityGroup", {"groups"}),
        ("ListQueues", {"queues"}),
        ("DeleteRole", {"roles"}),
        ("DeregisterImage", {"images", "snapshots"}),
    ],
)
def test_what_cannot_be_deleted_is_reported_and_the_rest_goes(
    account: Account, keys: Path, operation: str, left: set[str]
) -> None:
    name = f"stuck-{operation.lower()}"
    before = account.state()
    ctx, _ = account.set_up(account.config(name), keys)
    refused = _Refusing(ctx.clients, operation)
    ctx.clients = refused
    removal = clean(ctx)
    assert removal.problems
    assert all("AccessDenied" in problem and "not allowed" in problem for problem in removal.problems)
    assert {kind for kind, names in account.state().items() if names != before[kind]} == left
    assert gone(before, account.state()) == {}
    ctx.clients = refused.clients
    assert clean(ctx).problems == []
    assert account.state() == before


class _Refusing:
    """Clients whose one operation AWS refuses."""

    def __init__(self, clients: Any, operation: str) -> None:
        self.clients, self._operation = clients, operation

    def __call__(self, service: str) -> Any:
        return _RefusingClient(self.clients(service), self._operation)


class _RefusingClient:
    def __init__(self, client: Any, operation: str) -> None:
        self._client, self._operation = client, operation

    def __getattr__(self, name: str) -> Any:
        if name == "get_paginator":
            return self._paginator
        if name.replace("_", "") == self._operation.lower():
            return self._refuse
        return getattr(self._client, name)

    def _paginator(self, name: str) -> Any:
        if name.replace("_", "") == self._operation.lower():
            self._refuse()
        return self._client.get_paginator(name)

    def _refuse(self, **_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not allowed"}}, self._operation)
