"""Asking EC2 for machines: EC2 Fleets of type ``instant``, one for each market in the order wanted.

One call names every type and zone of a market; EC2 starts what it has and says of each pool that has nothing why. Spot
goes by ``capacity-optimized-prioritized`` (pools in which a machine is likely to stay, then our order), on-demand by
``prioritized`` (our order). Source: EC2 API Reference, CreateFleet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from minimoto.aws.calls import aws_call
from minimoto.aws.policies import DEPLOYMENT_TAG, ROLE_TAG
from minimoto.config import Config
from minimoto.core.markets import ON_DEMAND, SPOT, Pool, pools_of
from minimoto.ports import Launched

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

LAUNCH_TAG = "minimoto:launch"
SERVICE = "service"
MOST_POOLS = 250
"""EC2 takes 300 overrides in one call."""

NO_CAPACITY = frozenset(
    {
        "InstanceLimitExceeded",
        "InsufficientCapacity",
        "InsufficientFreeAddressesInSubnet",
        "InsufficientHostCapacity",
        "InsufficientInstanceCapacity",
        "InsufficientReservedInstanceCapacity",
        "InvalidFleetConfiguration",
        "MaxSpotInstanceCountExceeded",
        "SpotMaxPriceTooLow",
        "UnfulfillableCapacity",
        "Unsupported",
        "UnsupportedOperation",
        "VcpuLimitExceeded",
    }
)
"""What another pool may still have; a type that a zone does not offer is an invalid configuration there. Source: EC2
API Reference, "Error codes", and EC2 User Guide, "EC2 Fleet"."""


def configured(config: Config, zones: Sequence[str] = ("",)) -> list[Pool]:
    """The pools that the settings allow."""
    return pools_of(config.market, (config.service_type, *config.more_types), zones)


def pools(ec2: EC2Client, config: Config, now: float) -> list[Pool]:
    """The same in every zone with a default subnet, with the prices: on demand from our table, spot as of now."""
    from minimoto.aws.resources.prices import PER_HOUR

    found = configured(config, _zones(ec2) or ("",))
    spot = _spot_prices(ec2, {pool.type for pool in found if pool.market == SPOT}, now)

    def price(pool: Pool) -> float | None:
        return spot.get((pool.type, pool.zone)) if pool.market == SPOT else PER_HOUR.get(pool.type)

    return [Pool(pool.market, pool.type, pool.zone, price(pool)) for pool in found]


def _zones(ec2: EC2Client) -> list[str]:
    """Zones in which the account has a default subnet."""
    with aws_call("zones: looking"):
        pages = ec2.get_paginator("describe_subnets").paginate(Filters=[{"Name": "default-for-az", "Values": ["true"]}])
        return sorted({subnet["AvailabilityZone"] for page in pages for subnet in page["Subnets"]})


def _spot_prices(ec2: EC2Client, types: set[str], now: float) -> dict[tuple[str, str], float]:
    """US dollars an hour, by type and zone."""
    if not types:
        return {}
    at = datetime.fromtimestamp(now, UTC)
    asked: Any = {"InstanceTypes": sorted(types), "ProductDescriptions": ["Linux/UNIX"], "StartTime": at, "EndTime": at}
    with aws_call(f"spot prices of {', '.join(sorted(types))}: looking"):
        pages = ec2.get_paginator("describe_spot_price_history").paginate(**asked)
        seen = [price for page in pages for price in page["SpotPriceHistory"]]
    return {(price["InstanceType"], price["AvailabilityZone"]): float(price["SpotPrice"]) for price in seen}


def launch(ec2: EC2Client, config: Config, template: str, pools: Sequence[Pool], count: int, token: str) -> Launched:
    """Asks market after market until there are ``count`` machines, or no other market would help."""
    machines: dict[str, Pool] = {}
    refused: dict[Pool, str] = {}
    for number, round in enumerate(rounds(pools)):
        request = fleet_request(config, template, round, count - len(machines), f"{token}/{number}")
        with aws_call(f"launching {count - len(machines)} {round[0]}"):
            answer: Any = ec2.create_fleet(**request)
        machines |= dict(_started(answer))
        trouble = "" if machines else _trouble(answer, round[0])
        if trouble:
            return Launched({}, {}, trouble)
        refused |= _refused(answer, round)
        if len(machines) >= count:
            break
    # A pool that gave some of what was wanted has refused the rest: it may still be asked, if only for one.
    return Launched(machines, {pool: code for pool, code in refused.items() if pool not in machines.values()})


def rounds(pools: Sequence[Pool]) -> list[list[Pool]]:
    """The pools, in order, cut where the market changes: a fleet is of one market."""
    return [list(group)[:MOST_POOLS] for _, group in groupby(pools, key=lambda pool: pool.market)]


def fleet_request(config: Config, template: str, pools: Sequence[Pool], count: int, token: str) -> dict[str, Any]:
    """The arguments of ``create_fleet`` for machines of one market from a launch template.

    Parameters:
        token: what the call is known by: EC2 answers the same token as it did the first time.
    """
    ours = {DEPLOYMENT_TAG: config.name, ROLE_TAG: SERVICE}
    named = {"Name": config.service_identity} if config.service_identity else {}
    market = pools[0].market
    options: dict[str, Any] = (
        {
            "SpotOptions": {
                "AllocationStrategy": "capacity-optimized-prioritized",
                "InstanceInterruptionBehavior": "terminate",
            }
        }
        if market == SPOT
        else {"OnDemandOptions": {"AllocationStrategy": "prioritized"}}
    )
    return {
        "Type": "instant",
        "TargetCapacitySpecification": {"TotalTargetCapacity": count, "DefaultTargetCapacityType": market},
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "$Default"},
                "Overrides": [_override(pool, number) for number, pool in enumerate(pools)],
            }
        ],
        "ClientToken": hashlib.sha256(f"{config.name}/{token}/{count}".encode()).hexdigest(),
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": _tags({**ours, **named, LAUNCH_TAG: token.rsplit("/", 1)[0]})},
            {"ResourceType": "volume", "Tags": _tags(ours)},
            {"ResourceType": "fleet", "Tags": _tags(ours)},
        ],
        **options,
    }


def _override(pool: Pool, priority: int) -> dict[str, Any]:
    zone = {"AvailabilityZone": pool.zone} if pool.zone else {}
    return {"InstanceType": pool.type, "Priority": float(priority), **zone}


def _started(answer: Mapping[str, Any]) -> Iterator[tuple[str, Pool]]:
    for group in answer.get("Instances", []):
        override = group.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
        type = group.get("InstanceType", override.get("InstanceType", ""))
        pool = Pool(group.get("Lifecycle", ON_DEMAND), type, override.get("AvailabilityZone", ""))
        for id in group["InstanceIds"]:
            yield id, pool


def _trouble(answer: Mapping[str, Any], asked: Pool) -> str:
    """What was refused for a reason that no other pool helps against.

    It is an answer, not an error: EC2 would give it to the same token again, also when the reason is gone.
    """
    for error in answer.get("Errors", []):
        if str(error.get("ErrorCode", "")) not in NO_CAPACITY:
            message = " ".join(str(error.get("ErrorMessage", "no reason given")).split())
            return f"launching {asked}: {message} ({error.get('ErrorCode', '')})"
    return ""


def _refused(answer: Mapping[str, Any], asked: Sequence[Pool]) -> dict[Pool, str]:
    """The pools that had nothing, and why."""
    refused: dict[Pool, str] = {}
    for error in answer.get("Errors", []):
        override = error.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
        code = str(error.get("ErrorCode", ""))
        zone = override.get("AvailabilityZone", "")
        refused[Pool(asked[0].market, override.get("InstanceType", asked[0].type), zone)] = code
    return refused


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
