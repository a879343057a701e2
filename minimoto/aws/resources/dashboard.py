"""The CloudWatch dashboard: queue, jobs and fleet on one page."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from minimoto.aws.calls import code_of
from minimoto.aws.policies import DEPLOYMENT_TAG, NAMESPACE
from minimoto.aws.resources.alarms import HEALTHY_NODES
from minimoto.aws.resources.context import Context
from minimoto.aws.resources.resource import Found, Resource, Setting

GONE = frozenset({"ResourceNotFound", "DashboardNotFoundError"})


class Dashboard(Resource):
    """Dashboards could not carry tags for long: the deployment's mark stands in the text of this one."""

    key = role = "dashboard"
    kind = "dashboard"

    def find_all(self, ctx: Context) -> list[Found]:
        cloudwatch = ctx.client("cloudwatch")
        pages = cloudwatch.get_paginator("list_dashboards").paginate(DashboardNamePrefix=ctx.prefix("dashboard"))
        found = []
        for name in (entry["DashboardName"] for page in pages for entry in page["DashboardEntries"]):
            body = self._body(ctx, name)
            if body is not None and _mark(ctx) in _texts(body):
                found.append(Found(name, name, details={"body": body}))
        return found

    def find_made(self, ctx: Context) -> list[Found]:
        return [found for found in self.find_all(ctx) if found.name == ctx.name("dashboard")]

    def make(self, ctx: Context) -> Found:
        name = ctx.name("dashboard")
        self._put(ctx, name, self._wanted(ctx))
        return Found(name, name)

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        return [
            Setting("body", found.details["body"], self._wanted(ctx), lambda value: self._put(ctx, found.name, value))
        ]

    def remove(self, ctx: Context, found: Found) -> None:
        try:
            ctx.client("cloudwatch").delete_dashboards(DashboardNames=[found.name])
        except ClientError as error:
            if code_of(error) not in GONE:
                raise

    @staticmethod
    def _body(ctx: Context, name: str) -> Any:
        try:
            return json.loads(ctx.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"])
        except ClientError as error:
            if code_of(error) in GONE:
                return None
            raise

    @staticmethod
    def _put(ctx: Context, name: str, body: Any) -> None:
        ctx.client("cloudwatch").put_dashboard(DashboardName=name, DashboardBody=json.dumps(body))

    @staticmethod
    def _wanted(ctx: Context) -> dict[str, Any]:
        def graph(title: str, x: int, y: int, *metrics: list[Any], stat: str = "Maximum") -> dict[str, Any]:
            properties = {
                "title": title,
                "region": ctx.config.region,
                "view": "timeSeries",
                "stat": stat,
                "period": 60,
                "metrics": list(metrics),
            }
            return {"type": "metric", "x": x, "y": y, "width": 12, "height": 6, "properties": properties}

        tasks, dead = ctx.get("tasks").name, ctx.get("dead-letters").name
        own = ["Deployment", ctx.config.name]
        text = f"# minimoto {ctx.config.name}\n{_mark(ctx)}"
        widgets = [
            {"type": "text", "x": 0, "y": 0, "width": 24, "height": 2, "properties": {"markdown": text}},
            graph(
                "Tasks",
                0,
                2,
                ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", tasks],
                ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", tasks],
                ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", dead],
            ),
            graph("Oldest task (s)", 12, 2, ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", tasks]),
            graph("Jobs ready or being processed", 0, 8, [NAMESPACE, "NumJobsReadyOrBeingProcessed", *own]),
            graph("Healthy nodes", 12, 8, [NAMESPACE, HEALTHY_NODES, *own]),
        ]
        return {"widgets": widgets}


def _mark(ctx: Context) -> str:
    return f"{DEPLOYMENT_TAG}={ctx.config.name}"


def _texts(body: Any) -> set[str]:
    """The lines of the text widgets."""
    widgets = body.get("widgets", []) if isinstance(body, dict) else []
    texts = [widget.get("properties", {}).get("markdown", "") for widget in widgets if widget.get("type") == "text"]
    return {line for text in texts for line in text.splitlines()}
