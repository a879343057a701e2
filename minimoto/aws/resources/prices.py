"""What a deployment costs, roughly: an estimate from a small table of prices, never a bill."""

from __future__ import annotations

from dataclasses import dataclass

from minimoto.aws.resources.base_image import SERVICE_DISK, SMALL_DISK
from minimoto.config import Config

SOURCE = "AWS price list, us-east-1, Linux, on demand, June 2026"
"""https://aws.amazon.com/ec2/pricing/on-demand/, …/ebs/pricing/, …/vpc/pricing/, …/cloudwatch/pricing/"""

HOURS = 730
"""Hours of a month, as AWS counts them."""

PER_HOUR = {
    "c7i.large": 0.08925,
    "c7i.xlarge": 0.1785,
    "c7i.2xlarge": 0.357,
    "c7i.4xlarge": 0.714,
    "g4dn.xlarge": 0.526,
    "g4dn.2xlarge": 0.752,
    "g5.xlarge": 1.006,
    "g5.2xlarge": 1.212,
    "g5.4xlarge": 1.624,
    "g6.xlarge": 0.8048,
    "g6.2xlarge": 0.9776,
    "m7i.large": 0.1008,
    "m7i.xlarge": 0.2016,
    "t3.micro": 0.0104,
    "t3.small": 0.0208,
    "t3.medium": 0.0416,
    "t3.large": 0.0832,
    "t3.xlarge": 0.1664,
    "t3a.small": 0.0188,
    "t4g.small": 0.0168,
}
"""US dollars an hour."""

ADDRESS_PER_HOUR = 0.005
DISK_PER_GIB_MONTH = 0.08
SNAPSHOT_PER_GIB_MONTH = 0.05
ALARM_PER_MONTH = 0.10
ALARMS = 3
GROUP_ALARMS = 4
"""More of them: two of ours, and the two that target tracking makes."""
DASHBOARD_PER_MONTH = 3.00


@dataclass(frozen=True)
class Item:
    """One line of the estimate; ``hourly`` is US dollars."""

    what: str
    hourly: float

    @property
    def monthly(self) -> float:
        return self.hourly * HOURS


@dataclass(frozen=True)
class Estimate:
    """What a deployment costs while nobody uses it: its machines, disks, addresses, image, alarms and dashboard.

    Parameters:
        items: what is known.
        unknown: what no price is known of.
        caveats: what the estimate leaves out.
    """

    items: tuple[Item, ...]
    unknown: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()

    @property
    def hourly(self) -> float:
        return sum(item.hourly for item in self.items)

    @property
    def monthly(self) -> float:
        return self.hourly * HOURS

    def lines(self) -> list[str]:
        """The estimate for a person."""
        lines = [f"estimate ({SOURCE}):"]
        lines += [f"  {i.what:<48} ${i.hourly:>8.4f}/hour ${i.monthly:>9.2f}/month" for i in self.items]
        lines.append(f"  {'in all':<48} ${self.hourly:>8.4f}/hour ${self.monthly:>9.2f}/month")
        lines += [f"  not in it: {what}" for what in (*self.unknown, *self.caveats)]
        return lines


def estimate(config: Config) -> Estimate:
    """Estimates a deployment's cost while idle."""
    nodes = config.always_nodes if config.grouped else max(1, config.always_nodes)
    alarms = ALARMS + (GROUP_ALARMS if config.grouped else 0)
    items, unknown = [], []
    for count, what, kind in ((2, "client and watchdog", config.small_type), (nodes, "service", config.service_type)):
        if kind in PER_HOUR:
            items.append(Item(f"{what}: {count} x {kind}", count * PER_HOUR[kind]))
        else:
            unknown.append(f"{what}: {count} x {kind}, whose price is not in the table")
    disk = nodes * SERVICE_DISK + 2 * SMALL_DISK
    items += [
        Item(f"disks: {disk} GiB gp3", disk * DISK_PER_GIB_MONTH / HOURS),
        Item(f"public addresses: {nodes + 2}", (nodes + 2) * ADDRESS_PER_HOUR),
        Item(f"image: {SERVICE_DISK} GiB of snapshot at most", SERVICE_DISK * SNAPSHOT_PER_GIB_MONTH / HOURS),
        Item(f"alarms: {alarms}, dashboard: 1", (alarms * ALARM_PER_MONTH + DASHBOARD_PER_MONTH) / HOURS),
    ]
    caveats = [f"further service machines while there is work, {config.max_nodes} at most in all"]
    caveats += ["what is stored in S3 and DynamoDB, requests, and traffic out of AWS", "free tiers and discounts, spot"]
    if config.region != "us-east-1":
        caveats.append(f"the prices of {config.region}, which differ from those of us-east-1")
    return Estimate(tuple(items), tuple(unknown), tuple(caveats))
