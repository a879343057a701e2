"""What a job will take and cost, before it is sent: for each size of the fleet, from the times of its steps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class StageWork:
    """One stage.

    Parameters:
        step: its name.
        tasks: how many; they run side by side.
        seconds: that one takes a slot.
        measured: whether that was tried here; else it is what the fleet's nodes took lately, or known beforehand.
        learnt: whether it is what the fleet's nodes took lately.
    """

    step: str
    tasks: int
    seconds: float
    measured: bool = False
    learnt: bool = False

    @property
    def source(self) -> str:
        """Where ``seconds`` is from, for a person."""
        return "tried here" if self.measured else "as the nodes took lately" if self.learnt else "known beforehand"


@dataclass(frozen=True)
class Prices:
    """What nodes cost, and how fast they come.

    Parameters:
        per_hour: US dollars of one node; ``None``: unknown.
        boot: seconds from launch to the first task.
        slots: workers on a node.
        cooldown: seconds that a node with nothing to do is kept.
        ready: nodes that are there already and idle.
    """

    per_hour: float | None
    boot: float
    slots: int = 1
    cooldown: float = 0.0
    ready: int = 0


@dataclass(frozen=True)
class Offer:
    """One way to do it.

    Parameters:
        nodes: at most.
        seconds: until it is done.
        cost: US dollars; ``None``: the price of a node is unknown.
    """

    nodes: int
    seconds: float
    cost: float | None


def offers(stages: Sequence[StageWork], prices: Prices, most: int) -> list[Offer]:
    """What each number of nodes from 1 to ``most`` comes to; more nodes than tasks are left out.

    Stages follow each other; a stage's tasks are dealt out in rounds. Nodes are paid from their launch; those that a
    stage has no task for go after the cooldown and come back for one that does.
    """
    useful = max(ceil(stage.tasks / prices.slots) for stage in stages)
    return [_offer(stages, prices, nodes) for nodes in range(1, min(most, max(1, useful)) + 1)]


def _offer(stages: Sequence[StageWork], prices: Prices, nodes: int) -> Offer:
    seconds = paid = 0.0
    up = min(nodes, prices.ready)
    for stage in stages:
        used = min(nodes, ceil(stage.tasks / prices.slots))
        boot = prices.boot if used > up else 0.0
        length = ceil(stage.tasks / (used * prices.slots)) * stage.seconds
        seconds += boot + length
        paid += used * length + max(0, used - up) * boot + min(up, used) * boot
        paid += max(0, up - used) * min(prices.cooldown, boot + length)
        up = used
    paid += up * prices.cooldown
    cost = None if prices.per_hour is None else paid / 3600 * prices.per_hour
    return Offer(nodes, seconds, cost)


def fastest(found: Sequence[Offer]) -> Offer:
    """The one that is done first; of equals the cheapest."""
    return min(found, key=lambda offer: (offer.seconds, offer.cost or 0.0, offer.nodes))


def within(found: Sequence[Offer], seconds: float) -> Offer | None:
    """The cheapest that is done in time, if there is one."""
    in_time = [offer for offer in found if offer.seconds <= seconds]
    return min(in_time, key=lambda offer: (offer.cost or 0.0, offer.nodes), default=None)


def for_budget(found: Sequence[Offer], dollars: float) -> Offer | None:
    """The fastest that costs no more, if there is one."""
    affordable = [offer for offer in found if offer.cost is not None and offer.cost <= dollars]
    return min(affordable, key=lambda offer: (offer.seconds, offer.nodes), default=None)
