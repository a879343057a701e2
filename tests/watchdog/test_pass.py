"""Whole passes over a fleet in memory: sizes, drains, replacements, and calls that fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from played_fleet import Fleet

from minimoto.core.markets import Pool
from minimoto.core.node import NodeState
from minimoto.errors import CloudError, ConfigError
from minimoto.ports import Launched
from minimoto.watchdog.act import MEMORY
from minimoto.watchdog.explain import newest_lines
from minimoto.watchdog.fleet_history import moments
from minimoto.watchdog.patrol import NEWEST, Resize, Watchdog

MESSAGE = '{"v":1,"job":"other","stage":0,"task":0}'


def refuse(*_: Any, **__: Any) -> Any:
    raise CloudError("the call was throttled", code="Throttling")


def test_the_first_pass_starts_the_least_and_the_next_does_not_double_it(fleet: Fleet) -> None:
    first = fleet.run()
    assert [line.split(" (")[0] for line in first.done] == ["launched 1 node"]
    assert len(fleet.ids) == 1
    for _ in range(5):
        assert fleet.run(after=10).done == ()
    assert len(fleet.ids) == 1


def test_out_with_the_backlog_and_in_through_drain_when_it_is_gone(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet.cloud.jobs, "live", refuse)  # only the queue's counts tell
    fleet.node()
    fleet.cloud.queue.send([MESSAGE] * 60)
    assert fleet.run().decision.launches == 3
    assert len(fleet.ids) == 4
    messages = [fleet.cloud.queue.receive(10) for _ in range(6)]
    fleet.clock.advance(60)
    for id in fleet.ids:
        fleet.beat(id, NodeState.BUSY, task="j/0/1", progressed=fleet.now)
    assert fleet.run().done == ()
    fleet.cloud.queue.delete([message.receipt for batch in messages for message in batch])
    drained: list[str] = []
    for _ in range(8):
        fleet.clock.advance(30)
        for id in fleet.ids:
            reason = fleet.cloud.nodes.drain_requested(id)
            fleet.beat(id, NodeState.DRAINING if reason else NodeState.READY)
            drained += [id] if reason and id not in drained else []
        fleet.run()
    assert len(drained) == 3
    assert len(fleet.ids) == 1
    assert fleet.ids[0] not in drained


def test_a_node_that_takes_work_while_it_is_asked_to_drain_finishes_it_first(fleet: Fleet) -> None:
    keep, leave = fleet.node(), fleet.node()
    for _ in range(5):
        fleet.run(after=30)
        for id in (keep, leave):
            fleet.beat(id)
    asked = [id for id in (keep, leave) if fleet.cloud.nodes.drain_requested(id)]
    assert len(asked) == 1
    for _ in range(5):
        fleet.beat(asked[0], NodeState.DRAINING, task="j/0/1", progressed=fleet.now)
        fleet.beat(next(id for id in (keep, leave) if id not in asked))
        fleet.run(after=30)
        assert asked[0] in fleet.ids
    fleet.beat(asked[0], NodeState.DRAINING)
    assert fleet.run().done == (f"terminated {asked[0]}: has drained",)


def test_stopped_impaired_silent_and_fenced_nodes_are_replaced(make_fleet: Callable[..., Fleet]) -> None:
    for break_it in ("stopped", "impaired", "silent", "fenced"):
        fleet = make_fleet()
        id = fleet.node(NodeState.FENCED if break_it == "fenced" else NodeState.READY)
        if break_it == "stopped":
            fleet.cloud.fleet.change(id, state="stopped")
        if break_it == "impaired":
            fleet.cloud.fleet.change(id, healthy=False)
        for _ in range(4):
            if break_it == "impaired":
                fleet.beat(id)
            fleet.run(after=60)
        assert id not in fleet.ids, break_it
        assert len(fleet.ids) == 1, break_it


def test_other_machines_are_never_touched(fleet: Fleet) -> None:
    client, watchdog = (fleet.cloud.fleet.add(role=role, state="stopped").id for role in ("client", "watchdog"))
    for _ in range(4):
        fleet.run(after=60)
    for role, id in (("client", client), ("watchdog", watchdog)):
        assert [m.id for m in fleet.cloud.fleet.instances(role)] == [id]
    with pytest.raises(CloudError):
        fleet.cloud.fleet.terminate([client])


def test_a_second_watchdog_does_nothing_while_the_first_is_at_it(fleet: Fleet) -> None:
    assert fleet.cloud.ledger.begin_pass("first", fleet.now, 120)
    assert Watchdog(fleet.cloud).run_pass() is None  # type: ignore[arg-type]
    assert fleet.ids == []
    fleet.clock.advance(121)
    assert fleet.run().decision.launches == 1


PORTS = [
    ("fleet", "instances"), ("nodes", "reports"), ("queue", "counts"), ("jobs", "live"), ("metrics", "cpu"),
    ("metrics", "publish"), ("fleet", "launch"), ("fleet", "terminate"), ("nodes", "request_drain"), ("queue", "dead"),
    ("ledger", "remember"), ("ledger", "record"), ("ledger", "end_pass"), ("nodes", "forget"),
]  # fmt: skip


@pytest.mark.parametrize(("port", "call"), PORTS)
def test_a_pass_survives_any_one_call_failing(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, port: str, call: str
) -> None:
    """Each call in turn fails in a pass that would end, drain, launch, forget and publish; the next makes up for it."""
    dead = fleet.node(NodeState.FENCED)
    fleet.beat("i-vanished")
    fleet.clock.advance(61)
    fleet.beat(dead, NodeState.FENCED)
    with monkeypatch.context() as patch:
        patch.setattr(getattr(fleet.cloud, port), call, refuse)
        told = fleet.run()
    assert ("the call was throttled" in told.problems) is (call not in ("request_drain", "end_pass"))
    assert len(fleet.ids) <= 2
    fleet.clock.advance(121)
    for id in fleet.ids:
        fleet.beat(id, NodeState.FENCED if id == dead else NodeState.READY)
    fleet.run()
    assert dead not in fleet.ids
    assert len(fleet.ids) == 1
    assert [r.node for r in fleet.cloud.nodes.reports() if r.node == "i-vanished"] == []
    assert fleet.cloud.metrics.published


def test_a_pass_that_sees_nothing_says_so_and_does_nothing(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    for port, call in (("fleet", "instances"), ("queue", "counts"), ("jobs", "live")):
        monkeypatch.setattr(getattr(fleet.cloud, port), call, refuse)
    with pytest.raises(CloudError, match="nothing can be seen, so nothing was done: the call was throttled"):
        fleet.run()
    assert fleet.cloud.ledger.begin_pass("next", fleet.now, 1), "the lease of the pass was not given back"


def test_without_the_ledger_nothing_is_launched(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet.cloud.ledger, "remember", refuse)
    assert fleet.run().decision.launches == 1
    assert fleet.ids == []


def test_a_size_set_by_hand_is_kept_until_it_is_given_back(fleet: Fleet) -> None:
    assert fleet.run(resize=Resize(3)).decision.launches == 3
    for _ in range(10):
        fleet.clock.advance(60)
        for id in fleet.ids:
            fleet.beat(id)
        fleet.run()
    assert len(fleet.ids) == 3
    busy = fleet.ids[0]
    fleet.beat(busy, NodeState.BUSY, task="j/0/1", progressed=fleet.now)
    assert len(fleet.run(resize=Resize(0)).done) == 3
    for id in fleet.ids:
        fleet.beat(id, NodeState.DRAINING, task="j/0/1" if id == busy else "", progressed=fleet.now)
    fleet.run(after=10)
    assert fleet.ids == [busy]
    fleet.beat(busy, NodeState.DRAINING)
    fleet.run(after=10)
    assert fleet.ids == []
    assert fleet.run(after=60).decision.rule == "by-hand"
    assert fleet.run(resize=Resize(None)).decision.launches == 1


def test_classic_by_name(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(policy="classic")
    fleet.node()
    fleet.cloud.queue.send([MESSAGE])
    assert fleet.run().decision.reason == "rule 3: 1 visible message: one more node"
    with pytest.raises(ConfigError, match="there are: asg, classic, target"):
        make_fleet(policy="?").run()


def test_a_node_that_is_kept_for_a_look_is_said_once_and_explained(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(keep_failed=True, min_nodes=1, max_nodes=3)
    bad = fleet.node(NodeState.FENCED)
    said = f"kept {bad}: took itself out after failing task after task"
    first = fleet.run()
    assert first.done[0] == said
    assert first.done[1].startswith("launched 1 node")
    for _ in range(3):
        later = fleet.run(after=61)
        for id in fleet.ids:
            fleet.beat(id, NodeState.FENCED if id == bad else NodeState.READY)
        assert said not in later.done
    fleet.clock.advance(300)
    told = fleet.run()
    assert (bad in fleet.ids, told.decision.inputs["nodes"]["fenced"]) == (True, 1)
    assert told.decision.reason.endswith(f"; kept to be looked at: {bad}")
    assert f"kept: {bad} costs, and counts against max_nodes, until you end it" in newest_lines(
        told.document(), fleet.now
    )
    kept = moments(fleet.cloud, 3600)  # type: ignore[arg-type]
    assert next(moment for moment in kept if moment.changed).document["done"][0] == said
    # Its mark is removed: it works again; should it fail again, that is said again.
    fleet.beat(bad)
    assert bad not in fleet.run().decision.reason
    fleet.beat(bad, NodeState.FENCED)
    assert said in fleet.run().done


def test_nodes_are_kept_warm_by_the_hours_of_the_day(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(min_nodes=0, warm=("8:00-18:00 9",), max_nodes=3)
    fleet.clock.advance((7 * 3600 - fleet.now) % 86_400)
    assert fleet.run().decision.launches == 0
    told = fleet.run(after=3600).decision
    assert told.launches == 3
    why = "[FLEET] warm keeps 3 nodes at least (max_nodes; 9 were asked for) until 18:00 UTC"
    assert told.reason == f"at least 3 nodes, there are 0; {why}"
    assert fleet.run(after=60).decision.reason == f"3 nodes: enough for an empty queue; {why}"
    assert why not in fleet.run(resize=Resize(2)).decision.reason
    with pytest.raises(ConfigError, match="time_zone is 'Mars'"):
        make_fleet(warm=("8:00-18:00 1",), time_zone="Mars").run()


def test_the_budget_is_counted_and_kept(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(budget_per_day=2.0, watchdog_every=60.0)
    fleet.price = 1.0
    fleet.clock.advance(86_400 - fleet.now % 86_400)
    for _ in range(240):
        for id in fleet.ids:
            fleet.beat(id, NodeState.DRAINING if fleet.cloud.nodes.drain_requested(id) else NodeState.READY)
        told = fleet.run(after=60)
    assert (fleet.ids, told.decision.rule) == ([], "budget")
    spent = json.loads(fleet.cloud.ledger.recall(MEMORY))["spent"]
    assert 1.8 < spent <= 2.0
    assert fleet.run(after=86_400 - fleet.now % 86_400).decision.launches == 1


def test_capacity_that_cannot_be_had_is_said_and_asked_for_again(fleet: Fleet) -> None:
    fleet.cloud.fleet.capacity = 0
    told = fleet.run()
    nothing = "spot g5.xlarge: InsufficientInstanceCapacity, on-demand g5.xlarge: InsufficientInstanceCapacity"
    assert told.problems == (f"1 node asked for, 0 could be had ({nothing})",)
    paused = fleet.run(after=20)
    assert paused.problems[0].endswith("): asked again in 40 s")
    fleet.cloud.fleet.capacity = 1
    assert len(fleet.run(after=40).done) == 1
    assert len(fleet.ids) == 1


def test_what_refused_is_left_alone_and_the_next_best_is_asked(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(min_nodes=2, more_types=("g6.xlarge",))
    fleet.cloud.fleet.sold_out |= {("spot", "g5.xlarge"), ("spot", "g6.xlarge")}
    start = fleet.now
    told = fleet.run()
    assert [line.split(": ")[0] for line in told.done] == ["launched 2 nodes (on-demand g5.xlarge"]
    assert told.problems == ()
    fleet.cloud.fleet.sold_out.clear()
    for after, markets in ((40, ["on-demand"] * 2), (61, ["on-demand", "spot"])):
        for id in fleet.ids:
            fleet.beat(id)
        fleet.run(after=10)
        fleet.cloud.fleet.terminate([fleet.ids[0]])
        fleet.run(after=start + after - fleet.now)
        assert sorted(machine.market for machine in fleet.cloud.fleet.instances()) == markets


def test_nodes_that_are_taken_back_are_learnt_from(fleet: Fleet) -> None:
    fleet.run()
    fleet.beat(fleet.ids[0])
    fleet.run(after=30)
    fleet.cloud.fleet.terminate(fleet.ids)
    fleet.run(after=30)
    ((pool, count),) = json.loads(fleet.cloud.ledger.recall(MEMORY))["markets"]["interruptions"].items()
    assert (pool, round(count, 3)) == ("spot g5.xlarge", 1.0)
    # One that the watchdog ended itself is no interruption.
    id = fleet.ids[0]
    for _ in range(4):
        fleet.beat(id, NodeState.FENCED)
        fleet.run(after=30)
    assert id not in fleet.ids
    assert sum(json.loads(fleet.cloud.ledger.recall(MEMORY))["markets"]["interruptions"].values()) <= 1.0


def test_a_memory_that_cannot_be_read_begins_anew(fleet: Fleet) -> None:
    fleet.cloud.ledger.remember(MEMORY, "[")
    told = fleet.run()
    assert "it begins anew" in told.problems[0]
    assert len(fleet.ids) == 1


def test_what_changes_is_logged_and_what_stays_is_not(fleet: Fleet) -> None:
    start = fleet.now
    fleet.run()
    id = fleet.ids[0]
    for _ in range(20):
        fleet.beat(id)
        fleet.run(after=20)
    logged = [json.loads(text) for _, text in reversed(fleet.cloud.ledger.decisions(start))]
    assert [entry["rule"] for entry in logged] == ["min", "steady"]
    assert logged[0]["done"][0].startswith("launched 1 node")
    assert logged[0]["inputs"]["visible"] == 0
    assert json.loads(fleet.cloud.ledger.recall(NEWEST))["at"] == fleet.now
    fleet.beat(id)
    fleet.run(after=600)
    assert len(fleet.cloud.ledger.decisions(start)) == 3


def test_a_pass_that_lost_its_lease_starts_nothing(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    live = fleet.cloud.jobs.live
    monkeypatch.setattr(fleet.cloud.jobs, "live", lambda: fleet.clock.advance(500) or live())
    told = fleet.run()
    assert "took too long" in told.problems[0]
    assert fleet.ids == []
    assert fleet.cloud.ledger.recall(MEMORY) == ""


def test_the_loop_looks_sooner_while_the_fleet_winds_down(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(min_nodes=0)
    fleet.node()
    fleet.node()
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(round(timeout or 0.0))
            fleet.clock.advance(timeout or 0.0)
            for id in fleet.ids:
                fleet.beat(id)
            if len(waits) == 3:
                self.set()
            return True

    Watchdog(fleet.cloud).loop(20.0, Stop(), lambda _: None)  # type: ignore[arg-type]
    assert waits == [5, 5, 5], "two nodes are idle"


def test_a_launch_that_was_surely_refused_is_tried_anew_under_another_token(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens: list[str] = []

    def without_rights(count: int, token: str, pools: Sequence[Pool]) -> Launched:
        tokens.append(token)
        return Launched({}, {}, "launching spot g5.xlarge: not authorised (UnauthorizedOperation)")

    launch = fleet.cloud.fleet.launch
    monkeypatch.setattr(fleet.cloud.fleet, "launch", without_rights)
    told = [fleet.run(after=10) for _ in range(2)]
    assert [seen.problems for seen in told] == [
        ("launching spot g5.xlarge: not authorised (UnauthorizedOperation)",)
    ] * 2
    assert len(set(tokens)) == 2
    monkeypatch.setattr(fleet.cloud.fleet, "launch", launch)
    fleet.run(after=10)
    assert len(fleet.ids) == 1
