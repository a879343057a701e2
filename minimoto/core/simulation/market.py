"""What EC2 has when nodes are wanted, and for how much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minimoto.core.markets import Pool


@dataclass(frozen=True)
class Offer:
    """One kind of node, such as a type on spot in a zone.

    Parameters:
        name: for a person, such as ``spot``.
        market: ``spot`` or ``on-demand``.
        share: of the world's price, that it costs.
        interruptions: of one node, an hour.
        droughts: from when to when none can be had and all are taken back, seconds from the start.
    """

    name: str
    market: str
    share: float = 1.0
    interruptions: float = 0.0
    droughts: Sequence[tuple[float, float]] = ()

    def pool(self, price: float) -> Pool:
        """As a rule knows it.

        Parameters:
            price: of a node on demand, US dollars an hour.
        """
        return Pool(self.market, self.name, price=price * self.share)

    def there_is(self, at: float) -> bool:
        """Whether it can be had."""
        return not any(start <= at < end for start, end in self.droughts)


TAKEN_BACK = 600.0
"""Seconds from a drought's beginning within which all nodes are taken back, one after another."""

ON_DEMAND = Offer("on-demand", "on-demand")

SPOT_SHARE = 0.35
"""Of the price on demand. AWS: "up to 90 percent" less (EC2 pricing); a third is what GPU types come to."""


def spot(
    interruptions: float = 0.0,
    droughts: Sequence[tuple[float, float]] = (),
    name: str = "spot",
    share: float = SPOT_SHARE,
) -> Offer:
    """Nodes on spot."""
    return Offer(name, "spot", share, interruptions, droughts)


def had(offers: Sequence[Offer], wanted: int, at: float) -> Iterator[tuple[Offer, int]]:
    """What comes of asking for ``wanted`` nodes: the offers in their order, as the fleet asks EC2; nothing: refused.

    Spot first, on demand where there is none, is how ``Ec2Fleet`` asks (:mod:`minimoto.aws.fleet`).
    """
    for offer in offers:
        if wanted and offer.there_is(at):
            yield offer, wanted
            return
