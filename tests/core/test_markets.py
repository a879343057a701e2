"""Where machines are asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.core.markets import (
    FIRST_PAUSE,
    FORGIVEN_SECONDS,
    HALF_LIFE,
    LONGEST_PAUSE,
    USUAL_RATE,
    Experience,
    Pool,
    in_order,
    lived,
    paused_text,
    refused,
    served,
)

SPOT_A, SPOT_B = Pool("spot", "a", "z1", 0.4), Pool("spot", "b", "z1", 0.5)
A, B = Pool("on-demand", "a", "z1", 1.0), Pool("on-demand", "b", "z1", 1.2)
ALL = [A, B, SPOT_A, SPOT_B]
NONE = "InsufficientInstanceCapacity"


def test_the_cheapest_first() -> None:
    assert in_order(ALL, Experience(), 0.0) == (SPOT_A, SPOT_B, A, B)


def test_a_fast_type_may_cost_more() -> None:
    assert in_order(ALL, Experience(), 0.0, seconds={"a": 30.0, "b": 20.0}) == (SPOT_B, SPOT_A, B, A)


def test_a_type_of_unknown_pace_is_as_fast_as_the_first() -> None:
    assert in_order(ALL, Experience(), 0.0, seconds={"a": 30.0}) == (SPOT_A, SPOT_B, A, B)


def test_an_urgent_launch_goes_on_demand_first() -> None:
    assert in_order(ALL, Experience(), 0.0, urgent=True) == (A, B, SPOT_A, SPOT_B)


def test_without_prices_spot_is_first_and_the_order_stays() -> None:
    pools = [Pool("spot", "b"), Pool("spot", "a"), Pool("on-demand", "b"), Pool("on-demand", "a")]
    assert in_order(pools, Experience(), 0.0) == tuple(pools)


def test_spot_that_costs_as_much_comes_second() -> None:
    dear = Pool("spot", "a", "z1", 1.01)
    assert in_order([dear, A], Experience(), 0.0) == (A, dear)


def test_pools_that_take_their_machines_back_come_later() -> None:
    seen = Experience(at=0.0)
    for hour in range(1, 13):
        seen = lived(seen, [SPOT_A, SPOT_B], [SPOT_A, SPOT_A], hour * 3600.0)
    assert seen.rate(SPOT_A) > 0.3 > 100 * USUAL_RATE > seen.rate(SPOT_B)
    assert seen.rate(A) == 0.0
    assert in_order(ALL, seen, 0.0, lost=1.0)[0] == SPOT_B
    assert in_order(ALL, seen, 0.0, lost=0.0)[0] == SPOT_A, "an interruption that costs nothing changes nothing"


def test_interruptions_are_forgotten() -> None:
    seen = lived(Experience(at=0.0), [SPOT_A], [SPOT_A], 60.0)
    later = lived(seen, [], [], 60.0 + HALF_LIFE)
    assert later.interruptions[str(SPOT_A)] == pytest.approx(0.5)
    assert lived(later, [], [], 1e9).interruptions == {}


def test_a_pool_that_refused_is_left_alone_longer_each_time() -> None:
    seen, now, pauses = Experience(), 0.0, []
    for _ in range(7):
        seen = refused(seen, {SPOT_A: NONE}, now)
        pauses.append(seen.refusals[str(SPOT_A)].pause)
        assert SPOT_A not in in_order(ALL, seen, now + pauses[-1] - 1)
        now += pauses[-1]
        assert in_order(ALL, seen, now)[0] == SPOT_A
    assert pauses == [60, 120, 240, 480, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    late = refused(seen, {SPOT_A: NONE}, now + FORGIVEN_SECONDS)
    assert late.refusals[str(SPOT_A)].pause == FIRST_PAUSE
    assert served(seen, [SPOT_A]).refusals == {}


def test_what_waits_is_told() -> None:
    seen = refused(Experience(), {SPOT_A: NONE, A: "VcpuLimitExceeded"}, 0.0)
    assert paused_text(ALL, seen, 20.0) == (
        "nothing could be had (on-demand a: VcpuLimitExceeded, spot a: InsufficientInstanceCapacity): "
        "asked again in 40 s"
    )
    assert paused_text(ALL, seen, 60.0) == ""


pools = st.lists(
    st.builds(
        Pool,
        st.sampled_from(["spot", "on-demand"]),
        st.sampled_from("abc"),
        st.sampled_from(["", "z1"]),
        st.none() | st.floats(0.01, 10),
    ),
    unique=True,
    max_size=8,
)


@given(pools, st.sets(st.integers(0, 7)), st.booleans())
def test_each_pool_once_and_none_that_refused(found: list[Pool], refusing: set[int], urgent: bool) -> None:
    gone = {pool for number, pool in enumerate(found) if number in refusing}
    order = in_order(found, refused(Experience(), dict.fromkeys(gone, NONE), 0.0), 1.0, urgent=urgent, lost=0.1)
    assert sorted(map(str, order)) == sorted(str(pool) for pool in found if pool not in gone)
