"""What the embedded AWS makes of metrics: periods, missing datapoints, comparisons, tracked targets."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from minimoto.local.alarms import IN_PERIODS, Watched, history, judge, track

NOW = 1_800_000_000.0
JOBS = Watched("DeepStyleQueue", "Jobs", frozenset({("Deployment", "trip")}), "Maximum", 10.0)


def datum(age: float, value: float, name: str = "Jobs", deployment: str = "trip") -> Any:
    at = datetime.fromtimestamp(NOW - age, UTC).replace(tzinfo=None)
    dimensions = [SimpleNamespace(name="Deployment", value=deployment)]
    return SimpleNamespace(namespace="DeepStyleQueue", name=name, value=value, timestamp=at, dimensions=dimensions)


def alarm(comparison: str = "GreaterThanOrEqualToThreshold", missing: str = "missing", **fields: Any) -> Any:
    given = {"threshold": 1.0, "datapoints_to_alarm": None, "state_value": "OK", **fields}
    return SimpleNamespace(comparison_operator=comparison, treat_missing_data=missing, **given)


def test_datapoints_are_gathered_by_periods_the_newest_first() -> None:
    data = [datum(45, 9), datum(25, 1), datum(21, 3), datum(9.9, 5), datum(1, 4), datum(0, 99, name="Other")]
    data += [datum(0, 99, deployment="trip-2")]
    assert history(data, JOBS, 3, NOW) == [5, None, 3]
    assert history([], JOBS, 2, NOW) == [None, None]


@pytest.mark.parametrize(
    ("values", "judged", "state"),
    [
        ([1.0], alarm(), "ALARM"),
        ([0.0], alarm(), "OK"),
        ([0.0], alarm("LessThanOrEqualToThreshold", threshold=0.0), "ALARM"),
        ([1.0], alarm("GreaterThanThreshold"), "OK"),
        ([0.5], alarm("LessThanThreshold"), "ALARM"),
        # Every period must breach.
        ([2.0, 0.0], alarm(), "OK"),
        ([2.0, 2.0], alarm(), "ALARM"),
        ([2.0, 0.0], alarm(datapoints_to_alarm=1), "ALARM"),
        # Without data: nothing is known, unless it is said what that means.
        ([None, None], alarm(), "INSUFFICIENT_DATA"),
        ([None, 2.0], alarm(), "ALARM"),
        ([None], alarm(missing="breaching"), "ALARM"),
        ([None], alarm(missing="notBreaching"), "OK"),
        ([None, 2.0], alarm(missing="notBreaching"), "OK"),
        ([None], alarm(missing="ignore", state_value="ALARM"), "ALARM"),
    ],
)
def test_an_alarms_state(values: list[float | None], judged: Any, state: str) -> None:
    assert judge(values, judged) == state


FULL: list[float | None] = [None] * IN_PERIODS


@pytest.mark.parametrize(
    ("values", "capacity", "wanted"),
    [
        ([150.0] * 3, 2, 5),
        ([150.0, 150.0, 60.0], 2, 2),  # not for three periods
        ([150.0, None, 150.0], 2, 2),
        ([60.0] * IN_PERIODS, 4, 4),
        ([55.0] * IN_PERIODS, 4, 4),  # below, but not well below
        ([15.0] * IN_PERIODS, 4, 1),
        ([0.0] * IN_PERIODS, 4, 0),
        ([15.0] * (IN_PERIODS - 1) + [60.0], 4, 4),
        (FULL, 4, 4),
        ([150.0] * 3, 0, 0),  # a target says nothing where there is no node
    ],
)
def test_a_tracked_target_of_sixty(values: list[float | None], capacity: int, wanted: int) -> None:
    assert track(values, 60.0, capacity) == wanted
