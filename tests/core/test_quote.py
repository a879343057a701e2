"""What a job will take and cost, by number of nodes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.core.quote import Prices, StageWork, fastest, for_budget, offers, within

PRICES = Prices(per_hour=3.6, boot=100.0)


def test_one_stage_by_hand() -> None:
    found = offers([StageWork("style", 10, 30.0)], PRICES, 8)
    assert [offer.nodes for offer in found] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (found[0].seconds, found[0].cost) == (400.0, pytest.approx(0.4))
    assert (found[4].seconds, found[4].cost) == (160.0, pytest.approx(0.8))
    assert within(found, 250.0) == found[1]
    assert within(found, 100.0) is None
    assert for_budget(found, 0.55) == found[1]
    assert for_budget(found, 0.1) is None
    assert fastest(found) == found[4]


def test_a_film_after_many_tasks_keeps_one_node() -> None:
    found = offers([StageWork("style", 4, 30.0), StageWork("video", 1, 60.0)], PRICES, 8)
    assert len(found) == 4
    assert (found[3].seconds, found[3].cost) == (190.0, pytest.approx((4 * 130 + 60) / 1000))


def test_nodes_that_are_there_need_no_boot_and_the_cooldown_is_paid() -> None:
    [one] = offers([StageWork("fit", 2, 10.0)], Prices(3.6, 100.0, slots=2, cooldown=30.0, ready=1), 5)
    assert (one.seconds, one.cost) == (10.0, pytest.approx(0.04))


def test_without_a_price_there_is_time_alone() -> None:
    found = offers([StageWork("fit", 4, 10.0)], Prices(None, 100.0), 2)
    assert [offer.cost for offer in found] == [None, None]
    assert for_budget(found, 1.0) is None
    assert within(found, 1e6) == found[0]


@given(
    st.lists(st.builds(StageWork, st.just("s"), st.integers(1, 60), st.floats(0.1, 500)), min_size=1, max_size=4),
    st.integers(1, 4),
    st.integers(0, 5),
    st.integers(1, 30),
)
def test_more_nodes_are_slower_by_their_boots_at_most_and_work_is_always_paid(
    stages: list[StageWork], slots: int, ready: int, most: int
) -> None:
    found = offers(stages, Prices(3600.0, 60.0, slots, 0.0, ready), most)
    assert 1 <= len(found) <= most
    work = sum(stage.tasks * stage.seconds for stage in stages) / slots
    for fewer, more in pairwise(found):
        assert more.seconds <= fewer.seconds + len(stages) * 60.0 + 1e-6
    assert all(offer.cost is not None and offer.cost >= work - 1e-6 for offer in found)
