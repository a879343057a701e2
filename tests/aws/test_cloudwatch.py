"""CloudWatch: the newest datapoint of each, for the whole fleet in one call; what is published can be read."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from minimoto.aws.clients import client


@pytest.fixture
def cloudwatch(session: boto3.session.Session, deployment: Any) -> Any:
    return client(session, deployment, "cloudwatch")


def report(cloudwatch: Any, id: str, percent: float, at: float) -> None:
    cloudwatch.put_metric_data(
        Namespace="AWS/EC2",
        MetricData=[
            {
                "MetricName": "CPUUtilization",
                "Dimensions": [{"Name": "InstanceId", "Value": id}],
                "Timestamp": datetime.fromtimestamp(at, UTC),
                "Value": percent,
                "Unit": "Percent",
            }
        ],
    )


def test_the_newest_datapoint_of_each_machine(cloud: Any, cloudwatch: Any) -> None:
    now = time.time()
    name = cloud.config.name
    for percent, age in ((90.0, 500), (12.5, 65), (40.0, 300)):
        report(cloudwatch, f"i-{name}-a", percent, now - age)
    report(cloudwatch, f"i-{name}-late", 50.0, now - 1000)
    ids = [f"i-{name}-a", f"i-{name}-late", f"i-{name}-none"]
    assert cloud.metrics.cpu(ids, now) == {ids[0]: 12.5, ids[1]: None, ids[2]: None}


def test_a_whole_fleet_is_one_call_for_five_hundred(cloud: Any, session: boto3.session.Session) -> None:
    made = client(cloud.session, cloud.config, "cloudwatch")
    asked: list[int] = []

    def count(params: Any, **_: Any) -> None:
        asked.append(len(params["MetricDataQueries"]))

    made.meta.events.register("provide-client-params.cloudwatch.GetMetricData", count)
    try:
        ids = [f"i-{number}" for number in range(501)]
        assert cloud.metrics.cpu([*ids, *ids], time.time()) == dict.fromkeys(ids)
    finally:
        made.meta.events.unregister("provide-client-params.cloudwatch.GetMetricData", count)
    assert asked == [500, 1]


def test_what_is_published_is_in_the_namespace_and_under_the_deployment(cloud: Any, cloudwatch: Any) -> None:
    now = time.time()
    cloud.metrics.publish("NumJobsReadyOrBeingProcessed", 7, now)
    found = cloudwatch.get_metric_statistics(
        Namespace="DeepStyleQueue",
        MetricName="NumJobsReadyOrBeingProcessed",
        Dimensions=[{"Name": "Deployment", "Value": cloud.config.name}],
        StartTime=datetime.fromtimestamp(now - 120, UTC),
        EndTime=datetime.fromtimestamp(now + 120, UTC),
        Period=60,
        Statistics=["Maximum"],
    )
    assert [point["Maximum"] for point in found["Datapoints"]] == [7.0]
