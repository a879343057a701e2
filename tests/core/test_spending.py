"""What a job has cost, and what its budget allows."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.core.job import Entry
from minimoto.core.spending import budget_of, dollars, horizon, slot_seconds
from minimoto.core.task import Task, TaskKey, TaskState

KEY = TaskKey("trip-1", 0, 0)


def task(state: TaskState, *events: tuple[float, str]) -> Task:
    return Task(KEY, state, events=tuple(Entry(at, what) for at, what in events))


@pytest.mark.parametrize(
    ("record", "seconds"),
    [
        (task(TaskState.PENDING), 0),
        (task(TaskState.RUNNING, (10, "claimed")), 90),
        (task(TaskState.DONE, (10, "claimed"), (40, "done")), 30),
        (task(TaskState.PENDING, (10, "claimed"), (15, "failed")), 5),
        (task(TaskState.RUNNING, (10, "claimed"), (15, "failed"), (80, "claimed")), 25),
        (task(TaskState.RUNNING, (10, "claimed"), (70, "claimed")), 90),
        (task(TaskState.RUNNING, (10, "claimed"), (12, "released"), (20, "claimed"), (25, "lost"), (99, "claimed")), 8),
    ],
    ids=["waiting", "under way", "done", "failed", "tried again", "its worker died", "given back and lost"],
)
def test_slots_are_paid_from_claim_to_end(record: Task, seconds: float) -> None:
    assert slot_seconds([record], 100.0) == seconds
    assert slot_seconds([record, record], 100.0) == 2 * seconds


def test_slots_side_by_side_share_a_nodes_price() -> None:
    assert dollars(7200, 1, 0.5) == 1.0
    assert dollars(7200, 4, 0.5) == 0.25


@pytest.mark.parametrize(
    ("own", "most", "budget"), [(None, 0.0, None), (2.0, 0.0, 2.0), (None, 3.0, 3.0), (2.0, 3.0, 2.0), (9.0, 3.0, 3.0)]
)
def test_the_smaller_budget_binds(own: float | None, most: float, budget: float | None) -> None:
    assert budget_of(own, most) == budget


def test_a_budget_pays_for_so_many_boots() -> None:
    # A dollar an hour: 1000 s of work and four boots of 100 s are 1400 s, $0.389.
    assert horizon(0.389, 1.0, 40, 25.0, 1, 100.0) == 100 + 10 * 25
    assert horizon(0.1, 1.0, 40, 25.0, 1, 100.0) == 1100, "one node at least"
    assert horizon(1e6, 1.0, 40, 25.0, 1, 100.0) == 125, "never more nodes than tasks"


@given(
    st.floats(0, 100), st.floats(0.01, 10), st.integers(1, 500), st.floats(1, 300), st.integers(1, 8), st.floats(1, 600)
)
def test_the_nodes_that_the_horizon_needs_can_be_paid(
    left: float, price: float, tasks: int, each: float, slots: int, boot: float
) -> None:
    seconds = horizon(left, price, tasks, each, slots, boot)
    rounds = round((seconds - boot) / each)
    nodes = ceil(tasks / (slots * rounds))
    assert nodes == 1 or (nodes * boot + tasks * each / slots) * price / 3600 <= left * (1 + 1e-9) + 1e-9
    assert horizon(left + 1, price, tasks, each, slots, boot) <= seconds, "more money is never slower"
