"""What CloudWatch does for Auto Scaling: looks at metrics period by period, and executes the groups' policies.

Only alarms that execute a policy are looked at, and target-tracking policies, whose alarms AWS keeps by itself. Each is
looked at once in a period. Hold the locks of ``monitoring`` and of EC2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from statistics import fmean
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.cloudwatch.models import cloudwatch_backends

TRACKING_PERIOD = 5.0
"""Seconds of a datapoint of a target-tracking policy; 60 in AWS."""
OUT_PERIODS, IN_PERIODS = 3, 15
"""How many of them one after another must be above the target, or well below it, as in AWS."""
WELL_BELOW = 0.9
"""Share of the target under which a group is too large."""

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
STATISTICS = {"Average": fmean, "Maximum": max, "Minimum": min, "Sum": sum}

Values = Sequence[float | None]
"""A metric's statistic, period by period, the newest first; ``None`` where there is no datapoint."""


@dataclass(frozen=True)
class Watched:
    """A metric as an alarm looks at it."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]
    statistic: str
    period: float


class Evaluator:
    """Looks at alarms and tracked targets when they are due."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def look(self, now: float) -> None:
        """Executes every policy whose time has come.

        Parameters:
            now: seconds since the epoch.
        """
        for account, regions in list(autoscaling_backends.items()):
            for region, scaling in list(regions.items()):
                if scaling.policies:
                    metrics = cloudwatch_backends[account][region]
                    self._alarms(metrics, scaling, now)
                    self._targets(metrics, scaling, now)

    def _alarms(self, metrics: Any, scaling: Any, now: float) -> None:
        policies = {policy.arn: policy for policy in scaling.policies.values()}
        for alarm in list(metrics.alarms.values()):
            executed = [policies[arn] for arn in alarm.alarm_actions if arn in policies]
            if not executed or not self._is_due(alarm.alarm_arn, float(alarm.period), now):
                continue
            values = history(metrics.metric_data, _of_alarm(alarm), alarm.evaluation_periods, now)
            state = judge(values, alarm)
            if state != alarm.state_value:
                alarm.update_state(f"{alarm.metric_name}: {values}", "{}", state)
            if state == "ALARM" and alarm.actions_enabled:
                for policy in executed:
                    _step(scaling, policy, values[0], alarm.threshold)

    def _targets(self, metrics: Any, scaling: Any, now: float) -> None:
        for policy in list(scaling.policies.values()):
            tracked = policy.target_tracking_configuration
            if tracked is None or not self._is_due(policy.arn, TRACKING_PERIOD, now):
                continue
            values = history(metrics.metric_data, _of_target(tracked), IN_PERIODS, now)
            group = scaling.autoscaling_groups.get(policy.auto_scaling_group_name)
            if group is not None:
                wanted = track(values, float(tracked.TargetValue), group.desired_capacity)
                if wanted != group.desired_capacity:
                    group.set_desired_capacity(wanted)

    def _is_due(self, what: str, period: float, now: float) -> bool:
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + period
        return True


def history(data: Sequence[Any], watched: Watched, periods: int, now: float) -> Values:
    """The statistic of the last periods, the newest first; moto keeps datapoints in the order in which they came."""
    found: list[list[float]] = [[] for _ in range(periods)]
    for datum in reversed(data):
        age = now - _seconds(datum.timestamp)
        if age >= (periods + 1) * watched.period:
            break
        index = int(max(0.0, age) // watched.period)
        same = (datum.namespace, datum.name) == (watched.namespace, watched.name)
        if index < periods and same and {(d.name, d.value) for d in datum.dimensions} == watched.dimensions:
            found[index].append(float(datum.value))
    statistic: Any = STATISTICS[watched.statistic]
    return [statistic(values) if values else None for values in found]


def judge(values: Values, alarm: Any) -> str:
    """``ALARM``, ``OK`` or ``INSUFFICIENT_DATA``, by the alarm's comparison and what it makes of missing datapoints.

    Source: Amazon CloudWatch User Guide, "Configuring how CloudWatch alarms treat missing data".
    """
    threshold, compare = alarm.threshold, COMPARISONS[alarm.comparison_operator]
    missing = {"breaching": True, "notBreaching": False}.get(alarm.treat_missing_data)
    breaches = [missing if value is None else compare(value, threshold) for value in values]
    known = [breach for breach in breaches if breach is not None]
    if not known:
        return str(alarm.state_value) if alarm.treat_missing_data == "ignore" else "INSUFFICIENT_DATA"
    needed = alarm.datapoints_to_alarm or len(values)
    return "ALARM" if sum(known) >= min(needed, len(known)) else "OK"


def track(values: Values, target: float, capacity: int) -> int:
    """The capacity with which the metric would be at its target; as it is while the metric is not clearly off."""
    if values[0] is None or target <= 0:
        return capacity
    wanted = ceil(capacity * values[0] / target)
    if all(value is not None and value > target for value in values[:OUT_PERIODS]):
        return max(capacity, wanted)
    if all(value is not None and value < WELL_BELOW * target for value in values[:IN_PERIODS]):
        return min(capacity, wanted)
    return capacity


def _step(scaling: Any, policy: Any, value: float | None, threshold: float) -> None:
    """Executes the step that the metric's distance from the threshold is in."""
    group = scaling.autoscaling_groups.get(policy.auto_scaling_group_name)
    if group is None or value is None:
        return
    for step in policy.step_adjustments:
        low, high = (float(step.get(f"MetricInterval{end}Bound", inf)) for end, inf in ENDS)
        if low <= value - threshold <= high:
            change = int(step["ScalingAdjustment"])
            exact = policy.adjustment_type == "ExactCapacity"
            group.set_desired_capacity(change if exact else group.desired_capacity + change)
            return


ENDS = (("Lower", float("-inf")), ("Upper", float("inf")))


def _of_alarm(alarm: Any) -> Watched:
    dimensions = frozenset((d.name, d.value) for d in alarm.dimensions)
    return Watched(alarm.namespace, alarm.metric_name, dimensions, alarm.statistic, float(alarm.period))


def _of_target(tracked: Any) -> Watched:
    metric = tracked.CustomizedMetricSpecification
    dimensions = frozenset((d["Name"], d["Value"]) for d in metric["Dimensions"])
    return Watched(metric["Namespace"], metric["MetricName"], dimensions, metric["Statistic"], TRACKING_PERIOD)


def _seconds(at: datetime) -> float:
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
