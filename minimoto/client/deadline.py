"""A deadline as a person writes it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo

from minimoto.errors import UsageError

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|min|m|s)")
_SECONDS = {"d": 86400.0, "h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0}
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
_LONGEST = 366 * 86400.0


def parse_deadline(text: str, now: float, zone: tzinfo | None = None) -> float:
    """Seconds since the epoch.

    Parameters:
        text: a duration from now (``90s``, ``30m``, ``1h30m``, ``2d``), a time of day (``18:30``: the next one), or a
            date and time (``2030-05-01 18:30``, ISO 8601).
        now: seconds since the epoch.
        zone: where times without a zone are; this computer's if not given.

    Raises:
        UsageError: it is none of these, has passed, or is more than a year away.
    """
    at = _duration(text.strip(), now)
    if at is None:
        at = _point(text.strip(), now, zone)
    if at is None:
        raise UsageError(
            f"--deadline {text}: write a duration such as 30m or 2h, or a time such as 18:30 or 2030-05-01 18:30"
        )
    if at <= now:
        raise UsageError(f"--deadline {text}: this time has passed")
    if at > now + _LONGEST:
        raise UsageError(f"--deadline {text}: more than a year away")
    return at


def _duration(text: str, now: float) -> float | None:
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip():
        return None
    return now + sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _point(text: str, now: float, zone: tzinfo | None) -> float | None:
    try:
        if _CLOCK.fullmatch(text):
            today = datetime.fromtimestamp(now, zone)
            hour, minute, *second = (int(part) for part in text.split(":"))
            at = today.replace(hour=hour, minute=minute, second=second[0] if second else 0, microsecond=0)
            # By the calendar, not by 24 hours: the clocks may change in between.
            return (at if at.timestamp() > now else at + timedelta(days=1)).timestamp()
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        return None
