"""What the embedded AWS does beyond moto: one winner, one receiver, prompt long polls, loopback only."""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import pytest

from minimoto.aws.clients import client
from minimoto.aws.session import open_session
from minimoto.config import Config
from minimoto.errors import UsageError
from minimoto.local import server
from minimoto.local.server import EmbeddedServer

THREADS = 16


@pytest.fixture
def config(embedded: EmbeddedServer) -> Config:
    return Config(endpoint_url=embedded.url)


@pytest.fixture
def make(config: Config) -> Any:
    session = open_session(config)
    return lambda service: client(session, config, service)


@pytest.fixture
def queue(make: Any, request: pytest.FixtureRequest) -> str:
    name = f"server-{os.getpid()}-{request.node.name[-40:]}".replace("[", "-").replace("]", "")
    return str(make("sqs").create_queue(QueueName=name)["QueueUrl"])


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns after each few instructions, so that whatever is not locked is seen to be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def at_once(count: int, call: Any) -> list[Any]:
    """Calls ``call(number)`` on many threads at the same moment."""
    barrier = Barrier(count)

    def one(number: int) -> Any:
        barrier.wait(10)
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.mark.usefixtures("restless")
def test_of_many_claims_at_once_one_wins(make: Any) -> None:
    dynamodb = make("dynamodb")
    table = f"claims-{os.getpid()}"
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def claim(task: int, worker: int) -> bool:
        try:
            dynamodb.update_item(
                TableName=table,
                Key={"pk": {"S": f"task-{task}"}},
                UpdateExpression="SET worker = :me",
                ConditionExpression="attribute_not_exists(worker)",
                ExpressionAttributeValues={":me": {"N": str(worker)}},
            )
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    for task in range(10):
        winners = [worker for worker, won in enumerate(at_once(THREADS, lambda w: claim(task, w))) if won]  # noqa: B023
        stored = dynamodb.get_item(TableName=table, Key={"pk": {"S": f"task-{task}"}}, ConsistentRead=True)["Item"]
        assert winners == [int(stored["worker"]["N"])]


@pytest.mark.usefixtures("restless")
def test_each_message_is_received_by_one(make: Any, queue: str) -> None:
    sqs = make("sqs")
    for batch in range(4):
        entries = [{"Id": str(n), "MessageBody": f"{batch}-{n}"} for n in range(10)]
        sqs.send_message_batch(QueueUrl=queue, Entries=entries)

    def receive(_: int) -> list[str]:
        got: list[str] = []
        while answer := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=2).get("Messages"):
            got += [message["Body"] for message in answer]
        return got

    received = sorted(body for bodies in at_once(THREADS, receive) for body in bodies)
    assert received == sorted(f"{batch}-{n}" for batch in range(4) for n in range(10))


def test_a_waiting_receive_gets_a_message_as_it_is_sent(make: Any, queue: str) -> None:
    sqs = make("sqs")

    def receive(_: int = 0) -> float:
        assert sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)["Messages"][0]["Body"] == "hello"
        return time.monotonic()

    with ThreadPoolExecutor(1) as pool:
        delays = []
        for _ in range(5):
            waiting = pool.submit(receive)
            # While it waits, others are served.
            while not waiting.running():
                sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
            for _ in range(10):
                sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
            sqs.send_message(QueueUrl=queue, MessageBody="hello")
            sent = time.monotonic()
            delays.append(waiting.result(10) - sent)
    assert sorted(delays)[2] < 0.25


@pytest.mark.parametrize("hidden", ["delayed", "received", "given-back"])
def test_a_waiting_receive_gets_a_message_when_it_can_be_seen(make: Any, queue: str, hidden: str) -> None:
    sqs = make("sqs")
    sqs.send_message(QueueUrl=queue, MessageBody="hello", DelaySeconds=1 if hidden == "delayed" else 0)
    due = time.monotonic() + 1
    with ThreadPoolExecutor(1) as pool:
        if hidden == "received":
            sqs.receive_message(QueueUrl=queue, VisibilityTimeout=1)
        elif hidden == "given-back":
            receipt = sqs.receive_message(QueueUrl=queue)["Messages"][0]["ReceiptHandle"]
        waiting = pool.submit(sqs.receive_message, QueueUrl=queue, WaitTimeSeconds=10)
        if hidden == "given-back":
            due = time.monotonic()
            sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=receipt, VisibilityTimeout=0)
        assert waiting.result(12)["Messages"][0]["Body"] == "hello"
    assert -0.3 < time.monotonic() - due < 1.0


def test_the_wait_of_the_queue_itself_is_heeded(make: Any, queue: str) -> None:
    sqs = make("sqs")
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"ReceiveMessageWaitTimeSeconds": "1"})
    begun = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    assert 0.9 < time.monotonic() - begun < 3
    begun = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=0)
    assert time.monotonic() - begun < 0.9


def test_wrong_receives_get_motos_own_errors(make: Any, queue: str) -> None:
    sqs = make("sqs")
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.receive_message(QueueUrl=f"{queue}-none", WaitTimeSeconds=1)
    with pytest.raises(sqs.exceptions.ClientError, match="WaitTimeSeconds"):
        sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=21)


def test_messages_received_too_often_are_moved(make: Any, queue: str) -> None:
    sqs = make("sqs")
    dead = sqs.create_queue(QueueName=f"dead-{os.getpid()}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": policy})
    sqs.send_message(QueueUrl=queue, MessageBody="poison")
    assert "Messages" in sqs.receive_message(QueueUrl=queue, VisibilityTimeout=0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sqs.receive_message, QueueUrl=dead, WaitTimeSeconds=10)
        assert "Messages" not in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1)
        assert waiting.result(12)["Messages"][0]["Body"] == "poison"


def test_counts_are_those_of_the_messages(make: Any, queue: str) -> None:
    sqs = make("sqs")
    for delay in (0, 0, 0, 60):
        sqs.send_message(QueueUrl=queue, MessageBody="x", DelaySeconds=delay)
    sqs.receive_message(QueueUrl=queue, VisibilityTimeout=60)
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == "2"
    assert counts["ApproximateNumberOfMessagesNotVisible"] == "1"
    assert counts["ApproximateNumberOfMessagesDelayed"] == "1"


SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=x, Signature=x"
}
"""moto looks at who asks, not at the signature."""


@pytest.fixture
def connection(embedded: EmbeddedServer) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection(urlsplit(embedded.url).netloc, timeout=10)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example:5000"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "127.0.0.1:5000", "Origin": "https://evil.example"}, 403),
        ({"Host": "127.0.0.1:5000", "Origin": "null"}, 403),
        ({"Host": "localhost:5000"}, 200),
        ({"Host": "127.0.0.1", "Origin": "http://localhost:8000"}, 200),
    ],
)
def test_only_who_names_this_computer_is_served(
    connection: http.client.HTTPConnection, headers: dict[str, str], status: int
) -> None:
    connection.request("GET", "/", headers={**SIGNED, **headers})
    assert connection.getresponse().status == status


def test_a_connection_stays_open_and_in_step(make: Any, connection: http.client.HTTPConnection) -> None:
    bucket = f"wire-{os.getpid()}"
    make("s3").create_bucket(Bucket=bucket)
    connection.connect()
    sock = connection.sock
    for number in range(3):
        body = os.urandom(200_000)
        for method, sent, expected in (("PUT", body, b""), ("HEAD", None, b""), ("GET", None, body)):
            connection.request(method, f"/{bucket}/{number}", body=sent, headers=SIGNED)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, expected)
            if method == "HEAD":
                assert answer.headers["Content-Length"] == "200000"
        connection.request("DELETE", f"/{bucket}/{number}", headers=SIGNED)
        assert connection.getresponse().read() == b""
    assert connection.sock is sock


def test_an_upload_in_chunks_of_unknown_length(make: Any, connection: http.client.HTTPConnection) -> None:
    bucket = f"chunks-{os.getpid()}"
    make("s3").create_bucket(Bucket=bucket)
    connection.request("PUT", f"/{bucket}/x", body=iter([b"abc", b"def"]), headers=SIGNED, encode_chunked=True)
    assert connection.getresponse().status == 200
    assert make("s3").get_object(Bucket=bucket, Key="x")["Body"].read() == b"abcdef"


@pytest.mark.parametrize("length", ["-1", "x", str(1 << 40)])
def test_a_body_of_impossible_length_is_refused(connection: http.client.HTTPConnection, length: str) -> None:
    connection.putrequest("PUT", "/bucket/key")
    connection.putheader("Content-Length", length)
    connection.endheaders()
    assert connection.getresponse().status == 413


def test_the_base_image_and_the_default_network_are_there(make: Any) -> None:
    name = Config().base_parameter
    image = make("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    assert make("ec2").describe_images(ImageIds=[image])["Images"][0]["RootDeviceType"] == "ebs"
    assert make("ec2").describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]


def test_a_process_holds_one_embedded_aws(embedded: EmbeddedServer) -> None:
    with pytest.raises(UsageError, match="already runs"):
        server.start()
