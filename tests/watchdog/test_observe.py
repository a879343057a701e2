"""What heartbeats say of a node, slot by slot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from played_fleet import Fleet

from minimoto.core.fleet_view import Node, View
from minimoto.core.job import Job, JobState, Location, Stage
from minimoto.core.node import NodeReport, NodeState
from minimoto.errors import CloudError
from minimoto.watchdog.observe import limits_of, observe
from minimoto.watchdog.problems import Problems

READY, BUSY, DRAINING, FENCED = NodeState.READY, NodeState.BUSY, NodeState.DRAINING, NodeState.FENCED


def look(fleet: Fleet) -> View:
    problems = Problems()
    view = observe(fleet.cloud, problems).view  # type: ignore[arg-type]
    assert problems.lines == []
    return view


def seen(fleet: Fleet, *slots: NodeReport) -> Node:
    id = fleet.node(None, age=5000)
    for number, slot in enumerate(slots):
        fleet.cloud.nodes.beat(replace(slot, node=id, slot=number))
    (node,) = look(fleet).nodes or ()
    return node


def report(fleet: Fleet, state: NodeState, age: float = 5, **fields: object) -> NodeReport:
    return NodeReport("", 0, state, fleet.now - age, **fields)  # type: ignore[arg-type]


def test_a_node_without_reports_boots(fleet: Fleet) -> None:
    node = seen(fleet)
    assert (node.reported, node.heartbeat, node.slots, node.busy, node.condition) == (False, None, 0, 0, "booting")


def test_the_newest_beat_counts_and_the_slowest_progress(fleet: Fleet) -> None:
    slots = (
        report(fleet, BUSY, 50, task="j/0/1", progressed=fleet.now - 40),
        report(fleet, BUSY, 5, task="j/0/2", progressed=fleet.now - 300, failures=2),
        report(fleet, READY, 9, progressed=fleet.now - 9),
    )
    node = seen(fleet, *slots)
    assert (node.heartbeat, node.slots, node.busy, node.progress, node.failures) == (5, 3, 2, 300, 2)
    assert (node.condition, node.idle_since) == ("busy", None)


def test_busy_without_a_task_is_busy_all_the_same(fleet: Fleet) -> None:
    """A service that turns a folder request into a job holds a message that names no task."""
    node = seen(fleet, report(fleet, BUSY))
    assert (node.busy, node.progress) == (1, None)


def test_a_slot_long_behind_the_others_is_not_counted(fleet: Fleet) -> None:
    node = seen(fleet, report(fleet, READY, 5), report(fleet, BUSY, 400, task="j/0/1", progressed=1.0))
    assert (node.slots, node.busy) == (1, 0)
    silent = Fleet()
    node = seen(silent, report(silent, BUSY, 900, task="j/0/1", progressed=1.0))
    assert (node.heartbeat, node.busy) == (900, 1)


@pytest.mark.parametrize(
    ("slots", "leaving", "finished", "fenced"),
    [
        ((READY, READY), False, False, False),
        ((DRAINING, READY), True, False, False),
        ((DRAINING, BUSY), True, False, False),
        ((DRAINING, DRAINING), True, True, False),
        ((DRAINING, FENCED), True, True, True),
        ((READY, FENCED), False, False, True),
    ],
)
def test_when_a_node_has_drained(
    fleet: Fleet, slots: tuple[NodeState, ...], leaving: bool, finished: bool, fenced: bool
) -> None:
    node = seen(fleet, *(report(fleet, state) for state in slots))
    assert (node.leaving, node.finished, node.fenced) == (leaving, finished, fenced)


def test_a_draining_slot_that_holds_a_task_has_not_finished(fleet: Fleet) -> None:
    node = seen(fleet, report(fleet, DRAINING), report(fleet, DRAINING, task="j/0/1", progressed=1.0))
    assert (node.finished, node.busy) == (False, 1)


def test_a_node_is_unable_when_all_of_its_slots_are(fleet: Fleet) -> None:
    full = report(fleet, READY, note="the disk is full")
    assert seen(fleet, full, full).unable == "the disk is full"
    other = Fleet()
    assert seen(other, full, report(other, READY)).unable == ""


def test_the_queue_the_jobs_and_what_was_learnt(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(slots=0)
    for slot, seconds in enumerate((10.0, 0.0, 30.0)):
        fleet.beat("i-1", slot=slot, seconds_per_task=seconds)
    fleet.cloud.queue.send(["a", "b", "c"])
    fleet.cloud.queue.receive(1)
    fleet.clock.advance(7)
    fleet.cloud.queue.send(["d"], delay=60)
    stages = (Stage("fit", tasks=3, done=frozenset({1})), Stage("fit"), Stage("video"))
    location = Location("memory-in", "j/")
    job = Job("j", "j", "ana", "", stages, location, location, 0, 0, 0, JobState.BEING_PROCESSED, deadline=9.0)
    fleet.cloud.jobs.create(job)
    fleet.cloud.jobs.create(replace(job, id="k", state=JobState.NOT_READY_TO_PROCESS))
    view = look(fleet)
    assert (view.visible, view.in_flight, view.delayed, view.oldest, view.seconds_per_task) == (2, 1, 1, 7, 20)
    assert [(j.id, j.tasks_left, j.stages_after, j.deadline) for j in view.jobs or ()] == [("j", 2, 2, 9.0)]


def test_slots_of_a_new_node(make_fleet: Callable[..., Fleet]) -> None:
    assert look(make_fleet(slots=4)).slots_per_node == 4
    fleet = make_fleet(slots=0)
    assert look(fleet).slots_per_node == 1
    id = fleet.node(slot=0)
    fleet.beat(id, slot=1)
    assert look(fleet).slots_per_node == 2


def test_one_missed_heartbeat_is_no_strike(make_fleet: Callable[..., Fleet]) -> None:
    assert limits_of(make_fleet(strike_seconds=5.0, heartbeat=3.0).cloud.config).strike_seconds == 9.0
    assert limits_of(make_fleet(strike_seconds=90.0, heartbeat=20.0).cloud.config).strike_seconds == 90.0


def test_what_fails_for_one_reason_is_said_once() -> None:
    problems = Problems()

    def refuse() -> None:
        raise CloudError("the endpoint does not answer")

    assert not problems.did(refuse)
    assert not problems.did(refuse)
    assert problems.attempt(lambda: 1, 0) == 1
    assert problems.lines == ["the endpoint does not answer"]
