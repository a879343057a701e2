"""What SNS takes, and what is made of the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from minimoto.aws.clients import client
from minimoto.aws.topic import SnsTopic, clean_subject
from minimoto.errors import CloudError


@pytest.mark.parametrize(
    ("subject", "cleaned"),
    [
        ("minimoto: trip CANCELLED", "minimoto: trip CANCELLED"),
        ("Føroyar\n2025\t🐑", "F?royar 2025 ?"),
        ("\x00 a", "? a"),
        ("", "-"),
        (" \n", "-"),
        ("x" * 300, "x" * 100),
        ("x" * 99 + " y", "x" * 99),
    ],
)
def test_subjects(subject: str, cleaned: str) -> None:
    assert clean_subject(subject) == cleaned


def test_a_message_that_is_too_long_is_cut_between_characters(session: boto3.session.Session, deployment: Any) -> None:
    expected = {"TopicArn": deployment.topic_arn, "Subject": "s", "Message": "é" * 131_072}
    with Stubber(client(session, deployment, "sns")) as sns:
        sns.add_response("publish", {}, expected)
        SnsTopic(session, deployment).announce("s", "é" * 131_073)
        sns.assert_no_pending_responses()


def test_a_refusal_names_the_topic(session: boto3.session.Session, deployment: Any) -> None:
    with Stubber(client(session, deployment, "sns")) as sns:
        sns.add_client_error("publish", "AuthorizationError", "No.")
        with pytest.raises(
            CloudError, match=rf"^topic {deployment.topic_arn}: announcing: No\. \(AuthorizationError\)$"
        ):
            SnsTopic(session, deployment).announce("s", "m")


def test_without_a_topic_nobody_is_told(session: boto3.session.Session, deployment: Any) -> None:
    with Stubber(client(session, deployment, "sns")):
        # A call would fail: the stub expects none.
        SnsTopic(session, replace(deployment, topic_arn="")).announce("s", "m")
