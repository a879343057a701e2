"""EC2 Fleets of type ``instant`` in the embedded AWS.

moto's own leave out most of a launch template, ask every pool at once whatever its priority, have no client tokens, and
never lack capacity. Here a fleet is what RunInstances makes of the same template, pool after pool; what a pool refuses
(:func:`refuse`) is told as EC2 tells it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.responses import EC2Response
from moto.ec2.utils import random_fleet_id

_refusals: dict[tuple[str, str], str] = {}


def refuse(market: str, type: str, code: str = "InsufficientInstanceCapacity") -> None:
    """From now on this embedded AWS has no such machines; an empty ``code``: it has them again."""
    if code:
        _refusals[market, type] = code
    else:
        _refusals.pop((market, type), None)


def forget() -> None:
    """Nothing is refused any more."""
    _refusals.clear()


def install() -> None:
    """Has moto answer CreateFleet so; a second call changes nothing."""
    whole = EC2Response.create_fleet
    if getattr(whole, "instant", False):
        return

    def create_fleet(self: Any) -> ActionResult:
        if self._get_param("Type") != "instant":
            return whole(self)
        self.error_on_dryrun()
        return ActionResult(_answer(self, _Asked.of(self)))

    create_fleet.instant = True  # type: ignore[attr-defined]
    EC2Response.create_fleet = create_fleet  # type: ignore[method-assign]


@dataclass(frozen=True)
class _Asked:
    """A request: of one launch template, and of what overrides it."""

    count: int
    market: str
    template: Mapping[str, Any]
    overrides: Sequence[Mapping[str, Any]]
    tags: Mapping[str, Any]
    token: str

    @staticmethod
    def of(request: Any) -> _Asked:
        capacity = request._get_param("TargetCapacitySpecification", {})
        (config,) = request._get_param("LaunchTemplateConfigs", [])
        overrides = config.get("Overrides") or [{}]
        return _Asked(
            int(capacity["TotalTargetCapacity"]),
            capacity.get("DefaultTargetCapacityType", "on-demand"),
            config["LaunchTemplateSpecification"],
            sorted(overrides, key=lambda override: float(override.get("Priority", 0))),
            request._parse_tag_specification(),
            request._get_param("ClientToken", ""),
        )


def _answer(request: Any, asked: _Asked) -> dict[str, Any]:
    known: dict[str, Any] = request.ec2_backend.__dict__.setdefault("instant_fleets", {})
    if asked.token and asked.token in known:
        return dict(known[asked.token])
    instances: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for override in asked.overrides:
        code = _refusals.get((asked.market, override.get("InstanceType", "")))
        pool = {"LaunchTemplateSpecification": dict(asked.template), "Overrides": dict(override)}
        if code:
            message = f"There is no {asked.market} capacity of {override.get('InstanceType')} here."
            errors.append(
                {
                    "LaunchTemplateAndOverrides": pool,
                    "Lifecycle": asked.market,
                    "ErrorCode": code,
                    "ErrorMessage": message,
                }
            )
        elif not instances:
            new = _run(request, asked, override)
            instances.append(
                {
                    "LaunchTemplateAndOverrides": pool,
                    "Lifecycle": asked.market,
                    "InstanceIds": [machine.id for machine in new],
                    "InstanceType": override.get("InstanceType"),
                }
            )
    answer = {"FleetId": random_fleet_id(), "Instances": instances, "Errors": errors}
    if asked.token:
        known[asked.token] = answer
    return answer


def _run(request: Any, asked: _Asked, override: Mapping[str, Any]) -> list[Any]:
    given = {
        "instance_type": override.get("InstanceType", "m1.small"),
        "is_instance_type_default": not override.get("InstanceType"),
        "placement": override.get("AvailabilityZone"),
        "region_name": request.region,
        "subnet_id": override.get("SubnetId"),
        "key_name": None,
        "security_group_ids": [],
        "nics": [],
        "private_ip": None,
        "associate_public_ip": None,
        "tags": asked.tags,
        "ebs_optimized": False,
        "disable_api_stop": False,
        "instance_market_options": "spot" if asked.market == "spot" else {},
        "launch_template": dict(asked.template),
        "monitoring_state": "disabled",
        "metadata_options": {},
        "client_token": asked.token,
    }
    return list(request.ec2_backend.run_instances(None, asked.count, None, [], **given).instances)
