"""How long steps take an input, by type of machine."""

from __future__ import annotations

import pytest

from minimoto.core.fleet_view import JobView
from minimoto.core.paces import by_type, learnt, pace


def test_a_pace_is_a_running_mean() -> None:
    first = learnt({}, {"style": {"a": 4.0}})
    assert first == {"style": {"a": 4.0}}
    assert learnt(first, {"style": {"a": 2.0, "b": 8.0}, "video": {"a": 1.0}}) == {
        "style": {"a": 3.0, "b": 8.0},
        "video": {"a": 1.0},
    }
    assert first == {"style": {"a": 4.0}}


@pytest.mark.parametrize(
    ("types", "seconds"), [(["a"], 2.0), (["b"], 6.0), (["a", "b", "b"], 14 / 3), ([], 4.0), (["c"], 4.0)]
)
def test_the_pace_of_a_fleet_is_that_of_its_types(types: list[str], seconds: float) -> None:
    assert pace({"style": {"a": 2.0, "b": 6.0}}, "style", types) == pytest.approx(seconds)


def test_an_unknown_step_has_no_pace() -> None:
    assert pace({}, "style", ["a"]) is None


def test_types_are_compared_by_the_work_that_is_left() -> None:
    paces = {"style": {"a": 2.0, "b": 1.0}, "video": {"a": 1.0, "b": 3.0, "c": 9.0}}
    jobs = [
        JobView("1", 5, step="style", inputs_left=10),
        JobView("2", 1, step="video", inputs_left=10),
        JobView("3", 1, step="faces", inputs_left=99),
    ]
    assert by_type(paces, jobs[:1]) == {"a": 20.0, "b": 10.0}
    assert by_type(paces, jobs) == {"a": 30.0, "b": 40.0}
    assert by_type(paces, jobs[2:]) == {}
