"""Auto Scaling groups of the embedded AWS: alarms move them, protected machines stay, hooks are waited for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from laboratory import Laboratory, until

from minimoto.imds import Imds

GROUP = "trip-service"
BACKLOG, JOBS = "BacklogPerNode", "NumJobsReadyOrBeingProcessed"
TAGS = {"minimoto:deployment": "trip", "minimoto:role": "service"}


@dataclass
class Scaled:
    """A group of the laboratory, with a hook, a tracked target and a step for when there are no jobs."""

    laboratory: Laboratory

    @property
    def scaling(self) -> Any:
        return self.laboratory.client("autoscaling")

    def publish(self, name: str, value: float) -> None:
        datum = {"MetricName": name, "Value": value, "Timestamp": datetime.now(UTC)}
        self.laboratory.client("cloudwatch").put_metric_data(Namespace="DeepStyleQueue", MetricData=[datum])

    @property
    def group(self) -> Any:
        return self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"][0]

    def ids(self, state: str = "InService") -> list[str]:
        return [each["InstanceId"] for each in self.group["Instances"] if each["LifecycleState"] == state]

    def publishing(self, name: str, value: Callable[[], float], done: Callable[[], Any], what: str) -> Any:
        """Publishes twice a second, as a watchdog would, until something has come about."""
        due = [0.0]

        def look() -> Any:
            if time.monotonic() >= due[0]:
                due[0] = time.monotonic() + 0.5
                self.publish(name, value())
            return done()

        return until(look, 60, what)

    def imds(self, instance: str) -> Imds:
        return Imds(f"{self.laboratory.url}/_imds/{instance}", timeout=5)

    def complete(self, instance: str) -> None:
        self.scaling.complete_lifecycle_action(
            AutoScalingGroupName=GROUP,
            LifecycleHookName="drain",
            InstanceId=instance,
            LifecycleActionResult="CONTINUE",
        )


@pytest.fixture
def scaled(laboratory: Laboratory) -> Iterator[Scaled]:
    ec2, scaling = laboratory.client("ec2"), laboratory.client("autoscaling")
    template = ec2.create_launch_template(
        LaunchTemplateName="trip-service",
        LaunchTemplateData={
            "ImageId": "ami-12c6146b",
            "InstanceType": "g5.xlarge",
            "TagSpecifications": [
                {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in TAGS.items()]}
            ],
        },
    )["LaunchTemplate"]["LaunchTemplateId"]
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        MinSize=1,
        MaxSize=3,
        AvailabilityZones=["us-east-1a"],
        LaunchTemplate={"LaunchTemplateId": template},
    )
    scaling.put_lifecycle_hook(
        AutoScalingGroupName=GROUP,
        LifecycleHookName="drain",
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        HeartbeatTimeout=3600,
        DefaultResult="CONTINUE",
    )
    scaling.put_scaling_policy(
        AutoScalingGroupName=GROUP,
        PolicyName="backlog",
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration={
            "TargetValue": 60.0,
            "CustomizedMetricSpecification": {
                "Namespace": "DeepStyleQueue",
                "MetricName": BACKLOG,
                "Dimensions": [],
                "Statistic": "Average",
            },
        },
    )
    rest = scaling.put_scaling_policy(
        AutoScalingGroupName=GROUP,
        PolicyName="rest",
        PolicyType="StepScaling",
        AdjustmentType="ExactCapacity",
        StepAdjustments=[{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": 0}],
    )["PolicyARN"]
    laboratory.client("cloudwatch").put_metric_alarm(
        AlarmName="rest",
        Namespace="DeepStyleQueue",
        MetricName=JOBS,
        Statistic="Maximum",
        Period=1,
        EvaluationPeriods=1,
        Threshold=0.0,
        ComparisonOperator="LessThanOrEqualToThreshold",
        TreatMissingData="missing",
        AlarmActions=[rest],
    )
    yield Scaled(laboratory)
    laboratory.client("cloudwatch").delete_alarms(AlarmNames=["rest"])
    scaling.delete_auto_scaling_group(AutoScalingGroupName=GROUP, ForceDelete=True)
    ec2.delete_launch_template(LaunchTemplateId=template)
    until(lambda: not laboratory.processes(), what="the end of every machine")


@pytest.mark.timeout(150)
def test_out_by_the_backlog_in_by_the_alarm_and_no_protected_machine_is_ended(
    scaled: Scaled, laboratory: Laboratory
) -> None:
    (first,) = scaled.ids()
    laboratory.up(first)
    # Two and a half nodes' worth of work: as it is shared, the backlog of each falls to the target, and the size stays.
    work = 150.0
    scaled.publishing(BACKLOG, lambda: work / len(scaled.ids()), lambda: len(scaled.ids()) == 3, "three machines")
    assert scaled.group["DesiredCapacity"] == 3
    for instance in scaled.ids():
        laboratory.up(instance)
    scaled.scaling.set_instance_protection(AutoScalingGroupName=GROUP, InstanceIds=[first], ProtectedFromScaleIn=True)
    scaled.publishing(JOBS, lambda: 0.0, lambda: scaled.group["DesiredCapacity"] == 1, "the size at rest")
    assert scaled.ids() == [first]
    leaving = scaled.ids("Terminating:Wait")
    assert len(leaving) == 2
    # They work on until their hooks are completed, and can see that they are to go.
    assert [laboratory.state_of(instance) for instance in leaving] == ["running"] * 2
    assert scaled.imds(leaving[0]).ended_by_group()
    assert not scaled.imds(first).ended_by_group()
    for instance in leaving:
        scaled.complete(instance)
    until(lambda: not any(laboratory.processes(instance) for instance in leaving))
    assert [laboratory.state_of(instance) for instance in leaving] == ["terminated"] * 2
    assert scaled.ids() == [first]
    alarm = laboratory.client("cloudwatch").describe_alarms(AlarmNames=["rest"])["MetricAlarms"][0]
    assert alarm["StateValue"] in ("ALARM", "INSUFFICIENT_DATA")


@pytest.mark.fault
def test_a_machine_that_dies_or_is_ended_is_replaced(scaled: Scaled, laboratory: Laboratory) -> None:
    (first,) = scaled.ids()
    os.kill(laboratory.up(first), signal.SIGKILL)
    second = until(lambda: next((id for id in scaled.ids() if id != first), None), what="another in its place")
    assert laboratory.state_of(first) == "terminated"
    laboratory.client("ec2").terminate_instances(InstanceIds=[second])
    until(lambda: [id for id in scaled.ids() if id != second], what="another one")
    assert scaled.group["DesiredCapacity"] == 1


def test_a_hook_times_out_and_can_be_prolonged(scaled: Scaled, laboratory: Laboratory) -> None:
    (first,) = scaled.ids()
    hook = {"AutoScalingGroupName": GROUP, "LifecycleHookName": "drain"}
    scaled.scaling.put_lifecycle_hook(
        **hook, LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING", HeartbeatTimeout=1, DefaultResult="CONTINUE"
    )
    scaled.scaling.terminate_instance_in_auto_scaling_group(InstanceId=first, ShouldDecrementDesiredCapacity=False)
    scaled.scaling.record_lifecycle_action_heartbeat(**hook, InstanceId=first)
    until(lambda: first not in scaled.ids("Terminating:Wait"), what="the end of the hook's time")
    assert laboratory.state_of(first) == "terminated"
    with pytest.raises(ClientError, match="No managed instance found"):
        scaled.scaling.record_lifecycle_action_heartbeat(**hook, InstanceId=first)


def test_what_aws_refuses_is_refused(scaled: Scaled) -> None:
    with pytest.raises(ClientError, match="AlreadyExists"):
        scaled.scaling.create_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            MinSize=0,
            MaxSize=0,
            AvailabilityZones=["us-east-1a"],
            LaunchTemplate={"LaunchTemplateName": "trip-service"},
        )
    with pytest.raises(ClientError, match="ResourceInUse"):
        scaled.scaling.delete_auto_scaling_group(AutoScalingGroupName=GROUP)
    with pytest.raises(ClientError, match="No active Lifecycle Action"):
        scaled.complete(scaled.ids()[0])
