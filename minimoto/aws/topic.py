"""Announcements on SNS."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from minimoto.aws.calls import aws_call
from minimoto.aws.clients import client
from minimoto.config import Config

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_sns import SNSClient

MOST_SUBJECT = 100
"""Characters, of printable ASCII only."""

MOST_BYTES = 262_144


class SnsTopic:
    """``minimoto.ports.Topic`` on SNS. A deployment without a topic has nobody to tell, and tells nobody."""

    def __init__(self, session: boto3.session.Session, config: Config) -> None:
        self._session, self._config = session, config

    @cached_property
    def _sns(self) -> SNSClient:
        return client(self._session, self._config, "sns")

    def announce(self, subject: str, message: str) -> None:
        """Publishes; what SNS does not take in a subject becomes ``?``, a message too long is cut."""
        topic = self._config.topic_arn
        if not topic:
            return
        body = message.encode("utf-8", "replace")[:MOST_BYTES].decode("utf-8", "ignore") or "-"
        with aws_call(f"topic {topic}: announcing"):
            self._sns.publish(TopicArn=topic, Subject=clean_subject(subject), Message=body)


def clean_subject(subject: str) -> str:
    """A subject as SNS takes it: printable ASCII, no line break, not empty, not beginning with a space."""
    return re.sub(r"[^\x20-\x7e]", "?", " ".join(subject.split()))[:MOST_SUBJECT].strip() or "-"
