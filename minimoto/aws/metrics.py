"""Metrics in CloudWatch: read for the whole fleet at once, published under the deployment's name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from minimoto.aws.calls import aws_call
from minimoto.aws.clients import client
from minimoto.aws.policies import NAMESPACE
from minimoto.config import Config
from minimoto.core.group import BACKLOG

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import DimensionTypeDef

DIMENSION = "Deployment"
"""The dimension of what is published; its value is the deployment's name."""

GROUP_DIMENSION = "Group"

LOOK_BACK = 600.0
"""Seconds: an instance without detailed monitoring has a datapoint every five minutes, some minutes late."""

BATCH = 500
"""Metrics of one ``GetMetricData``."""


class CloudWatchMetrics:
    """``minimoto.ports.Metrics`` on CloudWatch."""

    def __init__(self, session: boto3.session.Session, config: Config) -> None:
        self._session, self._config = session, config

    @cached_property
    def _cloudwatch(self) -> CloudWatchClient:
        return client(self._session, self._config, "cloudwatch")

    def cpu(self, ids: Sequence[str], now: float) -> dict[str, float | None]:
        """The newest average of the last ten minutes, in percent, for each instance; ``None`` without one."""
        return newest(self._cloudwatch, ("AWS/EC2", "CPUUtilization", "InstanceId"), ids, now, "Average")

    def publish(self, name: str, value: float, now: float, group: str = "") -> None:
        """Publishes one datapoint in the namespace ``DeepStyleQueue``."""
        with aws_call(f"metric {NAMESPACE}/{name}: publishing"):
            self._cloudwatch.put_metric_data(
                Namespace=NAMESPACE,
                MetricData=[
                    {
                        "MetricName": name,
                        "Dimensions": dimensions(self._config.name, group),
                        "Timestamp": _when(now),
                        "Value": value,
                        "Unit": "Seconds" if name == BACKLOG else "Count",
                    }
                ],
            )


def dimensions(deployment: str, group: str = "") -> list[DimensionTypeDef]:
    """The dimensions of a metric that the watchdog publishes; ``group`` is the value of the second one, if any."""
    of_group: list[DimensionTypeDef] = [{"Name": GROUP_DIMENSION, "Value": group}] if group else []
    return [{"Name": DIMENSION, "Value": deployment}, *of_group]


def newest(
    cloudwatch: CloudWatchClient,
    metric: tuple[str, str, str],
    values: Sequence[str],
    now: float,
    statistic: Literal["Average", "Maximum"],
) -> dict[str, float | None]:
    """The newest datapoint of the last ten minutes for each value of a dimension, in one call for 500 of them.

    Parameters:
        metric: namespace, name and dimension, such as ``("AWS/EC2", "CPUUtilization", "InstanceId")``.
        values: of that dimension, such as instance ids.
    """
    found: dict[str, float | None] = dict.fromkeys(values)
    names = list(found)
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        queries: Any = [_query(f"m{index}", metric, value, statistic) for index, value in enumerate(batch)]
        with aws_call(f"metric {metric[0]}/{metric[1]}: reading"):
            pages = cloudwatch.get_paginator("get_metric_data").paginate(
                MetricDataQueries=queries,
                StartTime=_when(now - LOOK_BACK),
                # The end is not part of the range.
                EndTime=_when(now + 1),
                ScanBy="TimestampDescending",
            )
            for result in (result for page in pages for result in page["MetricDataResults"]):
                value = batch[int(result["Id"][1:])]
                if found[value] is None and result["Values"]:
                    found[value] = result["Values"][0]
    return found


def _query(id: str, metric: tuple[str, str, str], value: str, statistic: str) -> dict[str, Any]:
    namespace, name, dimension = metric
    return {
        "Id": id,
        "MetricStat": {
            "Metric": {
                "Namespace": namespace,
                "MetricName": name,
                "Dimensions": [{"Name": dimension, "Value": value}],
            },
            "Period": 60,
            "Stat": statistic,
        },
        "ReturnData": True,
    }


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
