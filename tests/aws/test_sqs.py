"""What SQS does that the embedded queue never does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from minimoto.aws.clients import client
from minimoto.aws.queue import SqsQueue
from minimoto.config import Config
from minimoto.errors import CloudError, ConfigError
from minimoto.ports import QueueCounts


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def queue(session: boto3.session.Session, deployment: Config, pauses: list[float]) -> SqsQueue:
    return SqsQueue(session, deployment, pauses.append)


@pytest.fixture
def sqs(session: boto3.session.Session, deployment: Config) -> Iterator[Stubber]:
    with Stubber(client(session, deployment, "sqs")) as stub:
        yield stub
        stub.assert_no_pending_responses()


def failed(id: str, code: str = "InternalError", *, ours: bool = False) -> dict[str, Any]:
    return {"Id": id, "Code": code, "Message": "Not now.", "SenderFault": ours}


def entry(id: str, body: str) -> dict[str, Any]:
    return {"Id": id, "MessageBody": body, "DelaySeconds": 0}


def test_messages_that_a_batch_left_out_are_sent_again_alone(
    queue: SqsQueue, sqs: Stubber, deployment: Config, pauses: list[float]
) -> None:
    expected = {"QueueUrl": deployment.queue_url, "Entries": [entry("0", "a"), entry("1", "b"), entry("2", "c")]}
    sqs.add_response("send_message_batch", {"Successful": [], "Failed": [failed("1")]}, expected)
    sqs.add_response(
        "send_message_batch",
        {"Successful": [], "Failed": []},
        {"QueueUrl": deployment.queue_url, "Entries": [entry("1", "b")]},
    )
    queue.send(["a", "b", "c"])
    assert len(pauses) == 1


def test_messages_that_are_never_taken_are_an_error(queue: SqsQueue, sqs: Stubber, pauses: list[float]) -> None:
    for _ in range(5):
        sqs.add_response("send_message_batch", {"Successful": [], "Failed": [failed("0")]})
    with pytest.raises(CloudError, match=r"sending: 1 of 1 messages were refused: Not now\. \(InternalError\)"):
        queue.send(["a"])
    assert pauses == sorted(pauses)
    assert len(pauses) == 4


def test_messages_that_are_our_fault_are_not_sent_again(queue: SqsQueue, sqs: Stubber, pauses: list[float]) -> None:
    answer = {"Successful": [], "Failed": [failed("0", "InvalidMessageContents", ours=True)]}
    sqs.add_response("send_message_batch", answer)
    with pytest.raises(CloudError, match="InvalidMessageContents") as caught:
        queue.send(["a"])
    assert caught.value.code == "InvalidMessageContents"
    assert pauses == []


def test_deleting_what_is_gone_is_no_error_and_the_rest_is_tried_again(queue: SqsQueue, sqs: Stubber) -> None:
    answer = {"Successful": [], "Failed": [failed("0", "ReceiptHandleIsInvalid", ours=True), failed("1")]}
    sqs.add_response("delete_message_batch", answer)
    sqs.add_response(
        "delete_message_batch",
        {"Successful": [], "Failed": []},
        {"QueueUrl": ANY, "Entries": [{"Id": "1", "ReceiptHandle": "b"}]},
    )
    queue.delete(["a", "b"])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ReceiptHandleIsInvalid", "The input receipt handle is invalid."),
        ("AWS.SimpleQueueService.MessageNotInflight", "It is not in flight."),
        (
            "InvalidParameterValue",
            "Value X for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available "
            "for visibility timeout change.",
        ),
    ],
)
def test_a_message_in_other_hands_cannot_be_extended(queue: SqsQueue, sqs: Stubber, code: str, message: str) -> None:
    sqs.add_client_error("change_message_visibility", code, message)
    assert not queue.extend("receipt", 10)


def test_other_refusals_to_extend_are_errors(queue: SqsQueue, sqs: Stubber) -> None:
    sqs.add_client_error("change_message_visibility", "AccessDenied", "No.")
    with pytest.raises(CloudError, match=r"visibility: No\. \(AccessDenied\)"):
        queue.extend("receipt", 10)


def test_times_are_whole_seconds_within_what_sqs_takes(queue: SqsQueue, sqs: Stubber, deployment: Config) -> None:
    url = deployment.queue_url
    sqs.add_response(
        "change_message_visibility", {}, {"QueueUrl": url, "ReceiptHandle": "r", "VisibilityTimeout": 43200}
    )
    sqs.add_response("change_message_visibility", {}, {"QueueUrl": url, "ReceiptHandle": "r", "VisibilityTimeout": 1})
    late = {"Id": "0", "MessageBody": "a", "DelaySeconds": 900}
    sqs.add_response("send_message_batch", {"Successful": [], "Failed": []}, {"QueueUrl": url, "Entries": [late]})
    assert queue.extend("r", 1e9)
    assert queue.extend("r", 0.2)
    queue.send(["a"], delay=5000)


def counted(visible: int) -> dict[str, Any]:
    names = ("", "NotVisible", "Delayed")
    values = (str(visible), "2", "3")
    return {
        "Attributes": {f"ApproximateNumberOfMessages{name}": value for name, value in zip(names, values, strict=True)}
    }


@pytest.mark.parametrize(("values", "oldest"), [([17.0, 900.0], 17.0), ([], None)])
def test_the_age_of_the_oldest_is_the_newest_that_cloudwatch_knows(
    queue: SqsQueue, sqs: Stubber, session: boto3.session.Session, deployment: Config, values: list[float], oldest: Any
) -> None:
    sqs.add_response("get_queue_attributes", counted(1))
    with Stubber(client(session, deployment, "cloudwatch")) as cloudwatch:
        cloudwatch.add_response("get_metric_data", {"MetricDataResults": [{"Id": "m0", "Values": values}]})
        assert queue.counts() == QueueCounts(1, 2, 3, oldest)


def test_who_may_not_read_metrics_gets_the_counts_all_the_same(
    queue: SqsQueue, sqs: Stubber, session: boto3.session.Session, deployment: Config
) -> None:
    with Stubber(client(session, deployment, "cloudwatch")) as cloudwatch:
        sqs.add_response("get_queue_attributes", counted(1))
        cloudwatch.add_client_error("get_metric_data", "AccessDenied", "No.")
        assert queue.counts() == QueueCounts(1, 2, 3, None)
        sqs.add_response("get_queue_attributes", counted(1))
        cloudwatch.add_client_error("get_metric_data", "InternalServiceFault", "Oh.")
        with pytest.raises(CloudError, match="InternalServiceFault"):
            queue.counts()


def test_a_queue_that_setup_has_not_made(session: boto3.session.Session, embedded: Any) -> None:
    queue = SqsQueue(session, Config(endpoint_url=embedded.url))
    with pytest.raises(ConfigError, match="queue_url is not set"):
        queue.send(["a"])
    with pytest.raises(ConfigError, match="dead_letter_url is not set"):
        queue.dead()


def test_a_queue_that_is_gone_is_named(cloud: Any, session: boto3.session.Session) -> None:
    client(session, cloud.config, "sqs").delete_queue(QueueUrl=cloud.config.queue_url)
    with pytest.raises(Exception, match=rf"^queue {cloud.config.queue_url}: receiving: there is no such thing"):
        cloud.queue.receive()
