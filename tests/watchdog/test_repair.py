"""Jobs that nobody would move otherwise: each is stuck in its own way, and is moved once."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from played_fleet import Fleet

from minimoto.core import message
from minimoto.core.events import CancelRequested
from minimoto.core.job import Entry, Job, JobState, Location, Stage
from minimoto.core.node import NodeState
from minimoto.core.task import TaskKey, TaskResult, TaskState
from minimoto.dispatch import Dispatcher
from minimoto.errors import CloudError


def job(fleet: Fleet, id: str = "trip-1", tasks: int = 3, **changes: Any) -> Job:
    """A job whose first stage runs since an hour; its messages are not in the queue."""
    then = fleet.now - 3600
    stages = (Stage("fit", per="photo", tasks=tasks, started=then, enqueued=True), Stage("video"))
    made = Job(id, "trip", "ana", "fit | video", stages, Location("memory-in", f"{id}/"),
               Location("memory-out", f"{id}/"), then, then, then + 86_400, JobState.BEING_PROCESSED, photos=9,
               history=(Entry(then, "created"),))  # fmt: skip
    return fleet.cloud.jobs.create(replace(made, **changes))


def send(fleet: Fleet, *tasks: int, id: str = "trip-1") -> None:
    fleet.cloud.queue.send([message.encode(TaskKey(id, 0, task)) for task in tasks])


def waiting(fleet: Fleet) -> list[int]:
    """The tasks whose messages can be received now; they stay in the queue."""
    got = [m for _ in range(5) for m in fleet.cloud.queue.receive(10)]
    for m in got:
        fleet.cloud.queue.extend(m.receipt, 0)
    return sorted(json.loads(m.body)["task"] for m in got)


def claim(fleet: Fleet, task: int, node: str = "i-dead", lease: float = 10_000) -> str:
    owner = f"{node}/0/x"
    claimed = fleet.cloud.jobs.claim(TaskKey("trip-1", 0, task), owner, fleet.now, lease)
    assert claimed.outcome == "OURS"
    return owner


def get(fleet: Fleet) -> Job:
    return fleet.cloud.jobs.get("trip-1")


def steady(fleet: Fleet, *passes: float) -> list[str]:
    """Passes with a node that is well, so that nothing but repairs happens; what they did."""
    if not fleet.ids:
        fleet.node()
    done: list[str] = []
    for seconds in passes:
        fleet.clock.advance(seconds)
        for id in fleet.ids:
            fleet.beat(id)
        done += fleet.run().done
    return done


def test_a_dead_nodes_leases_are_freed_and_its_tasks_sent_at_once(fleet: Fleet) -> None:
    job(fleet)
    dead = fleet.node(NodeState.BUSY, task="trip-1/0/1", progressed=fleet.now)
    well = fleet.node()
    claim(fleet, 1, dead)
    claim(fleet, 2, well)
    send(fleet, 0)
    fleet.cloud.fleet.change(dead, healthy=False)
    for _ in range(2):
        fleet.clock.advance(60)
        fleet.beat(well, NodeState.BUSY, task="trip-1/0/2", progressed=fleet.now)
        told = fleet.run()
    assert f"terminated {dead}: fails its status checks" in told.done
    assert f"trip-1: 1 task sent again: {dead} died at work" in told.done
    assert waiting(fleet) == [0, 1]
    task = fleet.cloud.jobs.task(TaskKey("trip-1", 0, 1))
    assert (task.state, task.attempt, task.owner) == (TaskState.PENDING, 1, "")
    assert fleet.cloud.jobs.task(TaskKey("trip-1", 0, 2)).owner == f"{well}/0/x"


def test_a_node_that_vanishes_is_noticed_its_work_done_again_and_its_heartbeats_forgotten(fleet: Fleet) -> None:
    job(fleet)
    gone = fleet.node(NodeState.BUSY, task="trip-1/0/0", progressed=fleet.now)
    claim(fleet, 0, gone)
    fleet.cloud.nodes.request_drain(gone, "idle")
    fleet.cloud.fleet.change(gone, state="terminated")
    assert steady(fleet, 30) == []
    done = steady(fleet, 31)
    assert done == [
        f"trip-1: 1 task sent again: {gone} died at work",
        f"{gone}: the machine is gone, its heartbeats are forgotten",
    ]
    assert waiting(fleet) == [0]
    assert gone not in {report.node for report in fleet.cloud.nodes.reports()}
    assert fleet.cloud.nodes.drain_requested(gone) == ""
    assert steady(fleet, 30) == []


def test_services_outside_the_fleet_are_left_alone_while_they_beat(fleet: Fleet) -> None:
    job(fleet)
    send(fleet, 1, 2)
    claim(fleet, 0, "anas-laptop")
    for _ in range(5):
        fleet.beat("anas-laptop", NodeState.BUSY, task="trip-1/0/0", progressed=fleet.now)
        assert steady(fleet, 50) == []
    assert fleet.cloud.jobs.task(TaskKey("trip-1", 0, 0)).owner == "anas-laptop/0/x"


def test_a_task_that_kills_its_nodes_ends_its_job(fleet: Fleet) -> None:
    job(fleet)
    for attempt in range(4):
        node = fleet.node(NodeState.BUSY, task="trip-1/0/0", progressed=fleet.now)
        claim(fleet, 0, node)
        fleet.cloud.fleet.change(node, state="terminated")
        steady(fleet, 61)
        assert get(fleet).state.final is (attempt == 3)
    assert get(fleet).state is JobState.PROCESSING_FAILED
    assert "died while it worked on" in get(fleet).error
    assert "(4 tries)" in get(fleet).error


def kill_message(fleet: Fleet, task: int, error: str = "") -> None:
    """A task's message is received too often; with ``error``, its tries failed with it."""
    send(fleet, task)
    for _ in range(fleet.cloud.config.receive_limit):
        assert fleet.cloud.queue.receive(1)
        if error:
            owner = claim(fleet, task)
            fleet.cloud.jobs.fail(TaskKey("trip-1", 0, task), owner, fleet.now, error, again=True)
        fleet.clock.advance(fleet.cloud.config.lease + 1)


@pytest.mark.parametrize(
    ("error", "says"),
    [("fit: the disk is full", "fit: the disk is full"), ("", "received too often without a word from the worker")],
)
def test_a_message_that_died_fails_its_job_with_the_last_error(fleet: Fleet, error: str, says: str) -> None:
    job(fleet)
    kill_message(fleet, 1, error)
    steady(fleet, 1)
    assert get(fleet).state is JobState.PROCESSING_FAILED
    assert says in get(fleet).error
    assert fleet.cloud.topic.announced[0][0] == "minimoto: trip PROCESSING_FAILED"
    fleet.clock.advance(1000)
    assert fleet.cloud.queue.dead() == []


def test_a_dead_message_of_a_task_at_work_waits_and_of_a_done_one_is_said_again(fleet: Fleet) -> None:
    job(fleet)
    kill_message(fleet, 1)
    owner = claim(fleet, 1, lease=400)
    assert steady(fleet, 1) == []
    assert get(fleet).state is JobState.BEING_PROCESSED
    fleet.cloud.jobs.finish(TaskKey("trip-1", 0, 1), owner, fleet.now, 5.0, TaskResult(("a.jpg",)))
    assert any("trip-1/0/1 sent again" in line for line in steady(fleet, 301))
    assert waiting(fleet) == [1]


def test_dead_messages_of_ended_jobs_are_cleared_and_strange_ones_left_for_people(fleet: Fleet) -> None:
    job(fleet, state=JobState.CANCELLED)
    kill_message(fleet, 1)
    fleet.cloud.queue.send(["<xml/>", message.encode(TaskKey("no-such-job", 0, 0))])
    for got in fleet.cloud.queue.receive(2):
        fleet.cloud.queue.bury(got, "the message is neither JSON nor transform?…" if "<" in got.body else "")
    fleet.node()
    told = fleet.run()
    assert told.dead_letters == 2
    assert fleet.run(after=60).dead_letters == 2
    fleet.clock.advance(300)
    left = fleet.cloud.queue.dead()
    assert sorted(m.body[:5] for m, _ in left) == ["<xml/", '{"v":']
    fleet.cloud.queue.forget_dead([m.receipt for m, _ in left])
    assert fleet.run(after=901).dead_letters == 0


def test_an_abandoned_upload_ends_and_holds_no_machine_up(fleet: Fleet) -> None:
    expires = fleet.now + 100
    job(fleet, state=JobState.NOT_READY_TO_PROCESS, upload_expires=expires, stages=(Stage("fit"), Stage("video")))
    assert steady(fleet, 99) == []
    assert fleet.cloud.metrics.published[-1][:2] == ("NumJobsReadyOrBeingProcessed", 0.0)
    assert steady(fleet, 2) == ["trip-1: the upload was abandoned"]
    assert get(fleet).state is JobState.CANCELLED
    assert steady(fleet, 60) == []


def unsent(fleet: Fleet, **stage: Any) -> Job:
    started = Stage("fit", per="photo", tasks=3, started=fleet.now - 59, **stage)
    return job(fleet, state=JobState.READY_TO_PROCESS, stages=(started, Stage("video")))


def test_a_stage_whose_sender_died_is_sent_again_after_a_minute(fleet: Fleet) -> None:
    unsent(fleet, done=frozenset({0}))
    claim(fleet, 1)
    assert steady(fleet, 0) == []
    assert steady(fleet, 2) == ["trip-1: 1 task sent again: their messages may never have been sent"]
    assert waiting(fleet) == [2]
    assert get(fleet).stages[0].enqueued
    assert steady(fleet, 60) == []


def test_a_stage_all_at_work_only_lacked_the_mark(fleet: Fleet) -> None:
    unsent(fleet)
    for task in range(3):
        claim(fleet, task)
    steady(fleet, 2)
    assert get(fleet).stages[0].enqueued
    assert waiting(fleet) == []


def test_lost_messages_are_sent_again_at_the_second_look_at_an_empty_queue(fleet: Fleet) -> None:
    job(fleet)
    claim(fleet, 0)
    assert steady(fleet, 0, 59) == []
    assert steady(fleet, 1) == ["trip-1: 2 tasks sent again: their messages were lost: the queue is empty"]
    assert waiting(fleet) == [1, 2]
    assert steady(fleet, 300, 60, 60) == []


def test_one_look_that_shows_a_message_starts_the_wait_anew(fleet: Fleet) -> None:
    job(fleet)
    steady(fleet, 0)
    send(fleet, 1)
    steady(fleet, 60)
    fleet.cloud.queue.delete([m.receipt for m in fleet.cloud.queue.receive(10)])
    assert steady(fleet, 60, 59) == []
    assert len(steady(fleet, 1)) == 1


def test_a_job_that_moved_lately_has_lost_nothing(fleet: Fleet) -> None:
    job(fleet, updated=fleet.now)
    assert steady(fleet, 0, 60, 59) == []


def test_a_task_given_up_without_a_word_to_its_job_ends_it(fleet: Fleet) -> None:
    job(fleet)
    owner = claim(fleet, 0)
    fleet.cloud.jobs.fail(TaskKey("trip-1", 0, 0), owner, fleet.now, "no such font", again=False)
    steady(fleet, 0, 60)
    assert get(fleet).state is JobState.PROCESSING_FAILED
    assert "no such font" in get(fleet).error


def test_a_task_done_with_its_last_try_does_not_fail_its_job(fleet: Fleet) -> None:
    job(fleet)
    key = TaskKey("trip-1", 0, 0)
    for _ in range(3):
        fleet.cloud.jobs.fail(key, claim(fleet, 0), fleet.now, "the node hung", again=True)
    done = fleet.cloud.jobs.finish(key, claim(fleet, 0), fleet.now, 5.0, TaskResult(("a.jpg",)))
    assert done.attempt == 4
    steady(fleet, 0, 60)
    assert not get(fleet).state.final
    assert waiting(fleet) == [0, 1, 2]


def test_only_jobs_ready_or_being_processed_are_published(fleet: Fleet) -> None:
    for index, state in enumerate(JobState):
        job(fleet, f"j{index}", state=state)
    steady(fleet, 0)
    of_jobs = [sent for sent in fleet.cloud.metrics.published if sent[0] == "NumJobsReadyOrBeingProcessed"]
    assert of_jobs == [("NumJobsReadyOrBeingProcessed", 2.0, fleet.now)]


@pytest.mark.parametrize(("port", "call"), [("jobs", "tasks"), ("jobs", "break_lease"), ("jobs", "save"),
                                            ("queue", "send"), ("nodes", "forget")])  # fmt: skip
def test_a_repair_that_is_cut_short_is_made_by_a_later_pass(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, port: str, call: str
) -> None:
    job(fleet)
    gone = fleet.node(NodeState.BUSY, task="trip-1/0/0", progressed=fleet.now)
    send(fleet, 0, 1, 2)
    assert len(fleet.cloud.queue.receive(3, visibility=400)) == 3
    for task in range(3):
        claim(fleet, task, gone)
    fleet.cloud.fleet.change(gone, state="terminated")

    def refuse(*_: Any, **__: Any) -> Any:
        raise CloudError("the call was throttled", code="Throttling")

    with monkeypatch.context() as patch:
        patch.setattr(getattr(fleet.cloud, port), call, refuse)
        steady(fleet, 61)
    steady(fleet, 60, 60, 300)
    assert set(waiting(fleet)) == {0, 1, 2}
    assert gone not in {report.node for report in fleet.cloud.nodes.reports()}


def refuse_to_announce(*_: Any) -> None:
    raise CloudError("the topic is gone", code="NotFound")


def cancelled_unheard(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job ends, its work stays, and nobody is told: as if who ended it had died after the save."""
    made = job(fleet)
    fleet.cloud.store.write(made.inputs / "work/0/a.jpg", b"a")
    dispatcher = Dispatcher(
        fleet.cloud.jobs, fleet.cloud.queue, fleet.cloud.store, fleet.cloud.topic, fleet.cloud.clock
    )
    with monkeypatch.context() as patch:
        patch.setattr(fleet.cloud.store, "remove", refuse_to_announce)
        with pytest.raises(CloudError):
            dispatcher.apply(made, CancelRequested("ana"))
    assert get(fleet).state is JobState.CANCELLED
    assert fleet.cloud.topic.announced == []


def test_an_end_that_was_saved_and_not_announced_is_announced_once(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled_unheard(fleet, monkeypatch)
    assert steady(fleet, 59) == []
    assert steady(fleet, 1) == ["trip-1: its end was announced, late"]
    assert [subject for subject, _ in fleet.cloud.topic.announced] == ["minimoto: trip CANCELLED"]
    assert list(fleet.cloud.store.list(get(fleet).inputs)) == []
    assert steady(fleet, 60, 60) == []
    assert len(fleet.cloud.topic.announced) == 1


def test_an_end_that_cannot_be_announced_for_a_day_is_left(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled_unheard(fleet, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(fleet.cloud.topic, "announce", refuse_to_announce)
        assert steady(fleet, 60, 3600) == []
        assert fleet.run().problems == ("the topic is gone",)
        assert steady(fleet, 86_400) == ["trip-1: its end could not be announced for a day and is told to nobody"]
    assert steady(fleet, 60) == []
    assert get(fleet).closed


def test_an_end_that_was_announced_is_not_announced_again(fleet: Fleet) -> None:
    job(fleet)
    owner = claim(fleet, 0)
    fleet.cloud.jobs.fail(TaskKey("trip-1", 0, 0), owner, fleet.now, "no such font", again=False)
    steady(fleet, 0, 60)
    assert get(fleet).closed
    assert steady(fleet, 60, 60) == []
    assert len(fleet.cloud.topic.announced) == 1
