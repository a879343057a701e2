"""The rules of a lease: who holds it, and what is left when it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.core.lease import MOST_EVENTS, MOST_REASON, failed, finished, released, renewed
from minimoto.core.task import ClaimOutcome, Task, TaskKey, TaskResult, TaskState, try_claim

KEY = TaskKey("trip", 0, 3)
OWNER = "i-1/0/x"
RUNNING = try_claim(Task(KEY), OWNER, 10.0, 30.0).task

RULES = {
    "renew": lambda task, owner: renewed(task, owner, 20.0, 30.0, 0.5, "half"),
    "finish": lambda task, owner: finished(task, owner, 20.0, 10.0, TaskResult(("a.jpg",))),
    "fail": lambda task, owner: failed(task, owner, 20.0, "no memory", True),
    "give up": lambda task, owner: failed(task, owner, 20.0, "no memory", False),
    "release": lambda task, owner: released(task, owner, 20.0, "interrupted"),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    "task",
    [
        Task(KEY),
        replace(RUNNING, owner="i-2/0/y"),
        replace(RUNNING, owner=""),
        replace(RUNNING, state=TaskState.PENDING),
        replace(RUNNING, state=TaskState.DONE),
        replace(RUNNING, state=TaskState.FAILED),
    ],
)
def test_whoever_does_not_hold_the_lease_changes_nothing(name: str, task: Task) -> None:
    assert RULES[name](task, OWNER) is None


@pytest.mark.parametrize(
    ("name", "state", "attempt", "event"),
    [
        ("finish", TaskState.DONE, 1, ("done", "")),
        ("fail", TaskState.PENDING, 1, ("failed", "no memory")),
        ("give up", TaskState.FAILED, 1, ("failed", "no memory")),
        ("release", TaskState.PENDING, 0, ("released", "interrupted")),
    ],
)
def test_how_a_lease_ends(name: str, state: TaskState, attempt: int, event: tuple[str, str]) -> None:
    task: Any = RULES[name](RUNNING, OWNER)
    assert (task.state, task.attempt, task.owner, task.lease_until, task.note) == (state, attempt, "", 0.0, "")
    last = task.events[-1]
    assert (last.at, last.what, last.detail) == (20.0, *event)
    assert (last.stage, last.task, last.attempt, last.node) == (0, 3, 1, "i-1")
    assert task.events[:-1] == RUNNING.events


def test_a_renewal_changes_only_the_lease_and_the_progress() -> None:
    assert RULES["renew"](RUNNING, OWNER) == replace(RUNNING, lease_until=50.0, progress=0.5, note="half")


def test_a_long_reason_is_cut() -> None:
    task: Any = failed(RUNNING, OWNER, 20.0, "x" * 5000, True)
    assert len(task.error) == len(task.events[-1].detail) == MOST_REASON


@given(st.lists(st.sampled_from(["fail", "release", "expire"]), max_size=MOST_EVENTS))
def test_tries_that_are_released_do_not_count_and_others_do(ends: list[str]) -> None:
    task, now, counted = Task(KEY), 0.0, 0
    for end in ends:
        claim = try_claim(task, OWNER, now, 30.0)
        assert claim.outcome is ClaimOutcome.OURS
        assert claim.task.attempt == counted + 1
        now += 31.0
        task = claim.task
        if end != "expire":
            ended: Any = RULES[end](task, OWNER)
            task = ended
        counted += end != "release"
        assert task.attempt == counted
    assert len(task.events) <= MOST_EVENTS + 1


def test_any_number_of_interruptions_keeps_the_record_small() -> None:
    task = Task(KEY)
    for n in range(500):
        ended: Any = released(try_claim(task, OWNER, float(n), 30.0).task, OWNER, float(n), "interrupted")
        task = ended
    assert (task.attempt, len(task.events), task.events[-1].at) == (0, MOST_EVENTS, 499.0)
