"""How a stage's inputs are spread over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

TASK_SECONDS = 30.0
"""How long a task should take: long against the queue's overhead, short against a lost node."""

MOST_TASKS = 400
"""Tasks of one stage at most: they are all named in one job document (DynamoDB: 400 KB an item)."""

MOST_INPUTS = 500
"""Inputs of one task at most, unless there are too few tasks for that: its record names each of them."""

T = TypeVar("T")


def shard_size(seconds_per_item: float, task_seconds: float = TASK_SECONDS) -> int:
    """Inputs of one task, so that it takes about ``task_seconds``, or less where it would have very many."""
    if seconds_per_item <= 0:
        return 1
    return max(1, min(MOST_INPUTS, round(task_seconds / seconds_per_item)))


def task_count(items: int, size: int, most: int = MOST_TASKS) -> int:
    """Number of tasks for ``items`` inputs (at least one input) at ``size`` a task."""
    if items < 1:
        raise ValueError(f"a stage needs at least one input, not {items}")
    return min(most, -(-items // max(1, size)))


def shard_bounds(items: int, tasks: int, task: int) -> tuple[int, int]:
    """First and past-the-last input of one task: shards are contiguous and differ by one input at most."""
    if not 0 <= task < tasks <= items:
        raise ValueError(f"no task {task} of {tasks} over {items} inputs")
    return task * items // tasks, (task + 1) * items // tasks


def shard_of(items: Sequence[T], tasks: int, task: int) -> Sequence[T]:
    """The inputs of one task."""
    start, stop = shard_bounds(len(items), tasks, task)
    return items[start:stop]
