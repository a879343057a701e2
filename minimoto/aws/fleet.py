"""The machines of a deployment on EC2, found by their tags and by nothing else.

A launch is made once for a token: machines carry the token as a tag and are looked up by it first; between two calls
too close together for the tag to be seen, EC2's own client token does the same (:mod:`minimoto.aws.launching`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from minimoto.aws import launching
from minimoto.aws.calls import aws_call
from minimoto.aws.clients import client
from minimoto.aws.launching import LAUNCH_TAG, SERVICE
from minimoto.aws.policies import DEPLOYMENT_TAG, ROLE_TAG
from minimoto.config import Config
from minimoto.core.markets import Experience, Pool, in_order
from minimoto.errors import CloudError, ConfigError
from minimoto.ports import Instance, Launched

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_ec2 import EC2Client

GROUP_TAG = "aws:autoscaling:groupName"
"""Written by AWS itself, when a group starts a machine, takes one in or lets one go."""

PRESENT = ("pending", "running", "shutting-down", "stopping", "stopped")
BATCH = 100
"""Machines named in one call."""


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

    def pools(self, now: float) -> list[Pool]:
        """Where machines may be asked for by the settings: type by type, zone by zone, with today's prices.

        Parameters:
            now: seconds since the epoch.
        """
        return launching.pools(self._ec2, self._config, now)

    def launch(self, count: int, token: str, pools: Sequence[Pool] = ()) -> Launched:
        """Starts machines: as many as can be had.

        Parameters:
            pools: where to ask, the best first; left out, as the settings name them.
        """
        before = list(self._describe({f"tag:{ROLE_TAG}": [SERVICE], f"tag:{LAUNCH_TAG}": [token]}))
        there = {m["InstanceId"]: _pool(m) for m in before if m["State"]["Name"] != "terminated"}
        wanted = count - len(before)
        if wanted <= 0:
            return Launched(there)
        asked = pools or in_order(launching.configured(self._config), Experience(), 0.0)
        new = launching.launch(self._ec2, self._config, self._template, asked, wanted, token)
        return Launched({**there, **new.machines}, new.refused, new.trouble)

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


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))


def _verdict(checks: Sequence[str]) -> bool | None:
    """``True`` when both checks passed, ``False`` when one failed, ``None`` before they are known."""
    if "impaired" in checks:
        return False
    return True if all(check == "ok" for check in checks) else None


def _pool(machine: Any) -> Pool:
    market = "spot" if machine.get("InstanceLifecycle") == "spot" else "on-demand"
    return Pool(market, machine.get("InstanceType", ""), machine.get("Placement", {}).get("AvailabilityZone", ""))


def _instance(machine: Any, healthy: bool | None) -> Instance:
    tags = {tag["Key"]: tag["Value"] for tag in machine.get("Tags", [])}
    return Instance(
        id=machine["InstanceId"],
        role=tags.get(ROLE_TAG, ""),
        state=machine["State"]["Name"],
        launched=machine["LaunchTime"].timestamp(),
        healthy=healthy,
        type=machine.get("InstanceType", ""),
        market=_pool(machine).market,
        zone=_pool(machine).zone,
        address=machine.get("PublicIpAddress") or machine.get("PrivateIpAddress") or "",
        launch_token=tags.get(LAUNCH_TAG, ""),
        grouped=GROUP_TAG in tags,
    )
