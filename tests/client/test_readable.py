"""Numbers, times and names as a person reads them; deadlines as a person writes them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.client.deadline import parse_deadline
from minimoto.core.readable import counted, duration_text, percent_text, printable, shortened, size_text
from minimoto.errors import UsageError

ZONE = timezone(timedelta(hours=2))
NOW = datetime(2030, 5, 1, 12, 0, tzinfo=ZONE).timestamp()


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"),
     (2_500_000_000, "2.5 GB"), (7_000_000_000_000, "7.0 TB")],
)  # fmt: skip
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_shortened_text_is_never_longer_than_asked_for(text: str, most: int) -> None:
    assert len(shortened(text, most)) <= most
    assert shortened(text, 60) == text


@pytest.mark.parametrize(
    ("most", "text"),
    [(44, "It is not here; run: fetch it. Or bring x/y."), (43, "It is not here; run: fetch it."),
     (20, "It is not here;…"), (12, "It is not…"), (3, "It…")],
)  # fmt: skip
def test_a_long_text_ends_with_a_sentence_or_a_word(most: int, text: str) -> None:
    assert shortened("It is not here; run: fetch it. Or bring x/y.", most) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0.4, "0 s"), (41.2, "41 s"), (59.7, "1 min"), (125, "2 min 5 s"), (3600, "1 h"),
     (11_400, "3 h 10 min"), (187_200, "2 d 4 h")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(("fraction", "text"), [(0, "0 %"), (0.999, "99 %"), (1, "100 %"), (1.2, "100 %"), (-1, "0 %")])
def test_percent_is_a_hundred_only_when_all_is_done(fraction: float, text: str) -> None:
    assert percent_text(fraction) == text


def test_counts() -> None:
    assert (counted(1, "photo"), counted(0, "photo"), counted(2, "entry", "entries")) == (
        "1 photo",
        "0 photos",
        "2 entries",
    )


@given(st.text(st.characters(codec=None)))
def test_what_is_printed_cannot_steer_a_terminal(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert "\x1b" not in shown
    assert "\n" not in shown
    shown.encode()  # no undecodable byte is left


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("30 min", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172_800),
     ("18:30", 6.5 * 3600), ("11:59", 23 * 3600 + 59 * 60), ("12:00:01", 1), ("2030-05-01 18:30", 6.5 * 3600),
     ("2030-05-02", 12 * 3600), ("2030-05-01T18:30+00:00", 8.5 * 3600)],
)  # fmt: skip
def test_deadlines(text: str, seconds: float) -> None:
    assert parse_deadline(text, NOW, ZONE) == pytest.approx(NOW + seconds)


@pytest.mark.parametrize(
    ("text", "says"),
    [("soon", "write a duration"), ("", "write a duration"), ("30", "write a duration"), ("30x", "write a duration"),
     ("25:00", "write a duration"), ("0s", "has passed"), ("2020-01-01", "has passed"), ("400d", "a year away"),
     ("9999-12-31 23:59", "a year away"), ("-30m", "write a duration")],
)  # fmt: skip
def test_what_is_no_deadline_gets_one_clear_line(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as error:
        parse_deadline(text, NOW, ZONE)
    assert str(error.value).startswith(f"--deadline {text}:")


def test_the_next_half_past_two_is_by_the_calendar_when_the_clocks_change() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    evening = datetime(2030, 3, 30, 20, 0, tzinfo=berlin)
    at = parse_deadline("18:30", evening.timestamp(), berlin)
    assert datetime.fromtimestamp(at, berlin) == datetime(2030, 3, 31, 18, 30, tzinfo=berlin)
    assert at - evening.timestamp() == 21.5 * 3600  # an hour less than by the clock's face
