"""CloudWatch alarms: work that nobody can do, work that waits too long, a fleet without a healthy node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minimoto.aws.policies import NAMESPACE
from minimoto.aws.resources.context import Context, tag_dict
from minimoto.aws.resources.resource import Found, Resource, Setting

HEALTHY_NODES = "NumHealthyNodes"
"""What the watchdog publishes about the fleet, beside the number of jobs."""

Definition = dict[str, Any]


class Alarm(Resource):
    """An alarm that tells the deployment's topic."""

    def __init__(self, key: str, kind: str, definition: Callable[[Context], Definition]) -> None:
        self.key = self.role = key
        self.kind = kind
        self._definition = definition

    def find_all(self, ctx: Context) -> list[Found]:
        cloudwatch = ctx.client("cloudwatch")
        pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=ctx.prefix(self.key))
        found = []
        for alarm in (alarm for page in pages for alarm in page.get("MetricAlarms", [])):
            tags = tag_dict(cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"]).get("Tags"))
            if ctx.owns(tags, self.role):
                found.append(Found(alarm["AlarmName"], alarm["AlarmName"], tags, alarm))
        return found

    def make(self, ctx: Context) -> Found:
        name = ctx.name(self.key)
        ctx.client("cloudwatch").put_metric_alarm(AlarmName=name, Tags=ctx.tag_list(self.role), **self._wanted(ctx))
        return Found(name, name, ctx.tags(self.role))

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        wanted = self._wanted(ctx)
        current = {key: found.details.get(key) for key in wanted}

        def write(value: Any) -> None:
            given = {key: part for key, part in value.items() if part is not None}
            ctx.client("cloudwatch").put_metric_alarm(AlarmName=found.name, **given)

        return [Setting("definition", current, wanted, write)]

    def remove(self, ctx: Context, found: Found) -> None:
        # Deleting an alarm that is gone is no error in CloudWatch when it is the only one named.
        ctx.client("cloudwatch").delete_alarms(AlarmNames=[found.name])

    def _wanted(self, ctx: Context) -> Definition:
        return {
            "AlarmDescription": f"minimoto {ctx.config.name}: {self.kind}",
            "AlarmActions": [ctx.id("topic")],
            "OKActions": [ctx.id("topic")],
            **self._definition(ctx),
        }


def dead_letters(ctx: Context) -> Definition:
    """A task was given up."""
    return {
        **_of_queue(ctx, "dead-letters", "ApproximateNumberOfMessagesVisible"),
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 0.0,
        "Period": 60,
        "EvaluationPeriods": 1,
        "TreatMissingData": "notBreaching",
    }


def oldest_message(ctx: Context) -> Definition:
    """Work waits far longer than the time within which it should be done."""
    return {
        **_of_queue(ctx, "tasks", "ApproximateAgeOfOldestMessage"),
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": float(max(900, 3 * ctx.config.target_seconds)),
        "Period": 300,
        "EvaluationPeriods": 2,
        "TreatMissingData": "notBreaching",
    }


def no_healthy_node(ctx: Context) -> Definition:
    """No node is healthy where there should be one, or the watchdog does not report any more."""
    return {
        "Namespace": NAMESPACE,
        "MetricName": HEALTHY_NODES,
        "Dimensions": [{"Name": "Deployment", "Value": ctx.config.name}],
        "Statistic": "Maximum",
        "ComparisonOperator": "LessThanThreshold",
        "Threshold": float(min(1, ctx.config.always_nodes)),
        "Period": 300,
        "EvaluationPeriods": 3,
        "TreatMissingData": "breaching",
    }


def _of_queue(ctx: Context, key: str, metric: str) -> Definition:
    return {
        "Namespace": "AWS/SQS",
        "MetricName": metric,
        "Dimensions": [{"Name": "QueueName", "Value": ctx.get(key).name}],
        "Statistic": "Maximum",
    }
