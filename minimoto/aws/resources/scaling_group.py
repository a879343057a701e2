"""The Auto Scaling group of a deployment whose policy is ``asg``, and the hook by which it waits for a last task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from botocore.exceptions import ClientError

from minimoto.aws.calls import code_of
from minimoto.aws.policies import DEPLOYMENT_TAG, HOOK, ROLE_TAG, group_name
from minimoto.aws.resources.base_image import machine_type, subnets
from minimoto.aws.resources.context import Context, tag_dict
from minimoto.aws.resources.launch_template import as_far_as
from minimoto.aws.resources.resource import Found, Resource, Setting
from minimoto.config import Config
from minimoto.errors import CloudError, TimedOut

HOOK_SECONDS = 300
"""How long the group waits for a word of a machine that it ends. A service asks for more while it has a task; a machine
whose services are dead is held up for no longer than this."""

HOOK_DEFINITION = {
    "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
    "HeartbeatTimeout": HOOK_SECONDS,
    "DefaultResult": "CONTINUE",
}

ON_DEMAND = 1
"""Machines of a spot group that are on demand. A group knows no way from spot to on-demand where spot cannot be had; so
work goes on, if slowly."""

PROPAGATED = frozenset({DEPLOYMENT_TAG, ROLE_TAG})
IN_USE = frozenset({"ResourceInUse", "ScalingActivityInProgress", "ResourceContention"})
DETACHED_AT_ONCE = 20


class OfGroup(Resource):
    """What there is only where a group sizes the fleet."""

    def wanted(self, ctx: Context) -> bool:
        return ctx.config.grouped


class ScalingGroup(OfGroup):
    """Machines from the launch template between ``min_nodes`` and ``max_nodes``, spot in a mixed instances policy."""

    key, role, kind = "group", "service", "Auto Scaling group"

    def find_all(self, ctx: Context) -> list[Found]:
        pages = ctx.client("autoscaling").get_paginator("describe_auto_scaling_groups")
        groups = [g for page in pages.paginate(Filters=ctx.tag_filters(self.role)) for g in page["AutoScalingGroups"]]
        # One with a status is being deleted.
        return [
            Found(g["AutoScalingGroupName"], g["AutoScalingGroupName"], tag_dict(g.get("Tags")), g)
            for g in groups
            if not g.get("Status")
        ]

    def make(self, ctx: Context) -> Found:
        name, config = group_name(ctx.config), ctx.config
        if any(not group.get("Status") for group in self._named(ctx, name)):
            raise CloudError(f"{self.kind} {name}: one of this name is there already, and is not this deployment's")
        self._await_end(ctx, name)
        ctx.wait("ec2", "image_available", f"image {ctx.get('image').name}", ImageIds=[ctx.id("image")])
        tags = [{**tag, "PropagateAtLaunch": tag["Key"] in PROPAGATED} for tag in ctx.tag_list(self.role)]
        ctx.client("autoscaling").create_auto_scaling_group(
            AutoScalingGroupName=name,
            MinSize=config.min_nodes,
            MaxSize=config.max_nodes,
            VPCZoneIdentifier=",".join(subnets(ctx, machine_type(ctx, config.service_type))),
            HealthCheckType="EC2",
            HealthCheckGracePeriod=max(60, ceil(config.boot_seconds)),
            # A service protects its machine while it works, so that one on which no service ever starts can be ended.
            NewInstancesProtectedFromScaleIn=False,
            Tags=tags,
            **launch(ctx),
        )
        return Found(name, name, ctx.tags(self.role))

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        config, wanted = ctx.config, launch(ctx)

        def write(value: Any) -> None:
            ctx.client("autoscaling").update_auto_scaling_group(AutoScalingGroupName=found.id, **value)

        seen = {key: found.details[key] for key in ("MinSize", "MaxSize")}
        bounds = {"MinSize": config.min_nodes, "MaxSize": config.max_nodes}
        # The watchdog's doing: a size set by hand, or a day whose budget is used up.
        held = seen["MinSize"] == seen["MaxSize"] <= config.max_nodes
        return [
            Setting("bounds", seen, seen if held else bounds, write),
            Setting("launch", _launched(found.details, wanted), wanted, write),
        ]

    def remove(self, ctx: Context, found: Found) -> None:
        """Deletes it with its machines, busy or not, as cleanup and an undone setup do."""
        try:
            ctx.client("autoscaling").delete_auto_scaling_group(AutoScalingGroupName=found.id, ForceDelete=True)
        except ClientError:
            if self._named(ctx, found.id):
                raise
        self._await_end(ctx, found.id)

    def left_over(self, ctx: Context) -> Sequence[Found]:
        return self.find_all(ctx)

    def retire(self, ctx: Context, found: Found) -> None:
        """Lets its machines go, to be the watchdog's from now on, and deletes it; none is ended, busy or idle."""
        scaling = ctx.client("autoscaling")
        scaling.update_auto_scaling_group(AutoScalingGroupName=found.id, MinSize=0)

        def let_go() -> None:
            members = [member for group in self._named(ctx, found.id) for member in group["Instances"]]
            ids = [member["InstanceId"] for member in members if member["LifecycleState"] == "InService"]
            for start in range(0, len(ids), DETACHED_AT_ONCE):
                batch = ids[start : start + DETACHED_AT_ONCE]
                scaling.detach_instances(
                    AutoScalingGroupName=found.id, InstanceIds=batch, ShouldDecrementDesiredCapacity=True
                )
            scaling.delete_auto_scaling_group(AutoScalingGroupName=found.id)

        # Those that it starts or ends just now take a while.
        ctx.insist(self.label(found), let_go, while_=lambda error: code_of(error) in IN_USE)
        self._await_end(ctx, found.id)

    @staticmethod
    def _named(ctx: Context, name: str) -> list[Any]:
        found = ctx.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])
        return list(found["AutoScalingGroups"])

    def _await_end(self, ctx: Context, name: str) -> None:
        """Waits until a group that is being deleted is gone, and its machines with it."""
        deadline = ctx.clock.monotonic() + ctx.patience
        while self._named(ctx, name):
            if ctx.clock.monotonic() >= deadline:
                raise TimedOut(f"{self.kind} {name}: it is still being deleted after {ctx.patience:.0f} s")
            ctx.clock.sleep(ctx.poll)


class TerminationHook(OfGroup):
    """Has the group wait for the last task of a machine that it ends. It goes with the group.

    There is none at launch: a machine works from the moment its first service starts, and nothing has to be told of it.
    """

    key = role = "group-hook"
    kind = "termination hook of the group"

    def find_all(self, ctx: Context) -> list[Found]:
        if "group" not in ctx.found:
            return []
        hooks = ctx.client("autoscaling").describe_lifecycle_hooks(
            AutoScalingGroupName=ctx.id("group"), LifecycleHookNames=[HOOK]
        )["LifecycleHooks"]
        return [Found(HOOK, f"({ctx.id('group')})", details=hook) for hook in hooks]

    def make(self, ctx: Context) -> Found:
        self._write(ctx, HOOK_DEFINITION)
        return Found(HOOK, f"({ctx.id('group')})")

    def find_made(self, ctx: Context) -> list[Found]:
        # It carries no tags: the journal asks only where this run found none before.
        return self.find_all(ctx)

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        seen = {key: found.details.get(key) for key in HOOK_DEFINITION}
        return [Setting("hook", seen, HOOK_DEFINITION, lambda value: self._write(ctx, value))]

    def remove(self, ctx: Context, found: Found) -> None:
        ctx.client("autoscaling").delete_lifecycle_hook(
            AutoScalingGroupName=ctx.id("group"), LifecycleHookName=found.id
        )

    @staticmethod
    def _write(ctx: Context, definition: dict[str, Any]) -> None:
        ctx.client("autoscaling").put_lifecycle_hook(
            AutoScalingGroupName=ctx.id("group"), LifecycleHookName=HOOK, **definition
        )


def launch(ctx: Context) -> dict[str, Any]:
    """What the group launches: the template's newest version, in the markets and types of the settings."""
    config = ctx.config
    template = {"LaunchTemplateId": ctx.id("launch-template"), "Version": "$Default"}
    types = list(dict.fromkeys((config.service_type, *config.more_types)))
    if config.market != "spot" and len(types) == 1:
        return {"LaunchTemplate": template}
    return {
        "MixedInstancesPolicy": {
            "LaunchTemplate": {
                "LaunchTemplateSpecification": template,
                "Overrides": [{"InstanceType": type} for type in types],
            },
            "InstancesDistribution": _distribution(config),
        },
        # Told that a spot machine is at risk, the group starts another first, and only then ends this one by the hook.
        "CapacityRebalance": config.market == "spot",
    }


def _launched(details: Mapping[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The same as it is. A group has one or the other; moto tells of the template in both."""
    mixed = details.get("MixedInstancesPolicy")
    rebalance = bool(details.get("CapacityRebalance"))
    current = (
        {"MixedInstancesPolicy": mixed, "CapacityRebalance": rebalance}
        if mixed
        else {"LaunchTemplate": details.get("LaunchTemplate")}
    )
    same: dict[str, Any] = as_far_as(current, wanted) if current.keys() == wanted.keys() else current
    return same


def _distribution(config: Config) -> dict[str, Any]:
    spot = config.market == "spot"
    return {
        "OnDemandAllocationStrategy": "prioritized",
        "OnDemandBaseCapacity": ON_DEMAND if spot else 0,
        "OnDemandPercentageAboveBaseCapacity": 0 if spot else 100,
        "SpotAllocationStrategy": "price-capacity-optimized",
    }
