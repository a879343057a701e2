"""The machines of a deployment on EC2, found by their tags and by nothing else.

A launch is made once for a token: machines carry the token as a tag and are looked up by it first; between two calls
too close together for the tag to be seen, EC2's own client token does the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from minimoto.aws.calls import aws_call
from minimoto.aws.clients import client
from minimoto.aws.policies import DEPLOYMENT_TAG, ROLE_TAG
from minimoto.config import Config
from minimoto.errors import CloudError, ConfigError
from minimoto.ports import Instance

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_ec2 import EC2Client

LAUNCH_TAG = "minimoto:launch"
GROUP_TAG = "aws:autoscaling:groupName"
"""Written by AWS itself, when a group starts a machine, takes one in or lets one go."""
SERVICE = "service"

PRESENT = ("pending", "running", "shutting-down", "stopping", "stopped")
BATCH = 100
"""Machines named in one call."""

NO_CAPACITY = frozenset(
    {
        "InstanceLimitExceeded",
        "InsufficientCapacity",
        "InsufficientFreeAddressesInSubnet",
        "InsufficientHostCapacity",
        "InsufficientInstanceCapacity",
        "InsufficientReservedInstanceCapacity",
        "MaxSpotInstanceCountExceeded",
        "SpotMaxPriceTooLow",
        "UnfulfillableCapacity",
        "Unsupported",
        "VcpuLimitExceeded",
    }
)
"""What another market, type or zone may still have. Source: EC2 API Reference, "Error codes"."""

ELSEWHERE = frozenset({"InsufficientInstanceCapacity", "Unsupported", "InsufficientFreeAddressesInSubnet"})
"""What another zone may still have."""


@dataclass(frozen=True)
class Offer:
    """What to ask EC2 for. An empty zone leaves the choice to EC2."""

    market: str
    type: str
    zone: str = ""

    def __str__(self) -> str:
        return f"{self.market} {self.type}" + (f" in {self.zone}" if self.zone else "")


class Ec2Fleet:
    """``minimoto.ports.Fleet`` on EC2."""

    def __init__(self, session: boto3.session.Session, config: Config) -> None:
        self._session, self._config = session, config

    @cached_property
    def _ec2(self) -> EC2Client:
        return client(self._session, self._config, "ec2")

    def instances(self, role: str = SERVICE) -> list[Instance]:
        """Machines of a role that are not terminated, oldest first, with their status checks."""
        found = list(self._describe({f"tag:{ROLE_TAG}": [role], "instance-state-name": list(PRESENT)}))
        # One that is pending has no status yet, and may not be known to that call at all.
        started = [machine["InstanceId"] for machine in found if machine["State"]["Name"] != "pending"]
        healthy = self._healthy(started)
        machines = [_instance(machine, healthy.get(machine["InstanceId"])) for machine in found]
        return sorted(machines, key=lambda machine: (machine.launched, machine.id))

    def launch(self, count: int, token: str) -> list[Instance]:
        """Starts machines: as many as can be had, of the first kind that can be had.

        Raises:
            CloudError: none could be had, or EC2 refused for a reason that no other offer helps against.
        """
        before = list(self._describe({f"tag:{ROLE_TAG}": [SERVICE], f"tag:{LAUNCH_TAG}": [token]}))
        machines = [_instance(m, None) for m in before if m["State"]["Name"] != "terminated"]
        wanted = count - len(before)
        refusal: CloudError | None = None
        for offer in self._offers() if wanted > 0 else ():
            new, refusal = self._take(offer, wanted, token)
            machines += new
            wanted -= len(new)
            if wanted <= 0:
                break
        if refusal is not None and not machines:
            raise refusal
        return machines

    def terminate(self, ids: Sequence[str]) -> None:
        """Terminates machines, once all of them are seen to be service machines of this deployment."""
        if not ids:
            return
        wanted = list(dict.fromkeys(ids))
        ours: set[str] = set()
        for batch in _batches(wanted):
            found = self._describe({f"tag:{ROLE_TAG}": [SERVICE], "instance-id": batch})
            ours |= {machine["InstanceId"] for machine in found}
        strange = ", ".join(id for id in wanted if id not in ours)
        if strange:
            raise CloudError(f"{strange}: no service machine of {self._config.name}; nothing was terminated")
        for batch in _batches(wanted):
            with aws_call(f"terminating {', '.join(batch)}"):
                self._ec2.terminate_instances(InstanceIds=batch)

    def _describe(self, filters: Mapping[str, Sequence[str]]) -> Iterator[Any]:
        """Machines that carry the deployment's tag and match the filters."""
        ours: dict[str, Sequence[str]] = {f"tag:{DEPLOYMENT_TAG}": [self._config.name], **filters}
        pages = self._ec2.get_paginator("describe_instances").paginate(
            Filters=[{"Name": name, "Values": values} for name, values in ours.items()]
        )
        with aws_call(f"machines of {self._config.name}: looking"):
            for page in pages:
                for reservation in page["Reservations"]:
                    yield from reservation["Instances"]

    def _healthy(self, ids: Sequence[str]) -> dict[str, bool | None]:
        healthy: dict[str, bool | None] = {}
        for batch in _batches(ids):
            with aws_call(f"machines of {self._config.name}: status checks"):
                pages = self._ec2.get_paginator("describe_instance_status").paginate(
                    InstanceIds=batch, IncludeAllInstances=True
                )
                for status in (status for page in pages for status in page["InstanceStatuses"]):
                    checks = (status.get("SystemStatus", {}), status.get("InstanceStatus", {}))
                    healthy[status["InstanceId"]] = _verdict([str(check.get("Status", "")) for check in checks])
        return healthy

    def _offers(self) -> Iterator[Offer]:
        """Markets and types in the order in which they are wanted."""
        markets = ("spot", "on-demand") if self._config.market == "spot" else ("on-demand",)
        for market in markets:
            for type in dict.fromkeys((self._config.service_type, *self._config.more_types)):
                yield Offer(market, type)

    def _take(self, offer: Offer, wanted: int, token: str) -> tuple[list[Instance], CloudError | None]:
        """What can be had of an offer, zone by zone where EC2's own choice of a zone has nothing; else why not."""
        new, refusal = self._try(offer, wanted, token)
        if refusal is None or refusal.code not in ELSEWHERE:
            return new, refusal
        for zone in self._zones():
            new += self._try(Offer(offer.market, offer.type, zone), wanted - len(new), token)[0]
            if len(new) >= wanted:
                break
        return new, refusal

    def _try(self, offer: Offer, wanted: int, token: str) -> tuple[list[Instance], CloudError | None]:
        """All that are wanted, or as many of them as can be had; else why there is none."""
        refusal: CloudError | None = None
        for least in dict.fromkeys((wanted, 1)):
            request = run_request(self._config, self._template, offer, least, wanted, token)
            try:
                with aws_call(f"launching {wanted} {offer}"):
                    return [
                        _instance(machine, None) for machine in self._ec2.run_instances(**request)["Instances"]
                    ], None
            except CloudError as error:
                if error.code not in NO_CAPACITY:
                    raise
                refusal = error
        return [], refusal

    @cached_property
    def _template(self) -> str:
        """The launch template's id. A machine that is older than the template finds it by its tag."""
        if self._config.launch_template:
            return self._config.launch_template
        with aws_call(f"launch template of {self._config.name}: looking"):
            found = self._ec2.describe_launch_templates(
                Filters=[{"Name": f"tag:{DEPLOYMENT_TAG}", "Values": [self._config.name]}]
            )["LaunchTemplates"]
        if not found:
            raise ConfigError(f"deployment {self._config.name} has no launch template: run minimoto_setup.py first")
        return str(found[0]["LaunchTemplateId"])

    def _zones(self) -> Iterable[str]:
        """Zones in which the account has a default subnet."""
        with aws_call("zones: looking"):
            pages = self._ec2.get_paginator("describe_subnets").paginate(
                Filters=[{"Name": "default-for-az", "Values": ["true"]}]
            )
            return sorted({subnet["AvailabilityZone"] for page in pages for subnet in page["Subnets"]})


def run_request(config: Config, template: str, offer: Offer, least: int, most: int, token: str) -> dict[str, Any]:
    """The arguments of ``run_instances`` for ``least`` to ``most`` machines from a launch template."""
    ours = {DEPLOYMENT_TAG: config.name, ROLE_TAG: SERVICE}
    named = {"Name": config.service_identity} if config.service_identity else {}
    request: dict[str, Any] = {
        "LaunchTemplate": {"LaunchTemplateId": template, "Version": "$Default"},
        "InstanceType": offer.type,
        "MinCount": least,
        "MaxCount": most,
        "ClientToken": hashlib.sha256(f"{config.name}/{token}/{offer}/{least}/{most}".encode()).hexdigest(),
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": _tags({**ours, **named, LAUNCH_TAG: token})},
            {"ResourceType": "volume", "Tags": _tags(ours)},
        ],
    }
    if offer.zone:
        request["Placement"] = {"AvailabilityZone": offer.zone}
    if offer.market == "spot":
        request["InstanceMarketOptions"] = {
            "MarketType": "spot",
            "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
        }
    return request


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))


def _tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _verdict(checks: Sequence[str]) -> bool | None:
    """``True`` when both checks passed, ``False`` when one failed, ``None`` before they are known."""
    if "impaired" in checks:
        return False
    return True if all(check == "ok" for check in checks) else None


def _instance(machine: Any, healthy: bool | None) -> Instance:
    tags = {tag["Key"]: tag["Value"] for tag in machine.get("Tags", [])}
    return Instance(
        id=machine["InstanceId"],
        role=tags.get(ROLE_TAG, ""),
        state=machine["State"]["Name"],
        launched=machine["LaunchTime"].timestamp(),
        healthy=healthy,
        type=machine.get("InstanceType", ""),
        market="spot" if machine.get("InstanceLifecycle") == "spot" else "on-demand",
        zone=machine.get("Placement", {}).get("AvailabilityZone", ""),
        address=machine.get("PublicIpAddress") or machine.get("PrivateIpAddress") or "",
        launch_token=tags.get(LAUNCH_TAG, ""),
        grouped=GROUP_TAG in tags,
    )
