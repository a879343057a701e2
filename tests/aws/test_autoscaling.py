"""The Auto Scaling group as AWS tells of it: what it could not do, and calls that come too late."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from minimoto.aws.scaling import AutoScalingGroup, troubles
from minimoto.config import Config
from minimoto.errors import CloudError

AT = datetime(2026, 11, 27, 12, 0, 7, tzinfo=UTC)
NO_SPOT = "Could not launch Spot Instances. UnfulfillableCapacity - There is no\n capacity."


def activity(status: str, message: str = "") -> dict[str, Any]:
    return {"StatusCode": status, "StartTime": AT, **({"StatusMessage": message} if message else {})}


class Client:
    """Answers what the test put there."""

    def __init__(self, desired: int, refusal: str = "") -> None:
        self.desired, self.refusal, self.asked = desired, refusal, []  # type: ignore[var-annotated]

    def describe_auto_scaling_groups(self, **asked: Any) -> Any:
        self.asked.append("groups")
        members = [{"InstanceId": "i-1", "LifecycleState": "InService", "ProtectedFromScaleIn": True}]
        group = {"MinSize": 0, "MaxSize": 8, "DesiredCapacity": self.desired, "Instances": members}
        return {"AutoScalingGroups": [group]}

    def describe_scaling_activities(self, **asked: Any) -> Any:
        self.asked.append("activities")
        return {"Activities": [activity("Failed", NO_SPOT), activity("Successful"), activity("Failed", "long ago")]}

    def terminate_instance_in_auto_scaling_group(self, **asked: Any) -> None:
        self.asked.append(f"end {asked['InstanceId']}")
        self._refuse("TerminateInstanceInAutoScalingGroup")

    def complete_lifecycle_action(self, **asked: Any) -> None:
        self.asked.append(f"complete {asked['InstanceId']}")
        self._refuse("CompleteLifecycleAction")

    def _refuse(self, operation: str) -> None:
        if self.refusal:
            raise ClientError({"Error": {"Code": self.refusal, "Message": "no"}}, operation)


def group_of(client: Client) -> AutoScalingGroup:
    group = AutoScalingGroup(None, Config(name="trip"))  # type: ignore[arg-type]
    vars(group)["_scaling"] = client
    return group


def test_activities_are_asked_for_only_while_something_is_missing() -> None:
    content, wanting = Client(desired=1), Client(desired=3)
    seen = group_of(content).look()
    assert (seen.least, seen.most, seen.desired, seen.troubles) == (0, 8, 1, ())
    assert seen.members[0].protected
    assert content.asked == ["groups"]
    (trouble,) = group_of(wanting).look().troubles
    assert trouble.startswith("Could not launch Spot Instances. UnfulfillableCapacity - There is no capacity.")
    assert trouble.endswith("(12:00:07 UTC)")


def test_troubles_are_those_since_the_last_success_each_once() -> None:
    failed = activity("Failed", NO_SPOT)
    assert len(troubles([failed, failed, activity("InProgress"), activity("Cancelled", "another")])) == 2
    assert troubles([activity("Successful"), failed]) == ()
    assert troubles([activity("Failed")]) == ("failed (12:00:07 UTC)",)


@pytest.mark.parametrize("code", ["", "ValidationError", "ScalingActivityInProgress"])
def test_a_machine_that_is_ending_already_is_let_go_all_the_same(code: str) -> None:
    client = Client(desired=1, refusal=code)
    group_of(client).replace("i-1")
    assert client.asked == ["end i-1", "complete i-1"]


def test_any_other_refusal_is_said() -> None:
    with pytest.raises(CloudError, match="Auto Scaling group trip-service: replacing i-1: no \\(AccessDenied\\)"):
        group_of(Client(desired=1, refusal="AccessDenied")).replace("i-1")
