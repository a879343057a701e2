"""Whole passes of a watchdog whose fleet is an Auto Scaling group, in memory."""

from __future__ import annotations

from typing import Any

import pytest
from played_fleet import Fleet

from minimoto.core.node import NodeState
from minimoto.errors import CloudError
from minimoto.watchdog import explain
from minimoto.watchdog.fleet_history import moments
from minimoto.watchdog.patrol import Resize
from minimoto.watchdog.problems import Problems
from minimoto.watchdog.prometheus import Exporter
from minimoto.watchdog.status import fleet_status, status_document, status_lines
from tests.submitting import photo, submit

JOBS, EMPTY, BACKLOG = "NumJobsReadyOrBeingProcessed", "NumJobsReadyOrBeingProcessed/empty", "BacklogPerNode"


def grouped(least: int = 1, most: int = 4, **settings: Any) -> Fleet:
    fleet = Fleet(policy="asg", min_nodes=least, max_nodes=most, **settings)
    fleet.cloud.group.make(least, most)
    for id in fleet.ids:
        fleet.beat(id)
    return fleet


def metrics(fleet: Fleet) -> dict[str, float]:
    """The newest of each."""
    return {name: value for name, value, _ in fleet.cloud.metrics.published}


def job(fleet: Fleet, photos: int = 3) -> Any:
    from minimoto.steps import STEPS

    files = {f"{number}.jpg": photo(number) for number in range(photos)}
    return submit(fleet.cloud, "fit", files, STEPS, task_seconds=0.2)


def test_a_backlog_launches_nothing_and_is_published() -> None:
    fleet = grouped()
    (node,) = fleet.ids
    fleet.run()
    assert metrics(fleet) == {"NumHealthyNodes": 1, JOBS: 0, EMPTY: 0, BACKLOG: 0}
    job(fleet)
    done = fleet.run(after=5)
    assert (done.done, done.problems, fleet.ids) == ((), (), [node])
    assert metrics(fleet)[JOBS] == 1
    alone = metrics(fleet)[BACKLOG]
    assert alone > 0
    fleet.cloud.group.want(2)
    for id in fleet.ids:
        fleet.beat(id)
    fleet.run(after=5)
    assert metrics(fleet)[BACKLOG] == pytest.approx(alone / 2)


def test_a_group_without_a_node_is_woken_and_has_no_backlog_per_node() -> None:
    fleet = grouped(least=0)
    job(fleet)
    fleet.run()
    assert metrics(fleet) == {"NumHealthyNodes": 0, JOBS: 1, EMPTY: 1}
    fleet.cloud.group.want(1)
    fleet.run(after=5)
    assert metrics(fleet)[EMPTY] == 0


@pytest.mark.parametrize("broken", ["stopped", "silent", "fenced"])
def test_a_broken_node_is_replaced_by_the_group(broken: str) -> None:
    fleet = grouped(least=2)
    bad, good = fleet.ids
    fleet.cloud.group.protect(bad, True)
    if broken == "stopped":
        fleet.cloud.fleet.change(bad, state="stopped")
    for _ in range(6):
        if broken != "silent":
            fleet.beat(bad, NodeState.FENCED if broken == "fenced" else NodeState.READY)
        fleet.beat(good)
        fleet.run(after=30)
    assert bad not in fleet.ids
    assert good in fleet.ids
    assert len(fleet.ids) == 2
    assert fleet.cloud.group.look().ids == set(fleet.ids)


def test_machines_beside_the_group_are_drained_ended_and_make_room() -> None:
    fleet = grouped(most=2)
    (ours,) = fleet.ids
    beside = fleet.node(NodeState.BUSY, task="j/0/1", progressed=fleet.now)
    fleet.run(after=5)
    assert "is none of the Auto Scaling group's" in fleet.cloud.nodes.drain_requested(beside)
    assert fleet.cloud.group.look().most == 1
    fleet.beat(ours)
    fleet.beat(beside, NodeState.DRAINING, task="j/0/1", progressed=fleet.now)
    fleet.run(after=5)
    assert beside in fleet.ids
    fleet.beat(beside, NodeState.DRAINING)
    assert f"terminated {beside}: has drained" in fleet.run(after=5).done
    fleet.run(after=5)
    assert fleet.ids == [ours]
    assert fleet.cloud.group.look().most == 2


def test_a_size_by_hand_holds_the_group_until_it_is_given_back() -> None:
    fleet = grouped()
    assert fleet.run(resize=Resize(3)).done == ("the group has 3 to 3 nodes from now on",)
    assert len(fleet.ids) == 3
    fleet.cloud.group.want(1)
    assert len(fleet.ids) == 3, "no alarm moves it"
    for id in fleet.ids:
        fleet.beat(id)
    assert fleet.run(after=5).done == ()
    fleet.run(resize=Resize(None))
    seen = fleet.cloud.group.look()
    assert (seen.least, seen.most, seen.desired) == (1, 4, 3)


def test_the_budget_shuts_the_group_gracefully_and_midnight_opens_it() -> None:
    fleet = grouped(least=2, budget_per_day=0.4)
    fleet.price = 3.0
    busy, _ = fleet.ids
    fleet.cloud.group.protect(busy, True)
    reasons = []
    for _ in range(12):
        for id in fleet.ids:
            fleet.beat(id, NodeState.BUSY if id == busy else NodeState.READY, task="j/0/1" if id == busy else "")
        reasons.append(fleet.run(after=15).decision.reason)
    seen = fleet.cloud.group.look()
    assert (seen.least, seen.most, seen.desired) == (0, 0, 0)
    assert busy in {member.id for member in seen.members if member.stays}, "the busy one finishes first"
    assert "of today's $0.40 are spent" in reasons[-1]
    fleet.cloud.group.protect(busy, False)
    for member in fleet.cloud.group.look().members:
        fleet.cloud.group.release(member.id)
    assert fleet.ids == []
    assert fleet.run(after=15).done == ()
    fleet.run(after=86_400)
    assert fleet.cloud.group.look().most > 0


def test_a_group_that_cannot_be_seen_holds_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = grouped()
    (node,) = fleet.ids
    fleet.cloud.fleet.change(node, state="stopped")

    def refuse() -> Any:
        raise CloudError("the call was throttled", code="Throttling")

    monkeypatch.setattr(fleet.cloud.group, "look", refuse)
    for _ in range(4):
        done = fleet.run(after=60)
        assert done.decision.rule == "hold"
        assert done.done == ()
        assert "throttled" in done.problems[0]
    assert set(metrics(fleet)) == {"NumHealthyNodes"}


def test_a_policy_without_its_group_says_what_to_do() -> None:
    done = Fleet(policy="asg").run()
    assert done.decision.rule == "hold"
    assert "there is no Auto Scaling group" in done.problems[0]


@pytest.mark.parametrize("most", [2, 3])
def test_a_node_that_failed_leaves_the_group_and_stays_until_the_money_is_short(most: int) -> None:
    fleet = grouped(least=2, most=most, keep_failed=True, budget_per_day=10.0)
    fleet.price = 1.0
    bad, good = fleet.ids
    said: list[str] = []
    for _ in range(4):
        for id in fleet.ids:
            fleet.beat(id, NodeState.FENCED if id == bad else NodeState.READY)
        said += fleet.run(after=30).done
    taken = "another takes its place" if most == 3 else "no other takes its place"
    assert [line for line in said if bad in line] == [
        f"took {bad} out of the group: {taken}",
        f"kept {bad}: took itself out after failing task after task",
    ] or [line for line in said if bad in line] == [
        f"kept {bad}: took itself out after failing task after task",
        f"took {bad} out of the group: {taken}",
    ]
    seen = fleet.cloud.group.look()
    assert (seen.desired, seen.most) == (most - 1, most - 1)
    assert seen.ids == set(fleet.ids) - {bad}
    assert good in seen.ids, "no other was ended for it"
    assert fleet.run().decision.reason.endswith(f"; kept to be looked at: {bad}")
    fleet.price = 1000.0
    fleet.run(after=60)
    assert bad not in fleet.ids


def test_a_group_that_will_not_let_it_go_keeps_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = grouped(least=2, most=3, keep_failed=True)
    bad, _ = before = fleet.ids

    def refuse(node: str, smaller: bool) -> None:
        raise CloudError("not authorized to perform autoscaling:DetachInstances", code="AccessDenied")

    monkeypatch.setattr(fleet.cloud.group, "detach", refuse)
    fleet.beat(bad, NodeState.FENCED)
    done = fleet.run(after=30)
    assert "autoscaling:DetachInstances" in done.problems[0]
    assert (fleet.ids, fleet.cloud.group.look().most) == (before, 3)


def test_what_the_group_could_not_do_is_told() -> None:
    fleet = grouped()
    fleet.cloud.group.bound(1, 4)
    fleet.cloud.group.want(2)
    trouble = "Could not launch Spot Instances. UnfulfillableCapacity (12:00:00 UTC)"
    fleet.cloud.group.fail(trouble)
    status = fleet_status(fleet.cloud, Problems())  # type: ignore[arg-type]
    lines = status_lines(status)
    assert lines[-2:] == ["group: 2 wanted of 1 to 4, 2 there", f"group could not: {trouble}"]
    assert lines[-3] == "queue length: 0"
    assert status_document(status)["group"]["desired"] == 2
    told = fleet.run()
    said = "\n".join(explain.newest_lines(explain.newest(fleet.cloud), fleet.now))  # type: ignore[arg-type]
    assert f"the group could not: {trouble}" in said
    assert "Auto Scaling group: 2 wanted of 1 to 4, 2 there" in said
    assert "group" not in "\n".join(status_lines(fleet_status(Fleet().cloud, Problems())))  # type: ignore[arg-type]
    Exporter().tell(told)


def test_the_history_has_what_the_group_did_by_itself() -> None:
    fleet = grouped(0)
    fleet.run()
    fleet.cloud.group.want(2)
    for _ in range(3):
        for id in fleet.ids:
            fleet.beat(id)
        fleet.run(after=15)
    found = moments(fleet.cloud, 3600)  # type: ignore[arg-type]
    changes = [(moment.nodes, moment.document["reason"]) for moment in found if moment.changed]
    assert changes == [(2, "the Auto Scaling group sizes the fleet: 2 wanted of 0 to 4, 2 there")]


def test_prometheus_counts_a_change_of_bounds() -> None:
    fleet = grouped()
    exporter = Exporter()
    exporter.tell(fleet.run(resize=Resize(2)))
    assert exporter.registry.get_sample_value("minimoto_actions_total", {"action": "bound"}) == 1
