"""What the simulated cloud does by itself: boots, prices, interruptions, crashes, late counts. Each with its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

from minimoto.core.simulation.market import ON_DEMAND, Offer

METRICS_LATE = 60.0


@dataclass(frozen=True)
class World:
    """The cloud's side of a simulation. Times are seconds.

    Parameters:
        boot: least, usual and longest time from launch to the first heartbeat. Users of runner fleets report 86 to
            163 s for a prebuilt image and 45 to 60 s for a tuned one (terraform-aws-github-runner, issues 1766, 4637).
        boots: the boots of the first nodes, in the order of their launch, where they are known.
        slots: workers on a node.
        price: US dollars an hour of a node on demand; g5.xlarge in us-east-1.
        offers: what EC2 is asked for, the first that there is; spot first, then on demand, where spot is wished for.
        minimum: seconds that a node is billed at least (EC2 bills Linux by the second, 60 at least).
        notice: how long before its end a spot node is told (EC2: two minutes).
        crashes: of a node, an hour: it stops working and reporting without a word.
        checks: seconds after which a crashed node fails its status checks (EC2: two of them, a minute apart).
        counts_late: the queue's counts are as old as this at most. SQS: they "may not achieve consistency until at
            least 1 minute after the producers stop sending messages".
        queue_period, cpu_period: how often CloudWatch has a datapoint of the queue, and of a node's CPU. SQS pushes its
            metrics "at one-minute intervals"; without detailed monitoring EC2's come "at 5-minute intervals".
        metrics_late: after the end of its period, that a datapoint can be read. AWS names no time; a minute is assumed.
        visibility: how long a message of a node that died stays hidden.
        heartbeat: how often a node reports.
    """

    boot: tuple[float, float, float] = (60.0, 100.0, 170.0)
    boots: Sequence[float] = ()
    slots: int = 1
    price: float = 1.006
    offers: Sequence[Offer] = (ON_DEMAND,)
    minimum: float = 60.0
    notice: float = 120.0
    crashes: float = 0.0
    checks: float = 120.0
    counts_late: float = 60.0
    queue_period: float = 60.0
    cpu_period: float = 300.0
    metrics_late: float = METRICS_LATE
    visibility: float = 120.0
    heartbeat: float = 20.0

    def cost(self, seconds: float, offer: Offer) -> float:
        """US dollars of a node that lived so long."""
        return max(self.minimum, seconds) / 3600 * self.price * offer.share

    def datapoint(self, now: float, period: float) -> float:
        """The end of the newest period of which CloudWatch has a datapoint; negative before the first."""
        newest = floor((now - self.metrics_late) / period) * period
        return newest if newest > 0 else -1.0


def mean_boot(world: World) -> float:
    """Seconds that a boot takes on average: the mean of a triangular distribution."""
    return sum(world.boot) / 3
