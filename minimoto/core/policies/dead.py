"""When a node is called dead."""

from __future__ import annotations

from collections.abc import Mapping

from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import HALTED, Node, View

BOOTS = 3.0
LEAST_BIRTH = 60.0
"""A node that has not reported after three times the usual boot, and a minute, shows a symptom."""

STALL_SECONDS = 900.0
STALL_TASKS = 5.0
"""So does a busy node without progress for a quarter of an hour and five tasks' time: services end hangs earlier."""

DEADLY_STRIKES = 2


def symptom(node: Node, view: View, limits: Limits, now: float) -> str:
    """What is wrong with a node at this look, for a person; empty: nothing.

    CPU is no evidence: a node that waits for its GPU needs none, and a hanging one may spin. A step that makes no
    progress is. Without heartbeats to look at, only what the provider says counts.
    """
    if node.state in HALTED:
        return f"is {node.state}"
    if not node.up:
        return ""
    if node.healthy is False:
        return "fails its status checks"
    if not view.reports_known:
        return ""
    return _silence(node, view, limits, now) or _stall(node, view, limits)


def _silence(node: Node, view: View, limits: Limits, now: float) -> str:
    if not node.reported:
        age = now - node.launched
        birth = max(LEAST_BIRTH, BOOTS * max(view.boot_seconds or 0.0, limits.boot_seconds))
        return f"has not reported within {age:.0f} s of its launch" if age >= birth else ""
    if node.heartbeat is not None and node.heartbeat >= limits.strike_seconds:
        return f"has been silent for {node.heartbeat:.0f} s"
    return ""


def _stall(node: Node, view: View, limits: Limits) -> str:
    patience = max(STALL_SECONDS, STALL_TASKS * (view.seconds_per_task or limits.task_seconds))
    if node.busy and node.progress is not None and node.progress >= patience:
        return f"is busy without progress for {node.progress:.0f} s"
    return ""


def two_strikes(view: View) -> Mapping[str, str]:
    """The nodes that showed a symptom twice, and those that fenced themselves and hold nothing."""
    dead = {}
    for node in view.nodes or ():
        if node.strikes >= DEADLY_STRIKES:
            dead[node.id] = node.symptom
        elif node.fenced and not node.busy and node.up:
            dead[node.id] = "took itself out after failing task after task"
    return dead
