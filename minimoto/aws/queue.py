"""The queue of tasks on SQS."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from minimoto.aws.calls import aws_call, code_of
from minimoto.aws.clients import client
from minimoto.config import Config
from minimoto.core.message_body import MOST_BYTES, check_body, clean_reason
from minimoto.errors import CloudError, ConfigError
from minimoto.ports import Message, QueueCounts

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_sqs import SQSClient

BATCH = 10
MOST_HIDDEN = 43_200
MOST_DELAY = 900
DEAD_HIDDEN = 300
"""Seconds that a dead message stays hidden after it was looked at."""

TRIES = 5


class SqsQueue:
    """``minimoto.ports.Queue`` on a standard SQS queue and its dead-letter queue.

    Parameters:
        pause: waits between tries of the messages that SQS left out of a batch.
    """

    def __init__(
        self, session: boto3.session.Session, config: Config, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._session, self._config, self._pause = session, config, pause

    @cached_property
    def _sqs(self) -> SQSClient:
        return client(self._session, self._config, "sqs")

    @cached_property
    def _url(self) -> str:
        return _named("queue_url", self._config.queue_url)

    @cached_property
    def _dead_url(self) -> str:
        return _named("dead_letter_url", self._config.dead_letter_url)

    def send(self, bodies: Sequence[str], delay: float = 0.0, owner: str = "") -> None:
        """Sends messages; raises ``InvalidMessage`` before any is sent for a body that SQS does not take.

        Messages of one owner are a message group: SQS keeps the wait of the others short while one has much in flight
        (Amazon SQS Developer Guide, "Amazon SQS fair queues"). Its name says nothing of who that is.
        """
        for body in bodies:
            check_body(body)
        seconds = min(MOST_DELAY, max(0, math.ceil(delay)))
        group = {"MessageGroupId": hashlib.sha256(owner.encode()).hexdigest()[:32]} if owner else {}
        for batch in _batches(bodies):
            entries = [
                {"Id": str(index), "MessageBody": body, "DelaySeconds": seconds, **group}
                for index, body in enumerate(batch)
            ]
            self._all(self._sqs.send_message_batch, entries, "sending")

    def receive(self, limit: int = 1, wait: float = 0.0, visibility: float | None = None) -> list[Message]:
        """Receives messages; fractions of seconds are rounded up, as SQS knows whole ones only."""
        hidden = {} if visibility is None else {"VisibilityTimeout": _hidden(visibility)}
        return [message for message, _ in self._receive(self._url, limit, wait, hidden)]

    def extend(self, receipt: str, seconds: float) -> bool:
        """Hides a message from now; ``False`` if it is deleted or no longer hidden by this receipt."""
        with aws_call(f"queue {self._url}: changing a message's visibility"):
            try:
                self._sqs.change_message_visibility(
                    QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=_hidden(seconds)
                )
            except self._sqs.exceptions.ClientError as error:
                if _is_gone(code_of(error), str(error)):
                    return False
                raise
        return True

    def delete(self, receipts: Sequence[str]) -> None:
        """Deletes messages; those that are gone already are no error."""
        self._delete(self._url, receipts)

    def bury(self, message: Message, reason: str) -> None:
        """Sends the message to the dead-letter queue, then deletes it: between the two it is in both, never in none."""
        with aws_call(f"queue {self._dead_url}: burying a message"):
            self._sqs.send_message(
                QueueUrl=self._dead_url,
                MessageBody=message.body,
                MessageAttributes={"reason": {"DataType": "String", "StringValue": clean_reason(reason)}},
            )
        self.delete([message.receipt])

    def dead(self, limit: int = 100) -> list[tuple[Message, str]]:
        """Dead messages with their reason, hidden for five minutes from whoever asks next."""
        # A short poll of SQS asks some of its servers only; the embedded queue is one.
        wait = 0.0 if self._config.local else 1.0
        found: list[tuple[Message, str]] = []
        while len(found) < limit:
            hidden = {"VisibilityTimeout": DEAD_HIDDEN, "MessageAttributeNames": ["reason"]}
            batch = self._receive(self._dead_url, min(BATCH, limit - len(found)), wait, hidden)
            if not batch:
                break
            found += batch
        return found

    def forget_dead(self, receipts: Sequence[str]) -> None:
        """Deletes messages from the dead-letter queue."""
        self._delete(self._dead_url, receipts)

    def counts(self) -> QueueCounts:
        """Counts of SQS, and the age of the oldest message as CloudWatch last saw it (``None`` where it did not)."""
        names = ("", "NotVisible", "Delayed")
        attributes: list[Any] = [f"ApproximateNumberOfMessages{name}" for name in names]
        with aws_call(f"queue {self._url}: counting"):
            answer = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=attributes)
        visible, in_flight, delayed = (int(answer["Attributes"][name]) for name in attributes)
        return QueueCounts(visible, in_flight, delayed, self._oldest() if visible else None)

    def _oldest(self) -> float | None:
        from minimoto.aws.metrics import newest

        name = self._url.rstrip("/").rsplit("/", 1)[-1]
        try:
            return newest(
                client(self._session, self._config, "cloudwatch"),
                ("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName"),
                [name],
                time.time(),
                "Maximum",
            )[name]
        except CloudError as error:
            if error.code in ("AccessDenied", "AccessDeniedException"):
                # Only the watchdog's role may read metrics; for the others the age is not known.
                return None
            raise

    def _receive(self, url: str, limit: int, wait: float, more: dict[str, Any]) -> list[tuple[Message, str]]:
        with aws_call(f"queue {url}: receiving"):
            answer = self._sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=max(1, min(BATCH, limit)),
                WaitTimeSeconds=max(0, min(20, math.ceil(wait))),
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
                **more,
            )
        return [_message(found) for found in answer.get("Messages", [])]

    def _delete(self, url: str, receipts: Sequence[str]) -> None:
        for start in range(0, len(receipts), BATCH):
            batch = receipts[start : start + BATCH]
            entries = [{"Id": str(index), "ReceiptHandle": receipt} for index, receipt in enumerate(batch)]
            self._all(self._sqs.delete_message_batch, entries, "deleting", url)

    def _all(self, call: Any, entries: list[dict[str, Any]], what: str, url: str = "") -> None:
        """One batch until every entry is taken; SQS may leave some out of a call that succeeds."""
        url = url or self._url
        for tried in range(1, TRIES + 1):
            with aws_call(f"queue {url}: {what}"):
                answer = call(QueueUrl=url, Entries=entries)
            left = {f["Id"]: f for f in answer.get("Failed", []) if not _is_gone(f["Code"], f.get("Message", ""))}
            if not left:
                return
            first = next(iter(left.values()))
            if tried == TRIES or any(f["SenderFault"] for f in left.values()):
                raise CloudError(
                    f"queue {url}: {what}: {len(left)} of {len(entries)} messages were refused: "
                    f"{first.get('Message', '')} ({first['Code']})",
                    code=first["Code"],
                )
            entries = [entry for entry in entries if entry["Id"] in left]
            self._pause(0.1 * 2**tried)


def _batches(bodies: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for body in bodies:
        length = len(body.encode())
        if batch and (len(batch) == BATCH or size + length > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += length
    if batch:
        yield batch


def _message(found: Any) -> tuple[Message, str]:
    attributes = found.get("Attributes", {})
    message = Message(
        id=found["MessageId"],
        body=found["Body"],
        receipt=found["ReceiptHandle"],
        received=int(attributes.get("ApproximateReceiveCount", 1)),
        sent=int(attributes.get("SentTimestamp", 0)) / 1000,
    )
    return message, found.get("MessageAttributes", {}).get("reason", {}).get("StringValue", "")


def _hidden(seconds: float) -> int:
    return max(0, min(MOST_HIDDEN, math.ceil(seconds)))


def _is_gone(code: str, message: str) -> bool:
    """Whether a message is deleted, or visible again, or in other hands."""
    if code.rsplit(".", 1)[-1] in ("ReceiptHandleIsInvalid", "MessageNotInflight"):
        return True
    return code == "InvalidParameterValue" and "ReceiptHandle" in message


def _named(option: str, value: str) -> str:
    if not value:
        raise ConfigError(f"[SQS] {option} is not set: run minimoto_setup.py first, or name its file with --config")
    return value
