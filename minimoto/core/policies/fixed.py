"""The size set by hand: ``--scale_to=N``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from minimoto.core.fleet import Wish
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import Node, View
from minimoto.core.policies.dead import two_strikes


@dataclass(frozen=True)
class Fixed:
    """Keeps ``size`` nodes, whatever the queue says; broken ones are replaced."""

    limits: Limits
    size: int

    def dead(self, view: View) -> Mapping[str, str]:
        return two_strikes(view)

    def wish(self, view: View, dead: Mapping[str, str], now: float) -> Wish:
        nodes = view.counted
        by_hand = f"the size is set by hand to {self.size} (--scale_to=auto ends that)"
        if len(nodes) < self.size:
            return Wish("by-hand", by_hand, launch=self.size - len(nodes))
        if len(nodes) > self.size:
            leaving = sorted(nodes, key=_most_idle_first)[: len(nodes) - self.size]
            return Wish("by-hand", by_hand, drain=tuple(node.id for node in leaving), firm=True)
        return Wish("by-hand", by_hand)


def _most_idle_first(node: Node) -> tuple[int, float, str]:
    """Idle nodes, the longest idle first; then booting ones, then those with the fewest busy slots."""
    if node.idle_since is not None and not node.busy:
        return (0, node.idle_since, node.id)
    return (1 if node.booting else 2, float(node.busy), node.id)
