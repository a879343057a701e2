"""Nodes on demand give their places to spot ones: what the watchdog does, says and finds again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from killed_pass import LaterClock
from played_fleet import Fleet
from test_owners import started, told
from test_pass import MESSAGE
from test_repair import job

from minimoto.config import Config
from minimoto.core.job import Stage
from minimoto.core.markets import FIRST_PAUSE, Pool
from minimoto.core.node import NodeReport, NodeState
from minimoto.errors import CloudError
from minimoto.local import fleets
from minimoto.ports import Launched
from minimoto.watchdog.act import MEMORY
from minimoto.watchdog.explain import history, history_lines, newest, newest_lines
from minimoto.watchdog.fleet_history import moments
from minimoto.watchdog.patrol import Pass, Watchdog
from minimoto.watchdog.problems import Problems
from minimoto.watchdog.status import fleet_status, status_document, status_lines
from minimoto.wiring import Cloud

WHY = (
    "going back to spot: 1 node on demand for which spot g5.xlarge would do, at 40% of the price; "
    "there is work for 20 min, and a swap repays in 3 min"
)
NOT_THERE = "going back to spot: 1 node asked for, 0 could be had (spot g5.xlarge: InsufficientInstanceCapacity)"


class Played(Fleet):
    """A node on demand at work, and a job of which there is much left, but not so much that it wants another node."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"min_nodes": 0, "target_seconds": 3600.0, "task_seconds": 30.0, **settings})
        self.dear = self.cloud.fleet.add(launched=self.now - 5000, type="g5.xlarge", market="on-demand").id
        started(self)
        self.cloud.queue.send([MESSAGE])
        self.work(self.dear)

    def work(self, *ids: str, state: NodeState = NodeState.BUSY) -> None:
        for id in ids:
            self.beat(id, state, task="trip/0/1", progressed=self.now)

    @property
    def markets(self) -> list[str]:
        return sorted(machine.market for machine in self.cloud.fleet.instances())

    def new(self) -> str:
        (id,) = (machine.id for machine in self.cloud.fleet.instances() if machine.market == "spot")
        return id

    def asked_to_drain(self) -> list[str]:
        return [id for id in self.ids if self.cloud.nodes.drain_requested(id)]


@pytest.fixture
def played() -> Played:
    return Played()


def test_a_spot_node_takes_the_place_of_one_on_demand_which_finishes_its_task(played: Played) -> None:
    first = played.run()
    new = played.new()
    assert first.done == (f"launched 1 node (spot g5.xlarge: {new}) in the place of {played.dear}: {WHY}",)
    assert (played.markets, first.problems) == (["on-demand", "spot"], ())
    played.work(played.dear)
    waiting = played.run(after=15)
    assert waiting.done == ()
    assert f"going back to spot: {new} boots in the place of {played.dear}" in waiting.decision.reason
    assert played.asked_to_drain() == []
    played.beat(new)
    played.work(played.dear)
    taken = played.run(after=45)
    place = f"going back to spot: {new} has taken the place of {played.dear}"
    assert taken.done == (f"draining {played.dear}: {place}",)
    for _ in range(5):
        played.work(played.dear, state=NodeState.DRAINING)
        played.work(new)
        assert played.run(after=15).done == ()
    assert played.dear in played.ids, "it has not finished yet"
    played.beat(played.dear, NodeState.DRAINING)
    assert played.run(after=15).done == (f"terminated {played.dear}: has drained",)
    assert played.ids == [new]
    # From then on it is a node like any other.
    played.work(new)
    assert "spot" not in played.run(after=15).decision.reason


def test_why_a_node_was_swapped_is_said_everywhere(played: Played) -> None:
    cloud: Any = played.cloud
    played.run()
    new = played.new()
    status = fleet_status(cloud, Problems())
    assert status_lines(status)[-1] == f"swap: {new} for {played.dear}: {WHY}"
    assert status_document(status)["swaps"] == {new: {"for": played.dear, "reason": WHY}}
    assert f"did: launched 1 node (spot g5.xlarge: {new}) in the place of {played.dear}: {WHY}" in newest_lines(
        newest(cloud), played.now
    )
    played.beat(new)
    played.work(played.dear)
    played.run(after=45)
    lines = "\n".join(history_lines(history(cloud, 3600)))
    assert f"swap: 1 node: enough for 40 tasks of about 30 s; {WHY}" in lines
    assert f"draining {played.dear}: going back to spot: {new} has taken the place of {played.dear}" in lines
    launch, drain = (moment.document["actions"][0] for moment in moments(cloud, 3600))
    assert (launch["do"], launch["instead_of"]) == ("launch", [played.dear])
    assert (drain["do"], drain["replaced_by"]) == ("drain", new)
    played.beat(played.dear, NodeState.DRAINING)
    played.run(after=15)
    assert not [line for line in status_lines(fleet_status(cloud, Problems())) if line.startswith("swap")]


def test_where_spot_has_none_nothing_is_started_and_it_is_tried_ever_more_seldom(played: Played) -> None:
    played.cloud.fleet.sold_out.add(("spot", "g5.xlarge"))
    tried = []
    for _ in range(80):
        if NOT_THERE in played.run(after=15).problems:
            tried.append(played.now)
        played.work(played.dear)
    assert played.markets == ["on-demand"]
    pauses = [later - sooner for sooner, later in pairwise(tried)]
    assert pauses == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    assert told(played) == [], "nobody's job waits for it"
    played.cloud.fleet.sold_out.clear()
    while played.now < tried[-1] + 16 * FIRST_PAUSE:
        played.work(played.dear)
        played.run(after=15)
    assert played.markets == ["on-demand", "spot"]


def test_one_that_is_taken_back_leaves_the_other_at_work_and_the_next_swap_waits(played: Played) -> None:
    played.run()
    played.work(played.dear)
    played.run(after=15)
    played.cloud.fleet.terminate([played.new()])
    for _ in range(40):
        played.work(played.dear)
        assert played.run(after=15).decision.launches == 0
    assert (played.markets, played.asked_to_drain()) == (["on-demand"], [])
    for _ in range(8):
        played.work(played.dear)
        played.run(after=15)
    assert played.markets == ["on-demand", "spot"]


def test_the_bounds_hold_and_that_is_said() -> None:
    full = Played(max_nodes=1)
    seen = full.run()
    assert (seen.done, full.markets) == ((), ["on-demand"])
    assert "going back to spot waits: max_nodes is 1: 1 more wanted, 0 started" in seen.decision.reason
    assert told(full) == []


@pytest.mark.parametrize("settings", [{"market": "on-demand"}, {"policy": "classic"}])
def test_where_that_is_not_wished_for_nodes_stay_and_no_price_is_asked(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played(**settings)
    played.cloud.queue.delete([message.receipt for message in played.cloud.queue.receive(10)])
    asked: list[float] = []
    monkeypatch.setattr(played.cloud.fleet, "pools", asked.append)
    assert played.run().done == ()
    assert asked == []


def test_without_what_spot_costs_nothing_is_swapped(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise CloudError("the call was throttled", code="Throttling")

    with monkeypatch.context() as patch:
        patch.setattr(played.cloud.fleet, "pools", refuse)
        seen = played.run()
    assert (seen.done, seen.problems) == ((), ("the call was throttled",))
    played.work(played.dear)
    assert played.run(after=15).done


class Killed(BaseException):
    """Stands in for SIGKILL where the test must go on: nothing may catch it."""


def test_killed_between_launch_and_record_the_swap_goes_on(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = played.cloud.fleet.launch

    def deadly(count: int, token: str, pools: Sequence[Pool]) -> Launched:
        launch(count, token, pools)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(played.cloud.fleet, "launch", deadly)
        with pytest.raises(Killed):
            played.run()
    new = played.new()
    played.clock.advance(121)
    played.work(played.dear)
    assert played.run().done == ()
    assert set(json.loads(played.cloud.ledger.recall(MEMORY))["swaps"]["standbys"]) == {new}
    played.beat(new)
    played.work(played.dear)
    played.run(after=15)
    assert (played.asked_to_drain(), len(played.ids)) == ([played.dear], 2)


@pytest.fixture
def market() -> Iterator[Callable[..., None]]:
    """What the embedded AWS refuses; nothing any more afterwards."""
    yield fleets.refuse
    fleets.forget()


def test_on_ec2_spot_alone_is_asked(make_deployment: Callable[..., Config], market: Callable[..., None]) -> None:
    """A drought on the embedded AWS, and its end: from the launch on demand to the end of that machine."""
    config = make_deployment(min_nodes=0, max_nodes=4, target_seconds=3600.0, task_seconds=30.0)
    cloud, clock = Cloud(config), LaterClock()
    cloud.__dict__["clock"] = clock
    now = clock.now()
    stages = (Stage("fit", per="photo", tasks=40, started=now, enqueued=True),)
    job(SimpleNamespace(cloud=cloud, now=now), stages=stages, created=now, updated=now)  # type: ignore[arg-type]
    cloud.queue.send([MESSAGE])
    market("spot", config.service_type)
    assert one_pass(cloud).decision.launches == 1
    (dear,) = cloud.fleet.instances()
    assert dear.market == "on-demand"
    beat(cloud, dear.id)
    clock.shift += 30
    assert not one_pass(cloud).done, "what refused is left alone"
    clock.shift += 61
    beat(cloud, dear.id)
    refused = one_pass(cloud)
    assert any(line.startswith("going back to spot: 1 node asked for, 0 could be had") for line in refused.problems)
    assert [machine.market for machine in cloud.fleet.instances()] == ["on-demand"]
    market("spot", config.service_type, "")
    clock.shift += 121
    beat(cloud, dear.id)
    assert f"in the place of {dear.id}: going back to spot: " in one_pass(cloud).done[0]
    (cheap,) = (machine for machine in cloud.fleet.instances() if machine.market == "spot")
    clock.shift += 30
    beat(cloud, dear.id)
    beat(cloud, cheap.id)
    assert one_pass(cloud).done == (
        f"draining {dear.id}: going back to spot: {cheap.id} has taken the place of {dear.id}",
    )
    assert cloud.nodes.drain_requested(dear.id)
    clock.shift += 10
    beat(cloud, dear.id, NodeState.DRAINING, task="")
    beat(cloud, cheap.id)
    assert one_pass(cloud).done == (f"terminated {dear.id}: has drained",)
    assert [machine.id for machine in cloud.fleet.instances()] == [cheap.id]


def one_pass(cloud: Cloud) -> Pass:
    done = Watchdog(cloud).run_pass()
    assert done is not None
    return done


def beat(cloud: Cloud, id: str, state: NodeState = NodeState.BUSY, task: str = "j/0/1") -> None:
    now = cloud.clock.now()
    cloud.nodes.beat(NodeReport(id, 0, state, now, task=task, progressed=now))
