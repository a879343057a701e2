"""Which buckets and keys may be touched at all: checked by every implementation of ``Store`` before any call."""

from __future__ import annotations

import re

from minimoto.core.job import Location
from minimoto.errors import CloudError

MOST_KEY_BYTES = 1024
"""What S3 takes."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_location(location: Location, buckets: frozenset[str]) -> None:
    """Raises ``CloudError`` for another's bucket, or a key that could lead out of its prefix as a path.

    Parameters:
        buckets: those of the deployment.
    """
    if location.bucket not in buckets:
        raise CloudError(f"bucket {location.bucket[:80]!r} is not one of this deployment", code="AccessDenied")
    key = location.key
    segments = key.split("/")
    if key.startswith("/") or "." in segments or ".." in segments or _CONTROL.search(key) or not _fits(key):
        raise CloudError(f"s3://{location.bucket}: the key {key[:80]!r} is not allowed", code="AccessDenied")


def check_object(location: Location, buckets: frozenset[str]) -> None:
    """The same for one object: ``CloudError`` also where a prefix is given."""
    check_location(location, buckets)
    if not location.key or location.key.endswith("/"):
        raise CloudError(f"{location}: this names a prefix, not an object")


def check_removable(prefix: Location, buckets: frozenset[str]) -> None:
    """The same for a prefix that ends in ``/``: neither a whole bucket nor the keys beside it may be removed."""
    check_location(prefix, buckets)
    if not prefix.key.endswith("/"):
        raise CloudError(f"{prefix}: only what lies below a prefix that ends in / can be removed")


def _fits(key: str) -> bool:
    try:
        return len(key.encode()) <= MOST_KEY_BYTES
    except UnicodeEncodeError:
        return False
