"""``policy = asg``: the roles do their whole job with what they may, and no more than that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from minimoto.aws.policies import group_name, role_name, role_policy
from minimoto.core.job import JobState
from minimoto.core.node import NodeReport, NodeState
from minimoto.in_group import InGroup
from minimoto.interruption import Stop
from minimoto.local.server import ACCOUNT
from minimoto.logs import open_log
from minimoto.service import Setting, serve
from minimoto.watchdog.patrol import Resize, Watchdog
from minimoto.watchdog.problems import Problems
from minimoto.watchdog.status import fleet_status

from .conftest import Neighbours, Roles, make_roles
from .enforcement import asked, enforced
from .test_refused import REFUSED, launch
from .test_whole_jobs import SELDOM, send


def members(roles: Roles) -> list[str]:
    return [member.id for member in roles.cloud("watchdog").group.look().members]


def test_service_and_watchdog_of_a_group_may_what_they_do_and_nothing_else(
    grouped: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, other = members(grouped)
    service, watchdog = grouped.cloud("service"), grouped.cloud("watchdog")
    monkeypatch.setenv("MINIMOTO_NODE", node)
    job = send(grouped, tmp_path, "trip")
    assert serve(service, Stop(), Setting()) == 0
    assert grouped.cloud("client").jobs.get(job.id).state is JobState.PROCESSING_SUCCESSFUL
    assert not any(member.protected for member in watchdog.group.look().members)
    # It shrinks: the machine that is chosen asks for time, and says when it may go.
    seen = Watchdog(watchdog, price=1.0).run_pass(Resize(1))
    assert seen is not None
    assert seen.problems == ()
    (leaving,) = [member.id for member in watchdog.group.look().members if not member.stays]
    service.group.extend(leaving)
    service.group.release(leaving)
    assert members(grouped) == [node if leaving == other else other]
    # A dead one is replaced.
    watchdog.nodes.beat(NodeReport(members(grouped)[0], 0, NodeState.FENCED, beat=watchdog.clock.now()))
    before = members(grouped)
    seen = Watchdog(watchdog, price=1.0).run_pass()
    assert seen is not None
    assert [line for line in seen.done if line.startswith(f"terminated {before[0]}")]
    assert not set(members(grouped)) & set(before)
    assert seen.problems == ()
    # And so that the two calls that only a group in trouble asks for are made too.
    grouped.cloud("watchdog").group._troubles()
    problems = Problems()
    assert fleet_status(watchdog, problems).group is not None
    assert problems.lines == []
    seldom = {*SELDOM, "ec2:TerminateInstances"}
    for role in ("service", "watchdog"):
        may = {
            action
            for statement in role_policy(role, grouped.config, ACCOUNT)["Statement"]
            for action in statement["Action"]
            if action.startswith(("autoscaling:", "ec2:", "iam:"))
        }
        did = {action for name, action in asked if name == role_name(role, grouped.config)}
        assert may - did - seldom == set(), role


def test_the_watchdog_takes_out_of_the_group_what_it_is_told_to_keep(make_deployment: Any, tmp_path: Path) -> None:
    settings = {"data_dir": str(tmp_path / "data"), "min_nodes": 1, "max_nodes": 4, "free_disk": 0}
    roles = make_roles(make_deployment(policy="asg", market="on-demand", keep_failed=True, **settings))
    with enforced():
        watchdog = roles.cloud("watchdog")
        bad, other = members(roles)
        watchdog.nodes.beat(NodeReport(bad, 0, NodeState.FENCED, beat=watchdog.clock.now()))
        seen = Watchdog(watchdog, price=1.0).run_pass()
        assert seen is not None
        assert seen.problems == ()
        assert bad not in members(roles)
        assert other in members(roles)
        assert {machine.id: machine.grouped for machine in watchdog.fleet.instances()}[bad] is False


def test_a_machine_beside_the_group_can_still_be_ended(grouped: Roles) -> None:
    grouped.cloud("watchdog").fleet.terminate([grouped.machines["service"]])


def test_what_is_not_allowed_stops_no_work(neighbours: Neighbours, tmp_path: Path) -> None:
    """A role whose policy is of another day: protection fails, and is only said."""
    cloud = neighbours.ours.cloud("service", policy="asg")
    group = InGroup(cloud.group, cloud.clock, open_log(), "i-1", tmp_path, 0, rest=0.0)
    group.begin()
    group.busy()
    group.leaving()
    group.close()


Call = Callable[[Any, Roles, str, str], Any]

CASES: list[tuple[str, str, Call]] = [
    ("client service", "look at the group", lambda c, o, g, i: c("autoscaling").describe_auto_scaling_groups()),
    (
        "client service",
        "widen the group",
        lambda c, o, g, i: c("autoscaling").update_auto_scaling_group(AutoScalingGroupName=g, MinSize=0, MaxSize=1),
    ),
    (
        "watchdog",
        "widen the group beyond max_nodes",
        lambda c, o, g, i: c("autoscaling").update_auto_scaling_group(AutoScalingGroupName=g, MinSize=0, MaxSize=99),
    ),
    (
        "client watchdog",
        "protect a machine",
        lambda c, o, g, i: c("autoscaling").set_instance_protection(
            AutoScalingGroupName=g, InstanceIds=[i], ProtectedFromScaleIn=True
        ),
    ),
    (
        "client service",
        "end a machine by the group",
        lambda c, o, g, i: c("autoscaling").terminate_instance_in_auto_scaling_group(
            InstanceId=i, ShouldDecrementDesiredCapacity=False
        ),
    ),
    (
        "client",
        "complete a hook",
        lambda c, o, g, i: c("autoscaling").complete_lifecycle_action(
            AutoScalingGroupName=g, LifecycleHookName="drain", InstanceId=i, LifecycleActionResult="CONTINUE"
        ),
    ),
    *(
        ("client service watchdog", what, call)
        for what, call in {
            "delete the group": lambda c, o, g, i: c("autoscaling").delete_auto_scaling_group(
                AutoScalingGroupName=g, ForceDelete=True
            ),
            "change a policy": lambda c, o, g, i: c("autoscaling").put_scaling_policy(
                AutoScalingGroupName=g, PolicyName="p", AdjustmentType="ChangeInCapacity", ScalingAdjustment=9
            ),
            "drop the hook": lambda c, o, g, i: c("autoscaling").delete_lifecycle_hook(
                AutoScalingGroupName=g, LifecycleHookName="drain"
            ),
            "detach a machine": lambda c, o, g, i: c("autoscaling").detach_instances(
                AutoScalingGroupName=g, InstanceIds=[i], ShouldDecrementDesiredCapacity=True
            ),
            "launch a node": lambda c, o, g, i: launch(c, o),
        }.items()
    ),
]


@pytest.mark.parametrize("theirs", [False, True], ids=["ours", "theirs"])
@pytest.mark.parametrize(
    ("role", "what", "call"), [(role, what, call) for roles, what, call in CASES for role in roles.split()]
)
def test_a_role_is_refused(grouped_neighbours: Neighbours, role: str, what: str, call: Call, theirs: bool) -> None:
    ours = grouped_neighbours.ours
    named = grouped_neighbours.theirs if theirs else ours
    node = members(named)[0]
    with pytest.raises(ClientError) as caught:
        call(lambda service: ours.client(role, service), ours, group_name(named.config), node)
    assert caught.value.response["Error"]["Code"] in REFUSED, what


@pytest.mark.parametrize("role", ["service", "watchdog"])
def test_what_a_role_may_do_to_its_own_group_it_may_not_do_to_another(
    grouped_neighbours: Neighbours, role: str
) -> None:
    ours, theirs = grouped_neighbours.ours, grouped_neighbours.theirs
    node = members(theirs)[0]
    cloud = ours.cloud(role)
    strange = replace(ours.config, name=theirs.config.name)
    vars(cloud)["group"] = type(cloud.group)(ours.sessions[role], strange)
    calls: list[Callable[[], None]] = [lambda: cloud.group.release(node)]
    if role == "service":
        calls += [lambda: cloud.group.protect(node, True), lambda: cloud.group.extend(node)]
    else:
        calls += [lambda: cloud.group.replace(node), lambda: cloud.group.bound(0, 1)]
    for each in calls:
        with pytest.raises(Exception, match="AccessDenied"):
            each()
