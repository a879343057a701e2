"""The queue of tasks and its dead-letter queue."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from minimoto.aws.calls import code_of
from minimoto.aws.resources.context import Context
from minimoto.aws.resources.resource import Found, Resource, Setting
from minimoto.config import Config

RETENTION = 14 * 24 * 3600
"""Seconds that SQS keeps a message; its longest."""

GONE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
DOCUMENTS = frozenset({"Policy", "RedrivePolicy"})
"""Attributes whose text is JSON."""


class TaskQueue(Resource):
    """An SQS queue: encrypted, long polling, TLS only."""

    def __init__(self, key: str, kind: str, dead_letters: str = "") -> None:
        self.key = self.role = key
        self.kind = kind
        self._dead_letters = dead_letters

    def find_all(self, ctx: Context) -> list[Found]:
        sqs = ctx.client("sqs")
        pages = sqs.get_paginator("list_queues").paginate(
            QueueNamePrefix=ctx.prefix(self.key), PaginationConfig={"PageSize": 1000}
        )
        found = []
        for url in (url for page in pages for url in page.get("QueueUrls", [])):
            try:
                tags = sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
            except ClientError as error:
                # A queue is listed for a minute after it was deleted.
                if code_of(error) in GONE:
                    continue
                raise
            if ctx.owns(tags, self.role):
                found.append(self._found(url, tags))
        return found

    def make(self, ctx: Context) -> Found:
        name = ctx.name(self.key)
        tags = ctx.tags(self.role)
        made = ctx.client("sqs").create_queue(QueueName=name, Attributes=self._wanted(ctx, name), tags=tags)
        return self._found(made["QueueUrl"], tags)

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        sqs = ctx.client("sqs")
        current = sqs.get_queue_attributes(QueueUrl=found.id, AttributeNames=["All"])["Attributes"]

        def setting(name: str, wanted: str) -> Setting:
            def write(value: Any) -> None:
                text = json.dumps(value) if name in DOCUMENTS and value is not None else str(value or "")
                sqs.set_queue_attributes(QueueUrl=found.id, Attributes={name: text})

            return Setting(name, _value(name, current.get(name)), _value(name, wanted), write)

        return [setting(name, wanted) for name, wanted in self._wanted(ctx, found.name).items()]

    def remove(self, ctx: Context, found: Found) -> None:
        try:
            ctx.client("sqs").delete_queue(QueueUrl=found.id)
        except ClientError as error:
            if code_of(error) not in GONE:
                raise

    def record(self, ctx: Context, found: Found) -> Config:
        if not self._dead_letters:
            return replace(ctx.config, dead_letter_url=found.id)
        return replace(ctx.config, queue_url=found.id, queue_name=found.name)

    def _found(self, url: str, tags: dict[str, str]) -> Found:
        return Found(url, url.rsplit("/", 1)[-1], tags)

    def _wanted(self, ctx: Context, name: str) -> dict[str, str]:
        attributes = {
            "VisibilityTimeout": str(math.ceil(ctx.config.lease)),
            "MessageRetentionPeriod": str(RETENTION),
            "ReceiveMessageWaitTimeSeconds": "20",
            "SqsManagedSseEnabled": "true",
        }
        if self._dead_letters:
            target = ctx.arn("sqs", ctx.get(self._dead_letters).name)
            redrive = {"deadLetterTargetArn": target, "maxReceiveCount": ctx.config.receive_limit}
            attributes["RedrivePolicy"] = json.dumps(redrive)
        if ctx.tls_only:
            attributes["Policy"] = json.dumps(tls_only("sqs:*", [ctx.arn("sqs", name)]))
        return attributes


def tls_only(actions: str, resources: Sequence[str]) -> dict[str, Any]:
    """A resource policy that refuses everybody who does not speak TLS."""
    statement = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": actions,
        "Resource": list(resources),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _value(name: str, text: str | None) -> Any:
    """An attribute as it can be compared: AWS gives documents back in its own spelling."""
    if name not in DOCUMENTS or not text:
        return text or None
    document = json.loads(text)
    if name == "RedrivePolicy":
        document["maxReceiveCount"] = int(document["maxReceiveCount"])
    else:
        for statement in document["Statement"]:
            if isinstance(statement["Resource"], str):
                statement["Resource"] = [statement["Resource"]]
    return document
