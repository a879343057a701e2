"""``thrifty``: nothing is started before it must be, and nothing is kept for what waits for a boot anyway."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fleet_views import NOW

from minimoto.core.fleet import decide
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import JobView, Node, View
from minimoto.core.policies import choose

LIMITS = Limits(
    min_nodes=0, max_nodes=8, target_seconds=900, boot_seconds=100, task_seconds=30, cooldown=300, pass_seconds=15,
    thrifty=True,
)  # fmt: skip
IDLE = Node("a", launched=NOW - 500, healthy=True, cpu=1.0, reported=True, heartbeat=5, slots=1, idle_since=NOW - 5)


def rule(view: View, limits: Limits = LIMITS) -> str:
    return decide(view, choose("target", limits), NOW).rule


def view(*nodes: Node, waited: float | None = None) -> View:
    jobs = () if waited is None else (JobView("j", 1, created=NOW - waited),)
    return View(nodes, len(jobs), 0, 0, jobs=jobs, token="t")


@pytest.mark.parametrize(
    ("waited", "expected"),
    [
        # 900 s, less two passes that what is done shows, less 130 s of a long boot, 45 s of a long task, two passes.
        (660.0, "wait"),
        (670.0, "launch"),
    ],
)
def test_the_first_node_is_started_in_time_for_a_long_boot(waited: float, expected: str) -> None:
    assert rule(view(waited=waited)) == expected


def test_an_idle_node_goes_at_once_when_nothing_is_left() -> None:
    assert rule(view(IDLE)) == "drain"
    assert rule(view(IDLE), replace(LIMITS, thrifty=False)) == "cooldown"
    assert rule(replace(view(IDLE), last_scale_out=NOW - 5)) == "drain"


def test_an_idle_node_rests_while_there_is_work() -> None:
    assert rule(view(IDLE, replace(IDLE, id="b"), waited=10.0)) == "cooldown"
