"""What the body of a message may be: checked by every implementation of ``Queue`` before any is sent."""

from __future__ import annotations

import re

from minimoto.errors import InvalidMessage

MOST_BYTES = 262_144
"""Bytes of one message, and of one batch."""

_NOT_TAKEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""All but the characters of XML 1.0, which are what SQS takes."""


def check_body(body: str) -> None:
    """Raises ``InvalidMessage`` for a body that SQS would refuse."""
    if not body or _NOT_TAKEN.search(body):
        raise InvalidMessage("a message must not be empty nor hold control characters")
    if len(body.encode()) > MOST_BYTES:
        raise InvalidMessage(f"a message of {len(body.encode())} bytes is too long: {MOST_BYTES} is the most")


def clean_reason(reason: str) -> str:
    """A reason as a message's attribute can hold it: never empty, 1000 characters at most."""
    return _NOT_TAKEN.sub("?", reason)[:1000].strip() or "no reason given"
