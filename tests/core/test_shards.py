"""Sharding, retries, leases and manifests."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.core.manifest import Item, dump_items, load_items, object_name, safe_name
from minimoto.core.retry import MOST_ATTEMPTS, backoff, may_retry
from minimoto.core.shards import shard_of, shard_size, task_count
from minimoto.core.task import ClaimOutcome, Task, TaskKey, TaskState, try_claim
from minimoto.errors import InvalidMessage


@given(st.integers(1, 5000), st.integers(1, 60))
def test_shards_cover_the_inputs_in_order_and_evenly(items: int, size: int) -> None:
    tasks = task_count(items, size)
    shards = [shard_of(range(items), tasks, task) for task in range(tasks)]
    assert [item for shard in shards for item in shard] == list(range(items))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_task_takes_tens_of_seconds() -> None:
    assert shard_size(0.5) == 60
    assert shard_size(300.0) == 1
    assert shard_size(0.0) == 1
    assert task_count(100_000, 1) == 400
    with pytest.raises(ValueError, match="at least one input"):
        task_count(0, 1)
    with pytest.raises(ValueError, match="no task"):
        shard_of([1, 2], 2, 2)


@given(st.integers(1, 60), st.floats(0, 1))
def test_backoff_grows_and_is_bounded(attempt: int, fraction: float) -> None:
    assert 1.0 <= backoff(attempt, fraction) <= 300.0
    assert backoff(attempt, 0.0) <= backoff(attempt + 1, 0.0)


def test_the_last_attempt_is_the_last() -> None:
    assert may_retry(1, wanted=True)
    assert not may_retry(1, wanted=False)
    assert not may_retry(MOST_ATTEMPTS, wanted=True)


def test_a_lease_is_taken_when_free_or_ended() -> None:
    fresh = Task(TaskKey("trip-1", 0, 3))
    first = try_claim(fresh, "n1/0/x", 10.0, 5.0)
    assert (first.outcome, first.task.attempt, first.task.lease_until) == (ClaimOutcome.OURS, 1, 15.0)
    assert try_claim(first.task, "n2/0/y", 14.9, 5.0).outcome is ClaimOutcome.BUSY
    second = try_claim(first.task, "n2/0/y", 15.0, 5.0)
    assert (second.outcome, second.task.attempt, second.task.owner) == (ClaimOutcome.OURS, 2, "n2/0/y")
    assert [entry.node for entry in second.task.events] == ["n1", "n2"]
    for state, outcome in [(TaskState.DONE, ClaimOutcome.DONE), (TaskState.FAILED, ClaimOutcome.FAILED)]:
        assert try_claim(Task(fresh.key, state), "n1/0/x", 0.0, 5.0).outcome is outcome


@given(st.text(max_size=300), st.integers(0, 99_999))
def test_any_file_name_becomes_a_harmless_one(original: str, index: int) -> None:
    name = object_name(index, original)
    assert safe_name(name) == name
    assert PurePosixPath("folder", name).parent == PurePosixPath("folder")
    assert ".." not in PurePosixPath(name).parts


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "a\nb", "x" * 300, "../../etc/passwd"])
def test_names_that_could_leave_their_folder_are_refused(name: str) -> None:
    with pytest.raises(InvalidMessage):
        safe_name(name)


def test_manifest_round_trip() -> None:
    items = (Item("000000-a.jpg", "Ä b.jpg", 7), Item("000001-c.png", "c.png", 8))
    assert load_items(dump_items(items)) == items


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"photos":[[1]]}', '{"photos":[["../a","a",1]]}', '{"photos":3}'])
def test_a_damaged_manifest_is_refused(text: str) -> None:
    with pytest.raises(InvalidMessage):
        load_items(text)
