"""How the Auto Scaling group is moved: a target to be tracked, and two steps where there is nothing to track.

*backlog* tracks the seconds of work that wait for each node, and is in charge while there is a node. *wake* starts the
first node: per node says nothing without one; its metric is zero from the moment that the group wants one. *rest* ends
idle nodes when there are no jobs, minutes before tracking would. So no two of them pull in opposite directions: one
needs no node to act, one needs no job, and the third acts while there are both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

from botocore.exceptions import ClientError

from minimoto.aws.calls import code_of
from minimoto.aws.metrics import dimensions
from minimoto.aws.policies import NAMESPACE
from minimoto.aws.resources.alarms import Alarm, Definition
from minimoto.aws.resources.context import Context
from minimoto.aws.resources.launch_template import as_far_as
from minimoto.aws.resources.resource import Found, Setting
from minimoto.aws.resources.scaling_group import OfGroup
from minimoto.core.group import BACKLOG, JOBS, NO_NODE

PERIOD, LOCAL_PERIOD = 60, 10
"""Seconds of a datapoint: the least that CloudWatch looks at without high resolution, and on the embedded AWS."""


class ScalingPolicy(OfGroup):
    """A policy of the group. It goes with the group."""

    def __init__(self, key: str, kind: str, definition: Callable[[Context], Definition]) -> None:
        self.key = self.role = key
        self.kind = kind
        self._definition = definition

    def find_all(self, ctx: Context) -> list[Found]:
        if "group" not in ctx.found:
            return []
        policies = ctx.client("autoscaling").describe_policies(
            AutoScalingGroupName=ctx.id("group"), PolicyNames=[self._name(ctx)]
        )["ScalingPolicies"]
        return [Found(p["PolicyARN"], p["PolicyName"], details=p) for p in policies]

    def make(self, ctx: Context) -> Found:
        return Found(self._write(ctx, self._definition(ctx)), self._name(ctx))

    def find_made(self, ctx: Context) -> list[Found]:
        # It carries no tags: the journal asks only where this run found none before.
        return self.find_all(ctx)

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        wanted = self._definition(ctx)

        def write(value: Any) -> None:
            self._write(ctx, value)

        current = as_far_as(dict(found.details), wanted)
        return [Setting("policy", current, wanted, write)]

    def remove(self, ctx: Context, found: Found) -> None:
        try:
            ctx.client("autoscaling").delete_policy(AutoScalingGroupName=ctx.id("group"), PolicyName=found.name)
        except ClientError as error:
            # AWS says so of a policy, or of its group, that is not there.
            if code_of(error) != "ValidationError":
                raise

    def _name(self, ctx: Context) -> str:
        return f"{ctx.config.name}-{self.key}"

    def _write(self, ctx: Context, definition: Definition) -> str:
        return str(
            ctx.client("autoscaling").put_scaling_policy(
                AutoScalingGroupName=ctx.id("group"), PolicyName=self._name(ctx), **definition
            )["PolicyARN"]
        )


class ScalingAlarm(OfGroup, Alarm):
    """An alarm that executes a policy of the group."""

    def left_over(self, ctx: Context) -> Sequence[Found]:
        return self.find_all(ctx)


def backlog(ctx: Context) -> Definition:
    """As many nodes as do what waits within ``target_seconds``, out after three minutes and in after fifteen."""
    metric = {
        "Namespace": NAMESPACE,
        "MetricName": BACKLOG,
        "Dimensions": dimensions(ctx.config.name),
        "Statistic": "Average",
    }
    return {
        "PolicyType": "TargetTrackingScaling",
        "EstimatedInstanceWarmup": ceil(ctx.config.boot_seconds),
        "TargetTrackingConfiguration": {
            "CustomizedMetricSpecification": metric,
            "TargetValue": float(ctx.config.target_seconds),
            "DisableScaleIn": False,
        },
    }


def wake(ctx: Context) -> Definition:
    """One node; the alarm that is still on a minute later adds none while that one boots."""
    return {
        "PolicyType": "StepScaling",
        "AdjustmentType": "ChangeInCapacity",
        "MetricAggregationType": "Maximum",
        "EstimatedInstanceWarmup": max(2 * PERIOD, ceil(ctx.config.boot_seconds)),
        "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
    }


def rest(ctx: Context) -> Definition:
    """None, which the group's own bounds make its least."""
    return {
        "PolicyType": "StepScaling",
        "AdjustmentType": "ExactCapacity",
        "MetricAggregationType": "Maximum",
        "StepAdjustments": [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": 0}],
    }


def jobs_without_node(ctx: Context) -> Definition:
    """A job is there, and the group wants no node."""
    waiting = {"ComparisonOperator": "GreaterThanOrEqualToThreshold", "Threshold": 1.0}
    return {**_of_jobs(ctx, NO_NODE), "AlarmActions": [ctx.id("wake-policy")], **waiting, "EvaluationPeriods": 1}


def no_jobs(ctx: Context) -> Definition:
    """No job has been there for the cooldown."""
    idle = {"ComparisonOperator": "LessThanOrEqualToThreshold", "Threshold": 0.0}
    periods = max(1, ceil(ctx.config.cooldown / _period(ctx)))
    return {**_of_jobs(ctx), "AlarmActions": [ctx.id("rest-policy")], **idle, "EvaluationPeriods": periods}


def _of_jobs(ctx: Context, group: str = "") -> dict[str, Any]:
    return {
        "Namespace": NAMESPACE,
        "MetricName": JOBS,
        "Dimensions": dimensions(ctx.config.name, group),
        "Statistic": "Maximum",
        "Period": _period(ctx),
        # Without a watchdog nothing is known, and nothing moves.
        "TreatMissingData": "missing",
        "OKActions": [],
    }


def _period(ctx: Context) -> int:
    return LOCAL_PERIOD if ctx.config.local else PERIOD
