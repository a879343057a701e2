"""The first minimoto's rule, kept for whoever relies on it.

Its description says, for each pass: (1) check that there is at least one service node, else scale out; (2) if nodes
have crashed, terminate and replace one of them; (3) visible messages: scale out; (4) messages in flight: nothing to
do; (5) else the queue is empty: if one node's CPU is over 5%, exit, otherwise scale in and leave only one.

Where that leaves room, it is read so: the first rule that applies ends the pass; scaling out means one node; crashed
is what a stopped node is, one that fails its status checks and one that has fenced itself; a crashed node is a node
for rule 1, so that rule 2 replaces it instead of both rules starting one. Kept from minimoto's limits: ``max_nodes``
and the budget bound it (the original had no cap), "one" is ``min_nodes`` where that is more, nodes are drained before
they are ended, so that none is killed at work, and what is unknown (no counts, no CPU datapoint) is never taken for
nothing to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minimoto.core.fleet import Wish
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import HALTED, Node, View
from minimoto.core.readable import counted

BUSY_CPU = 5.0
"""Percent of CPU above which a node is at work."""


@dataclass(frozen=True)
class Classic:
    """The five rules, in order."""

    limits: Limits

    def dead(self, view: View) -> Mapping[str, str]:
        """Rule 2 ends one crashed node a pass, the first in the list."""
        crashed = [(node.id, _crash(node)) for node in view.nodes or () if _crash(node)]
        return dict(crashed[:1])

    def wish(self, view: View, dead: Mapping[str, str], now: float) -> Wish:
        nodes = [node for node in view.nodes or () if node.counts or _crash(node)]
        least = max(1, self.limits.min_nodes)
        if len(nodes) + len(dead) < least:
            missing = least - len(nodes) - len(dead)
            return Wish(
                "none", f"rule 1: {counted(len(nodes), 'service node')}, {least} at least", launch=missing + len(dead)
            )
        if dead:
            return Wish("crashed", "rule 2: a new node replaces the crashed one", launch=1)
        if view.visible is None or view.in_flight is None:
            return Wish("hold", "the queue's counts are missing: neither out nor in")
        if view.visible > 0:
            return Wish("visible", f"rule 3: {counted(view.visible, 'visible message')}: one more node", launch=1)
        if view.in_flight > 0:
            return Wish("in-flight", f"rule 4: {counted(view.in_flight, 'message')} in flight: nothing to do")
        return _empty_queue([node for node in nodes if node.counts], least, view.reports_known)


def _empty_queue(nodes: Sequence[Node], least: int, reports_known: bool) -> Wish:
    """Rule 5."""
    if len(nodes) <= least:
        return Wish("steady", f"rule 5: the queue is empty, with {counted(len(nodes), 'service node')} left")
    unknown = [node.id for node in nodes if node.cpu is None]
    if unknown or not reports_known:
        what = f"no CPU datapoint of {unknown[0]}" if unknown else "the heartbeats are missing"
        return Wish("hold", f"rule 5: the queue is empty, but {what}: nothing is scaled in")
    at_work = [node for node in nodes if (node.cpu or 0.0) > BUSY_CPU]
    if at_work:
        return Wish("cpu", f"rule 5: the queue is empty, but {at_work[0].id} is at {at_work[0].cpu:.0f}% CPU")
    idle = [node.id for node in nodes if not node.busy]
    drain = tuple(idle[: len(nodes) - least])
    return Wish("drain", f"rule 5: the queue is empty, {least} service nodes are left", drain=drain)


def _crash(node: Node) -> str:
    if node.state in HALTED:
        return f"is {node.state}"
    if node.up and node.healthy is False:
        return "fails its status checks"
    if node.up and node.fenced and not node.busy:
        return "took itself out after failing task after task"
    return ""
