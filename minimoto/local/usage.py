"""CPUUtilization of the embedded AWS's machines, as CloudWatch would have it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends

from minimoto.local.instances import LocalInstance

NAMESPACE = "AWS/EC2"
KEPT = timedelta(hours=3)
"""Older datapoints of whatever metric are dropped: moto looks through all of them at every question."""


def publish(used: Mapping[LocalInstance, float], now: datetime | None = None) -> None:
    """Puts one datapoint for each instance; hold the lock of ``monitoring``.

    Parameters:
        used: percent of the machine's share of this computer, 0..100.
    """
    now = now or datetime.now(UTC)
    for instance, percent in used.items():
        backend = cloudwatch_backends[instance.account][instance.region]
        backend.put_metric_data(
            NAMESPACE,
            [
                {
                    "MetricName": "CPUUtilization",
                    "Dimensions": [{"Name": "InstanceId", "Value": instance.id}],
                    "Timestamp": now.replace(tzinfo=None),  # moto compares without
                    "Value": round(percent, 2),
                    "Unit": "Percent",
                }
            ],
        )


def forget_old(now: datetime | None = None) -> None:
    """Drops datapoints that nobody asks for any more; hold the lock of ``monitoring``."""
    oldest = (now or datetime.now(UTC)) - KEPT
    for account in list(cloudwatch_backends.values()):
        for backend in list(account.values()):
            backend.metric_data = [d for d in backend.metric_data if _when(d) >= oldest]


def _when(datum: Any) -> datetime:
    at: datetime = datum.timestamp
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def share(cpus: int, machines: int) -> float:
    """Cores of this computer that count as one machine's."""
    return cpus / max(1, machines)
