"""The Auto Scaling group of a deployment: looked at and bounded by the watchdog, told by its machines what they do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from minimoto.aws.calls import aws_call
from minimoto.aws.clients import client
from minimoto.aws.policies import HOOK, group_name
from minimoto.config import Config
from minimoto.core.group import Group, Member
from minimoto.errors import NotFound

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_autoscaling import AutoScalingClient

LATE = frozenset({"ValidationError", "ScalingActivityInProgress"})
"""What AWS answers when there is nothing to wait for any more, or it is under way already."""

TROUBLES = 5
"""Activities that are looked through for what the group could not do."""

FAILED = frozenset({"Failed", "Cancelled"})


class AutoScalingGroup:
    """``minimoto.ports.ScalingGroup`` on EC2 Auto Scaling."""

    def __init__(self, session: boto3.session.Session, config: Config) -> None:
        self._session, self._config = session, config
        self._name = group_name(config)

    @cached_property
    def _scaling(self) -> AutoScalingClient:
        return client(self._session, self._config, "autoscaling")

    def look(self) -> Group:
        """The group, its machines, and why its last activities failed, where they did."""
        with aws_call(f"Auto Scaling group {self._name}: looking"):
            found = self._scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self._name])["AutoScalingGroups"]
        if not found:
            raise NotFound(f"there is no Auto Scaling group {self._name}: set policy = asg and run minimoto_setup.py")
        members = tuple(
            Member(each["InstanceId"], each["LifecycleState"], each["ProtectedFromScaleIn"])
            for each in found[0]["Instances"]
        )
        least, most, desired = found[0]["MinSize"], found[0]["MaxSize"], found[0]["DesiredCapacity"]
        staying = Group(least, most, desired, members).staying
        # What it could not do is worth a call only while something is missing.
        return Group(least, most, desired, members, self._troubles() if staying < desired else ())

    def bound(self, least: int, most: int) -> None:
        """Gives it other bounds; AWS moves what it wants into them."""
        with aws_call(f"Auto Scaling group {self._name}: bounds {least} to {most}"):
            self._scaling.update_auto_scaling_group(AutoScalingGroupName=self._name, MinSize=least, MaxSize=most)

    def replace(self, node: str) -> None:
        """Ends a machine whose capacity stays wanted; it is dead or has drained, so the hook need not be waited for."""
        with aws_call(f"Auto Scaling group {self._name}: replacing {node}"):
            self._unless_late(
                lambda: self._scaling.terminate_instance_in_auto_scaling_group(
                    InstanceId=node, ShouldDecrementDesiredCapacity=False
                )
            )
        self.release(node)

    def detach(self, node: str, smaller: bool) -> None:
        """Takes a machine in service out of the group; it goes on running."""
        with aws_call(f"Auto Scaling group {self._name}: taking {node} out"):
            self._scaling.detach_instances(
                AutoScalingGroupName=self._name, InstanceIds=[node], ShouldDecrementDesiredCapacity=smaller
            )

    def protect(self, node: str, busy: bool) -> None:
        """Scale-in protection of one machine."""
        with aws_call(f"Auto Scaling group {self._name}: protecting {node}"):
            self._scaling.set_instance_protection(
                AutoScalingGroupName=self._name, InstanceIds=[node], ProtectedFromScaleIn=busy
            )

    def extend(self, node: str) -> None:
        """Prolongs the wait of the termination hook by its timeout, from now."""
        with aws_call(f"Auto Scaling group {self._name}: more time for {node}"):
            self._scaling.record_lifecycle_action_heartbeat(
                AutoScalingGroupName=self._name, LifecycleHookName=HOOK, InstanceId=node
            )

    def release(self, node: str) -> None:
        """Ends that wait."""
        with aws_call(f"Auto Scaling group {self._name}: releasing {node}"):
            self._unless_late(
                lambda: self._scaling.complete_lifecycle_action(
                    AutoScalingGroupName=self._name,
                    LifecycleHookName=HOOK,
                    InstanceId=node,
                    LifecycleActionResult="CONTINUE",
                )
            )

    @staticmethod
    def _unless_late(call: Any) -> None:
        from botocore.exceptions import ClientError

        from minimoto.aws.calls import code_of

        try:
            call()
        except ClientError as error:
            if code_of(error) not in LATE:
                raise

    def _troubles(self) -> tuple[str, ...]:
        with aws_call(f"Auto Scaling group {self._name}: its activities"):
            newest = self._scaling.describe_scaling_activities(AutoScalingGroupName=self._name, MaxRecords=TROUBLES)
        return troubles(newest["Activities"])


def troubles(activities: Sequence[Any]) -> tuple[str, ...]:
    """Why activities failed, newest first, each once: those since the last that went well."""
    lines: dict[str, None] = {}
    for activity in activities:
        if activity["StatusCode"] == "Successful":
            break
        if activity["StatusCode"] in FAILED:
            at: datetime = activity["StartTime"]
            lines.setdefault(f"{' '.join(activity.get('StatusMessage', 'failed').split())} ({at:%H:%M:%S} UTC)")
    return tuple(lines)
