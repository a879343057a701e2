"""Machines, their metrics and the announcements: the same answers in memory and on EC2, CloudWatch and SNS."""

from __future__ import annotations

import time
from typing import Any

import pytest

from minimoto.errors import CloudError


@pytest.fixture
def fleet(ports: Any, kind: str) -> Any:
    """The fleet, empty again afterwards; a real account's has machines that are none of ours to touch."""
    if kind == "aws":
        pytest.skip("machines of a real account cost money: never launched by a test")
    return ports.fleet


def test_no_machines_at_first(fleet: Any) -> None:
    assert fleet.instances() == []
    assert fleet.instances("client") == []
    fleet.terminate([])


def test_machines_are_launched_and_seen(fleet: Any) -> None:
    launched = fleet.launch(3, "pass-1")
    assert len({machine.id for machine in launched}) == 3
    seen = fleet.instances()
    assert {machine.id for machine in seen} == {machine.id for machine in launched}
    assert [machine.launched for machine in seen] == sorted(machine.launched for machine in seen)
    for machine in seen:
        assert (machine.role, machine.state, machine.launch_token) == ("service", "running", "pass-1")
        assert (machine.type, machine.healthy) == ("g5.xlarge", True)
        assert machine.launched > 1_700_000_000
    assert fleet.instances("client") == []


def test_a_token_launches_nothing_twice(fleet: Any) -> None:
    first = fleet.launch(2, "pass-1")
    again = fleet.launch(2, "pass-1")
    assert {machine.id for machine in again} == {machine.id for machine in first}
    assert len(fleet.launch(1, "pass-2")) == 1
    assert len(fleet.instances()) == 3


def test_a_token_is_used_up_when_its_machines_are_gone(fleet: Any) -> None:
    (machine,) = fleet.launch(1, "pass-1")
    fleet.terminate([machine.id])
    assert fleet.launch(1, "pass-1") == []
    assert fleet.instances() == []


def test_a_launch_cut_short_is_completed(fleet: Any) -> None:
    (first,) = fleet.launch(1, "pass-1")
    machines = fleet.launch(3, "pass-1")
    assert first.id in {machine.id for machine in machines}
    assert len(machines) == len(fleet.instances()) == 3


def test_terminated_machines_are_not_seen(fleet: Any) -> None:
    machines = fleet.launch(3, "pass-1")
    fleet.terminate([machines[0].id, machines[2].id])
    assert [machine.id for machine in fleet.instances()] == [machines[1].id]
    fleet.terminate([machines[0].id])


@pytest.mark.parametrize("strange", ["i-0123456789abcdef0", "nonsense"])
def test_an_unknown_machine_stops_the_whole_termination(fleet: Any, strange: str) -> None:
    (machine,) = fleet.launch(1, "pass-1")
    with pytest.raises(CloudError, match=strange):
        fleet.terminate([machine.id, strange])
    assert [seen.id for seen in fleet.instances()] == [machine.id]


def test_cpu_without_a_datapoint(ports: Any) -> None:
    assert ports.metrics.cpu(["i-1", "i-2"], time.time()) == {"i-1": None, "i-2": None}
    assert ports.metrics.cpu([], time.time()) == {}


def test_publishing_and_announcing(ports: Any) -> None:
    ports.metrics.publish("NumJobsReadyOrBeingProcessed", 3, time.time())
    ports.topic.announce("minimoto: Føroyar\nPROCESSING_SUCCESSFUL", "s3://out/é.mp4\n" * 3)
    ports.topic.announce("", "")
    ports.topic.announce("x" * 300, "y" * 300_000)
