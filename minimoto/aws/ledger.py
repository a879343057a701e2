"""What the watchdog remembers between passes, on DynamoDB."""

from __future__ import annotations

import math
import uuid
from itertools import islice
from typing import TYPE_CHECKING

from minimoto.aws.documents import number, number_of, text, text_of
from minimoto.aws.items import Items, Lost
from minimoto.aws.table import EXPIRES, PARTITION, SORT
from minimoto.config import Config

if TYPE_CHECKING:
    import boto3

KEPT_SECONDS = 30 * 86_400
PASS = ("LEDGER", "PASS")


class DynamoLedger:
    """``minimoto.ports.Ledger`` on DynamoDB."""

    def __init__(self, session: boto3.session.Session, config: Config) -> None:
        self._items = Items(session, config)

    def begin_pass(self, owner: str, now: float, lease: float) -> bool:
        """Takes the lease of a pass in one conditional write; its holder may take it again."""
        free = "attribute_not_exists(#pk) OR #lease_until <= :now OR #owner = :owner"
        item = {"owner": text(owner), "lease_until": number(now + lease)}
        try:
            self._items.put(PASS, item, free, now=number(now), owner=text(owner))
        except Lost:
            return False
        return True

    def end_pass(self, owner: str) -> None:
        """Gives the lease back; nothing if it is not ours."""
        try:
            self._items.delete(PASS, "#owner = :owner", owner=text(owner))
        except Lost:
            # Somebody else's by now, or nobody's: either way there is nothing of ours to give back.
            return

    def recall(self, name: str) -> str:
        """The text of that name, read consistently, or empty."""
        item = self._items.get(("LEDGER", f"NOTE#{name}"))
        return text_of(item, "text") if item else ""

    def remember(self, name: str, text: str) -> None:
        """Stores it."""
        self._items.put(("LEDGER", f"NOTE#{name}"), {"text": {"S": text}})

    def record(self, at: float, decision: str) -> None:
        """Appends a decision; DynamoDB deletes it after 30 days."""
        item = {"at": number(at), "decision": text(decision), EXPIRES: number(math.ceil(at) + KEPT_SECONDS)}
        self._items.put(("DECISIONS", f"{_moment(at)}#{uuid.uuid4().hex[:8]}"), item)

    def decisions(self, since: float, limit: int = 100) -> list[tuple[float, str]]:
        """Decisions at or after ``since``, newest first."""
        found = self._items.query(
            KeyConditionExpression="#p = :p AND #s >= :s",
            ExpressionAttributeNames={"#p": PARTITION, "#s": SORT},
            ExpressionAttributeValues={":p": text("DECISIONS"), ":s": text(_moment(since))},
            ScanIndexForward=False,
            ConsistentRead=True,
        )
        return [(number_of(item, "at"), text_of(item, "decision")) for item in islice(found, limit)]


def _moment(at: float) -> str:
    """A time as text that sorts as the time does, to the microsecond."""
    return f"{at:018.6f}"
