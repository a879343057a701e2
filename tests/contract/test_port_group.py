"""The Auto Scaling group: the same answers in memory and on EC2 Auto Scaling."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from minimoto.aws.clients import client
from minimoto.aws.policies import DEPLOYMENT_TAG, HOOK, ROLE_TAG, group_name
from minimoto.aws.resources.scaling_group import HOOK_DEFINITION
from minimoto.core.group import BACKLOG, JOBS, NO_NODE
from minimoto.errors import CloudError, NotFound

Make = Callable[[int, int], Any]


@pytest.fixture
def make_group(ports: Any, kind: str) -> Make:
    """Gives the deployment a group of so many machines at least and at most."""
    if kind == "aws":
        pytest.skip("machines of a real account cost money: never launched by a test")

    def make(least: int, most: int) -> Any:
        if kind == "memory":
            ports.group.make(least, most)
            return ports.group
        scaling, config = client(ports.session, ports.config, "autoscaling"), ports.config
        tags = {DEPLOYMENT_TAG: config.name, ROLE_TAG: "service"}
        scaling.create_auto_scaling_group(
            AutoScalingGroupName=group_name(config),
            MinSize=least,
            MaxSize=most,
            AvailabilityZones=["us-east-1a"],
            LaunchTemplate={"LaunchTemplateId": config.launch_template},
            Tags=[{"Key": key, "Value": value, "PropagateAtLaunch": True} for key, value in tags.items()],
        )
        scaling.put_lifecycle_hook(AutoScalingGroupName=group_name(config), LifecycleHookName=HOOK, **HOOK_DEFINITION)
        return ports.group

    return make


def ids(group: Any, state: str = "InService") -> list[str]:
    return [member.id for member in group.look().members if member.state == state]


def test_a_deployment_without_a_group(ports: Any, kind: str) -> None:
    if kind == "aws":
        pytest.skip("the deployment may have one")
    with pytest.raises(NotFound, match="there is no Auto Scaling group"):
        ports.group.look()


def test_it_has_what_it_wants_and_its_machines_are_the_fleets(make_group: Make, ports: Any) -> None:
    group = make_group(2, 3)
    seen = group.look()
    assert (seen.least, seen.most, seen.desired, seen.staying, seen.troubles) == (2, 3, 2, 2, ())
    assert seen.ids == {machine.id for machine in ports.fleet.instances() if machine.grouped}
    (beside,) = ports.fleet.launch(1, "pass-1").ids
    assert beside not in {machine.id for machine in ports.fleet.instances() if machine.grouped}
    assert not any(member.protected for member in seen.members)


def test_bounds_move_what_it_wants(make_group: Make) -> None:
    group = make_group(0, 3)
    assert group.look().desired == 0
    group.bound(2, 3)
    assert (group.look().desired, len(ids(group))) == (2, 2)
    group.bound(0, 1)
    seen = group.look()
    assert (seen.least, seen.most, seen.desired, seen.staying) == (0, 1, 1, 1)


def test_a_protected_machine_is_not_chosen_and_the_others_wait_for_the_hook(make_group: Make, ports: Any) -> None:
    group = make_group(3, 3)
    busy = ids(group)[0]
    group.protect(busy, True)
    group.bound(0, 0)
    assert ids(group) == [busy]
    waiting = ids(group, "Terminating:Wait")
    assert len(waiting) == 2
    assert len(ports.fleet.instances()) == 3, "none is ended before the hook lets it"
    group.extend(waiting[0])
    for node in waiting:
        group.release(node)
    assert [machine.id for machine in ports.fleet.instances()] == [busy]
    group.release(waiting[0])
    with pytest.raises(CloudError):
        group.extend(busy)
    group.protect(busy, False)
    assert ids(group, "Terminating:Wait") == [busy]


def test_replacing_keeps_the_size_and_does_not_wait(make_group: Make, ports: Any) -> None:
    group = make_group(2, 2)
    dead, other = ids(group)
    group.protect(dead, True)
    group.replace(dead)
    left = {machine.id for machine in ports.fleet.instances()}
    assert dead not in left
    assert other in left
    assert set(ids(group)) == left
    assert (group.look().desired, len(left)) == (2, 2)
    group.replace(dead)
    assert set(ids(group)) == left


def test_what_is_taken_out_of_it_goes_on_and_is_replaced_or_not(make_group: Make, ports: Any) -> None:
    group = make_group(2, 3)
    first, second = ids(group)
    group.protect(first, True)
    group.detach(first, smaller=False)
    seen = group.look()
    assert (seen.desired, seen.staying, first in seen.ids, second in seen.ids) == (2, 2, False, True)
    machines = {machine.id: machine.grouped for machine in ports.fleet.instances()}
    assert len(machines) == 3
    assert machines[first] is False
    with pytest.raises(CloudError):
        group.detach(second, smaller=True)  # fewer than its least
    with pytest.raises(CloudError):
        group.detach(first, smaller=False)  # no longer its own
    group.bound(1, 3)
    group.detach(second, smaller=True)
    seen = group.look()
    assert (seen.desired, seen.staying, second in seen.ids) == (1, 1, False)
    assert {first, second} < {machine.id for machine in ports.fleet.instances()}
    group.bound(0, 0)
    (ending,) = ids(group, "Terminating:Wait")
    with pytest.raises(CloudError):
        group.detach(ending, smaller=False)


def test_a_machine_of_no_group_cannot_be_protected(make_group: Make) -> None:
    group = make_group(0, 1)
    with pytest.raises(CloudError):
        group.protect("i-0123456789abcdef0", True)


def test_metrics_with_a_second_dimension(ports: Any) -> None:
    ports.metrics.publish(JOBS, 3, time.time(), NO_NODE)
    ports.metrics.publish(BACKLOG, 12.5, time.time())
