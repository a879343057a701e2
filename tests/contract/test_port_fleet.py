"""Machines, their metrics and the announcements: the same answers in memory and on EC2, CloudWatch and SNS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from minimoto.core.markets import Pool
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
    assert len(set(launched.ids)) == 3
    seen = fleet.instances()
    assert {machine.id for machine in seen} == set(launched.ids)
    assert {(pool.market, pool.type) for pool in launched.machines.values()} == {("spot", "g5.xlarge")}
    assert [machine.launched for machine in seen] == sorted(machine.launched for machine in seen)
    for machine in seen:
        assert (machine.role, machine.state, machine.launch_token) == ("service", "running", "pass-1")
        assert (machine.type, machine.healthy) == ("g5.xlarge", True)
        assert machine.launched > 1_700_000_000
    assert fleet.instances("client") == []


def test_a_token_launches_nothing_twice(fleet: Any) -> None:
    first = fleet.launch(2, "pass-1")
    again = fleet.launch(2, "pass-1")
    assert set(again.ids) == set(first.ids)
    assert len(fleet.launch(1, "pass-2").ids) == 1
    assert len(fleet.instances()) == 3


def test_a_token_is_used_up_when_its_machines_are_gone(fleet: Any) -> None:
    fleet.terminate(fleet.launch(1, "pass-1").ids)
    assert fleet.launch(1, "pass-1").ids == []
    assert fleet.instances() == []


def test_a_launch_cut_short_is_completed(fleet: Any) -> None:
    (first,) = fleet.launch(1, "pass-1").ids
    machines = fleet.launch(3, "pass-1").ids
    assert first in machines
    assert len(machines) == len(fleet.instances()) == 3


def test_terminated_machines_are_not_seen(fleet: Any) -> None:
    first, second, third = fleet.launch(3, "pass-1").ids
    fleet.terminate([first, third])
    assert [machine.id for machine in fleet.instances()] == [second]
    fleet.terminate([first])


@pytest.mark.parametrize("strange", ["i-0123456789abcdef0", "nonsense"])
def test_an_unknown_machine_stops_the_whole_termination(fleet: Any, strange: str) -> None:
    (machine,) = fleet.launch(1, "pass-1").ids
    with pytest.raises(CloudError, match=strange):
        fleet.terminate([machine, strange])
    assert [seen.id for seen in fleet.instances()] == [machine]


@pytest.fixture
def sold_out(ports: Any, kind: str) -> Iterator[Callable[[str, str], None]]:
    """Takes a market's machines of a type away."""
    from minimoto.local import fleets

    yield fleets.refuse if kind == "embedded" else lambda *pool: ports.fleet.sold_out.add(pool)
    fleets.forget()


def test_pools_are_asked_in_their_order_and_refusals_told(make_ports: Callable[..., Any], kind: str) -> None:
    if kind == "aws":
        pytest.skip("machines of a real account cost money: never launched by a test")
    fleet = make_ports(more_types=("g6.xlarge",)).fleet
    pools = fleet.pools(time.time())
    assert {(pool.market, pool.type) for pool in pools} == {
        (market, type) for market in ("spot", "on-demand") for type in ("g5.xlarge", "g6.xlarge")
    }
    wanted = [Pool("on-demand", "g6.xlarge"), Pool("spot", "g5.xlarge")]
    assert set(fleet.launch(2, "pass-1", wanted).machines.values()) == {wanted[0]}
    (seen, _) = fleet.instances()
    assert (seen.market, seen.type) == ("on-demand", "g6.xlarge")


def test_what_one_pool_has_not_another_may(ports: Any, fleet: Any, sold_out: Callable[[str, str], None]) -> None:
    sold_out("spot", "g5.xlarge")
    had = fleet.launch(2, "pass-1", [Pool("spot", "g5.xlarge"), Pool("on-demand", "g5.xlarge")])
    assert had.refused == {Pool("spot", "g5.xlarge"): "InsufficientInstanceCapacity"}
    assert list(had.machines.values()) == [Pool("on-demand", "g5.xlarge")] * 2


def test_nothing_to_be_had_is_an_answer(fleet: Any, sold_out: Callable[[str, str], None]) -> None:
    sold_out("spot", "g5.xlarge")
    sold_out("on-demand", "g5.xlarge")
    had = fleet.launch(2, "pass-1")
    assert had.ids == fleet.instances() == []
    assert {str(pool) for pool in had.refused} == {"spot g5.xlarge", "on-demand g5.xlarge"}


def test_cpu_without_a_datapoint(ports: Any) -> None:
    assert ports.metrics.cpu(["i-1", "i-2"], time.time()) == {"i-1": None, "i-2": None}
    assert ports.metrics.cpu([], time.time()) == {}


def test_publishing_and_announcing(ports: Any) -> None:
    ports.metrics.publish("NumJobsReadyOrBeingProcessed", 3, time.time())
    ports.topic.announce("minimoto: Føroyar\nPROCESSING_SUCCESSFUL", "s3://out/é.mp4\n" * 3)
    ports.topic.announce("", "")
    ports.topic.announce("x" * 300, "y" * 300_000)
