"""Nodes kept by hours of the day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.core.warm import DAYS, Warm, held, parse
from minimoto.errors import ConfigError

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


def least(entries: list[Warm], now: float, zone: tzinfo) -> int:
    warm = held(entries, now, zone)
    return warm.nodes if warm else 0


def at(text: str, days: float, hours: float) -> int:
    return least([parse(text)], (MONDAY + timedelta(days=days, hours=hours)).timestamp(), UTC)


def test_working_hours() -> None:
    text = "mon-fri 8:00-18:00 3"
    assert [at(text, day, 12) for day in range(7)] == [3, 3, 3, 3, 3, 0, 0]
    assert [at(text, 0, hour) for hour in (7.98, 8, 17.98, 18)] == [0, 3, 3, 0]


def test_over_midnight_and_over_the_week() -> None:
    assert [at("fri-mon 22:00-2:00 1", day, 23) for day in range(7)] == [1, 0, 0, 0, 1, 1, 1]
    assert [at("fri-mon 22:00-2:00 1", day, 1) for day in range(7)] == [1, 1, 0, 0, 0, 1, 1]
    assert [at("sun 22:00-24:00 2", day, 23) for day in (5, 6)] == [0, 2]
    assert [at("0:00-24:00 4", day, hour) for day in (0, 3, 6) for hour in (0, 12, 23.9)] == [4] * 9


def test_the_most_of_several_counts_and_zones_shift_them() -> None:
    both = [parse("0:00-24:00 1"), parse("9:00-10:00 5")]
    noon = (MONDAY + timedelta(hours=8.5)).timestamp()
    assert least(both, noon, UTC) == 1
    assert least(both, noon, ZoneInfo("Europe/Berlin")) == 5
    assert least([], noon, UTC) == 0


@given(st.sampled_from(DAYS), st.integers(0, 23), st.integers(0, 59), st.integers(1, 9), st.integers(0, 7 * 1440 - 1))
def test_an_hour_a_week_holds_for_sixty_minutes(day: str, hour: int, minute: int, nodes: int, when: int) -> None:
    end = (hour * 60 + minute + 60) % 1440
    entry = parse(f"{day} {hour}:{minute:02}-{end // 60}:{end % 60:02} {nodes}")
    start = DAYS.index(day) * 1440 + hour * 60 + minute
    expected = nodes if (when - start) % (7 * 1440) < 60 else 0
    assert least([entry], (MONDAY + timedelta(minutes=when)).timestamp(), UTC) == expected


@pytest.mark.parametrize("text", ["", "8-18 3", "mon 8:00-18:00", "mon-xyz 8:00-9:00 1", "25:00-26:00 1", "8:61-9:00 1",
                                  "8:00-24:30 1", "8:00-9:00 -1"])  # fmt: skip
def test_wrong_hours_are_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\[FLEET\] warm"):
        parse(text)
