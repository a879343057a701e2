"""Nodes kept beside those that the work needs (``spare_nodes``, ``spare_share``): what comes next finds them ready."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fleet_views import NOW

from minimoto.core.fleet import Decision, Drain, decide
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import JobView, Node, View
from minimoto.core.policies import choose
from minimoto.errors import ConfigError

LIMITS = Limits(
    min_nodes=0, max_nodes=20, target_seconds=30, boot_seconds=100, task_seconds=30, cooldown=60, pass_seconds=15
)
BUSY = Node("b", launched=NOW - 500, healthy=True, cpu=90.0, reported=True, heartbeat=5, slots=1, busy=True)
IDLE = replace(BUSY, id="i", cpu=1.0, busy=False, idle_since=NOW - 100)


def view(busy: int, idle: int, tasks: int) -> View:
    """So many nodes, and a job of so many tasks that are to be done at once: a node for each."""
    nodes = [replace(BUSY, id=f"b{i}") for i in range(busy)] + [replace(IDLE, id=f"i{i}") for i in range(idle)]
    jobs = (JobView("j", tasks, created=NOW - 5),) if tasks else ()
    return View(tuple(nodes), max(0, tasks - busy), min(tasks, busy), 0, jobs=jobs, token="t")


def decided(seen: View, **settings: float) -> Decision:
    return decide(seen, choose("target", replace(LIMITS, **settings)), NOW)


@pytest.mark.parametrize(
    ("settings", "busy", "idle", "tasks", "new"),
    [
        ({"spare_nodes": 3}, 0, 0, 0, 3),
        ({"spare_nodes": 3}, 0, 3, 0, 0),
        ({"spare_nodes": 3}, 4, 0, 8, 5),
        ({"spare_nodes": 3}, 4, 4, 8, 1),
        ({"spare_share": 0.5}, 0, 0, 0, 0),
        ({"spare_share": 0.5}, 4, 0, 8, 5),
        ({"spare_share": 0.25, "spare_nodes": 3}, 4, 0, 8, 5),
        ({"spare_nodes": 3, "min_nodes": 9}, 0, 0, 0, 9),
        ({"spare_nodes": 3, "thrifty": True}, 0, 0, 0, 3),
    ],
)
def test_nodes_are_started_beside_those_that_the_work_needs(
    settings: dict[str, float], busy: int, idle: int, tasks: int, new: int
) -> None:
    assert decided(view(busy, idle, tasks), **settings).launches == new


def test_spare_nodes_stay_however_long_they_are_idle() -> None:
    assert decided(view(0, 3, 0), spare_nodes=3).rule == "steady"
    drained = [a for a in decided(view(0, 5, 0), spare_nodes=3).actions if isinstance(a, Drain)]
    assert len(drained) == 2


def test_spare_nodes_beyond_the_most_are_not_asked_for() -> None:
    decision = decided(view(10, 5, 10), spare_nodes=30, max_nodes=15)
    assert (decision.launches, decision.rule) == (0, "steady")


def test_the_reason_names_them() -> None:
    decision = decided(view(4, 4, 8), spare_nodes=3)
    assert decision.rule == "spare"
    assert "9 nodes with the spare ones, there are 8" in decision.reason


def test_without_counts_as_many_are_kept_as_are_always_spare() -> None:
    blind = replace(view(0, 1, 0), visible=None, in_flight=None, jobs=None)
    assert decided(blind, spare_nodes=3).launches == 2


@pytest.mark.parametrize("name", ["spare_nodes", "spare_share"])
def test_fewer_than_none_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is -1: it may not be negative"):
        replace(LIMITS, **{name: -1})
