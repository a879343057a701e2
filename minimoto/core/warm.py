"""Nodes that are kept ready by hours of the day: ``mon-fri 8:00-18:00 3``. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from minimoto.errors import ConfigError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = "|".join(DAYS)
_ENTRY = re.compile(rf"(?:({_DAY})(?:-({_DAY}))?\s+)?(\d{{1,2}}):(\d\d)\s*-\s*(\d{{1,2}}):(\d\d)\s+(\d+)")


@dataclass(frozen=True)
class Warm:
    """Hours in which nodes are kept.

    Parameters:
        days: numbers, Monday is 0; of the day on which they begin.
        start, end: minutes since midnight; an ``end`` that is not later lies on the next day.
        nodes: at least so many.
    """

    days: frozenset[int]
    start: int
    end: int
    nodes: int

    @property
    def until(self) -> str:
        """When they end, such as ``18:00``."""
        return f"{self.end // 60}:{self.end % 60:02d}"

    def holds(self, when: datetime) -> bool:
        """Whether a moment lies in these hours."""
        minute, day = when.hour * 60 + when.minute, when.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        return (day in self.days and minute >= self.start) or ((day - 1) % 7 in self.days and minute < self.end)


def parse(text: str) -> Warm:
    """One entry of ``[FLEET] warm``; without days it holds every day.

    Raises:
        ConfigError: it is malformed.
    """
    match = _ENTRY.fullmatch(text.strip().lower())
    if match is None:
        raise ConfigError(f"[FLEET] warm: {text.strip()!r}: hours such as mon-fri 8:00-18:00 3 are expected")
    first, last, *numbers = match.groups()
    start_hour, start_minute, end_hour, end_minute, nodes = map(int, numbers)
    if max(start_hour, end_hour) > 24 or max(start_minute, end_minute) > 59 or end_hour * 60 + end_minute > 24 * 60:
        raise ConfigError(f"[FLEET] warm: {text.strip()!r}: there is no such time of day")
    begin = DAYS.index(first) if first else 0
    count = (DAYS.index(last) - begin) % 7 + 1 if last else 1 if first else 7
    days = frozenset((begin + day) % 7 for day in range(count))
    return Warm(days, start_hour * 60 + start_minute, end_hour * 60 + end_minute, nodes)


def held(entries: Sequence[Warm], now: float, zone: tzinfo) -> Warm | None:
    """The hours that keep the most nodes now; ``None`` outside of all.

    Parameters:
        now: seconds since the epoch.
    """
    when = datetime.fromtimestamp(now, zone)
    return max((warm for warm in entries if warm.holds(when)), key=lambda warm: warm.nodes, default=None)
