"""What a job has cost, and what its budget still allows. Pure.

A job pays for the time that its tasks hold slots, failed tries and those under way included; boots and idle nodes are
the fleet's. Times are seconds, money is US dollars.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor

from minimoto.core.task import Task, TaskState


def slot_seconds(tasks: Iterable[Task], now: float) -> float:
    """Seconds for which tasks have held slots until ``now``."""
    return sum(_held(task, now) for task in tasks)


def _held(task: Task, now: float) -> float:
    """A try ends with the event after its claim, which may be the next claim; one under way lasts until now."""
    ends = [event.at for event in task.events[1:]]
    if task.state is TaskState.RUNNING:
        ends.append(now)
    return sum(
        max(0.0, end - event.at) for event, end in zip(task.events, ends, strict=False) if event.what == "claimed"
    )


def dollars(seconds: float, slots: int, per_hour: float) -> float:
    """What so many seconds of a slot cost on nodes of so many slots."""
    return seconds / max(1, slots) / 3600 * per_hour


def budget_of(own: float | None, most: float) -> float | None:
    """A job's budget: its own, and at most the fleet's (0: none); ``None``: neither."""
    named = [budget for budget in (own, most or None) if budget is not None]
    return min(named) if named else None


def horizon(left: float, per_hour: float, tasks: int, each: float, slots: int, boot: float) -> float:
    """The least seconds within which ``left`` dollars pay for tasks and for the boots of their nodes.

    More nodes are sooner done and boot more often: as many are taken as can be paid, one at least.

    Parameters:
        each: seconds of a task.
    """
    spare = left / per_hour * 3600 - tasks * each / slots
    nodes = min(tasks, max(1, floor(spare / boot))) if boot > 0 else max(1, tasks)
    return boot + ceil(tasks / (slots * max(1, nodes))) * each
