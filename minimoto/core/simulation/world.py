"""What the simulated cloud does by itself: boots, prices, interruptions, crashes, late counts. Each with its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """The cloud's side of a simulation. Times are seconds.

    Parameters:
        boot: least, usual and longest time from launch to the first heartbeat. Users of runner fleets report 86 to
            163 s for a prebuilt image and 45 to 60 s for a tuned one (terraform-aws-github-runner, issues 1766, 4637).
        boots: the boots of the first nodes, in the order of their launch, where they are known.
        slots: workers on a node.
        price: US dollars an hour of a node on demand; g5.xlarge in us-east-1.
        spot: what a spot node costs of that. AWS: "up to 90 percent" less; a third is what GPU types come to.
        spot_share: of the nodes, those on spot.
        minimum: seconds that a node is billed at least (EC2 bills Linux by the second, 60 at least).
        interruptions: of a spot node, an hour. The Spot Instance Advisor's middle class, 10 to 15 % a month, is 0.0002.
        notice: how long before its end a spot node is told (EC2: two minutes).
        crashes: of a node, an hour: it stops working and reporting without a word.
        checks: seconds after which a crashed node fails its status checks (EC2: two of them, a minute apart).
        droughts: from when to when no spot node can be had and all are taken back.
        counts_late: the queue's counts are as old as this at most. SQS: they "may not achieve consistency until at
            least 1 minute after the producers stop sending messages".
        visibility: how long a message of a node that died stays hidden.
        heartbeat: how often a node reports.
    """

    boot: tuple[float, float, float] = (60.0, 100.0, 170.0)
    boots: Sequence[float] = ()
    slots: int = 1
    price: float = 1.006
    spot: float = 0.35
    spot_share: float = 0.0
    minimum: float = 60.0
    interruptions: float = 0.0
    notice: float = 120.0
    crashes: float = 0.0
    checks: float = 120.0
    droughts: Sequence[tuple[float, float]] = ()
    counts_late: float = 60.0
    visibility: float = 120.0
    heartbeat: float = 20.0

    def cost(self, launched: float, ended: float, market: str) -> float:
        """US dollars of one node's life."""
        seconds = max(self.minimum, ended - launched)
        return seconds / 3600 * self.price * (self.spot if market == "spot" else 1.0)

    def in_drought(self, at: float) -> bool:
        """Whether spot nodes cannot be had."""
        return any(start <= at < end for start, end in self.droughts)
