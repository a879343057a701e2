"""Items through three overlapping stages: in order, bounded, and ended cleanly."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.engines.runtime_pipeline import in_stages


class Unusable(Exception):
    pass


def doubled(numbers: Sequence[int]) -> list[int]:
    return [2 * number for number in numbers]


def refuse(*bad: int):
    def stage(number: int) -> int:
        if number in bad:
            raise Unusable(f"not {number}")
        return number

    return stage


def same(number: int) -> int:
    return number


@given(st.lists(st.integers(0, 9)), st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.sets(st.integers(0, 9)))
def test_each_item_has_one_outcome_in_order(
    items: list[int], depth: int, readers: int, batch: int, bad: set[int]
) -> None:
    groups: list[list[int]] = []

    def compute(numbers: Sequence[int]) -> list[int]:
        groups.append(list(numbers))
        return doubled(numbers)

    outcomes = list(
        in_stages(
            items,
            refuse(*bad),
            compute,
            str,
            expected=(Unusable,),
            depth=depth,
            readers=readers,
            batch=batch,
            alike=lambda number: number % 2,
        )
    )
    said = [str(one) for one in outcomes]
    assert said == [f"not {item}" if item in bad else str(2 * item) for item in items]
    assert all(len(group) <= batch and len({number % 2 for number in group}) == 1 for group in groups)


def test_batches_are_filled() -> None:
    sizes = []

    def compute(numbers: Sequence[int]) -> list[int]:
        sizes.append(len(numbers))
        return doubled(numbers)

    list(in_stages(range(10), same, compute, same, batch=4))
    assert sizes == [4, 4, 2]


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_an_unexpected_error_comes_in_its_turn(stage: str) -> None:
    def fail(number: int) -> int:
        if number == 3:
            raise OSError("disk")
        return number

    stages = {"read": same, "compute": list, "write": same}
    stages[stage] = (lambda numbers: [fail(number) for number in numbers]) if stage == "compute" else fail
    seen = []
    with pytest.raises(OSError, match="disk"):
        seen.extend(in_stages(range(100), stages["read"], stages["compute"], stages["write"]))
    assert seen == [0, 1, 2]


def test_an_expected_error_of_a_batch_stands_for_all_of_it() -> None:
    def compute(numbers: Sequence[int]) -> list[int]:
        if 2 in numbers:
            raise Unusable("memory")
        return list(numbers)

    outcomes = list(in_stages(range(6), same, compute, same, expected=(Unusable,), batch=2))
    assert [str(one) for one in outcomes] == ["0", "1", "memory", "memory", "4", "5"]


def test_no_more_is_read_ahead_than_was_allowed() -> None:
    read: list[int] = []

    def remember(item: int) -> int:
        read.append(item)
        return item

    outcomes = in_stages(range(100), remember, doubled, same, depth=2)
    next(outcomes)
    # Three computed (one yielded, two that wait), and two read ahead.
    assert len(read) <= 6
    outcomes.close()
    assert len(read) <= 6


def test_the_stages_overlap() -> None:
    """Reading the second waits for computing the first, which waits for that reading to have begun."""
    begun = threading.Event()

    def read(item: int) -> int:
        if item == 1:
            begun.set()
        return item

    def compute(numbers: Sequence[int]) -> list[int]:
        assert begun.wait(20)
        return list(numbers)

    written = threading.Event()

    def write(item: int) -> int:
        if item == 1:
            assert written.wait(20)
        return item

    outcomes = in_stages(range(4), read, compute, write, depth=1)
    assert next(outcomes) == 0
    written.set()
    assert list(outcomes) == [1, 2, 3]


def test_a_wrong_number_of_results_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 results for 1 items"):
        list(in_stages([1], same, lambda numbers: [1, 2], same))


def test_bad_bounds() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        list(in_stages([1], same, doubled, same, depth=0))
