"""When a failed try is tried again."""

from __future__ import annotations

from minimoto.errors import CloudError, NotFound

MOST_ATTEMPTS = 4
"""Tries of one task, those that were interrupted not counted."""

BASE_SECONDS = 2.0
MOST_SECONDS = 300.0

LASTING = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "EntityTooLarge",
        "InvalidRequest",
        "KeyTooLongError",
        "NoSuchBucket",
        "ValidationException",
    }
)
"""AWS's codes for what it will refuse the next time, too."""


def backoff(attempt: int, fraction: float, base: float = BASE_SECONDS, most: float = MOST_SECONDS) -> float:
    """Seconds to wait after the try ``attempt`` (from 1): exponential with full jitter above the half.

    Parameters:
        fraction: a random number, 0..1.

    Source: "Exponential Backoff and Jitter", AWS Architecture Blog, 2015 ("equal jitter").
    """
    whole = min(most, base * 2.0 ** (max(1, attempt) - 1))
    return whole / 2 + fraction * whole / 2


def may_retry(attempt: int, wanted: bool, most: int = MOST_ATTEMPTS) -> bool:
    """Whether the try ``attempt`` (from 1) may be followed by another."""
    return wanted and attempt < most


def lasts(error: Exception) -> bool:
    """Whether AWS will refuse the same again, so that tries which do not count would never end."""
    return isinstance(error, NotFound) or (isinstance(error, CloudError) and error.code in LASTING)
