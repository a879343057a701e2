"""The heartbeat, beat by beat: what is renewed, what is said, and what is noticed."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from minimoto.core.events import CancelRequested
from minimoto.core.node import NodeReport, NodeState
from minimoto.core.task import TaskKey
from minimoto.errors import CloudError
from minimoto.heartbeat import Heartbeat, Held, Pulse, Stopped, Why
from minimoto.interruption import Stop
from minimoto.logs import open_log
from minimoto.memory import MemoryCloud
from minimoto.ports import Message
from tests.submitting import dispatcher, submit, wait_for


@dataclass
class Patient:
    cloud: MemoryCloud
    heartbeat: Heartbeat
    stop: Stop
    key: TaskKey
    message: Message
    said: io.StringIO
    recording: bool = False

    def hold(self) -> None:
        self.heartbeat.hold(Held(self.message.receipt, self.key, "i-0test/0/x"))

    def report(self) -> NodeReport:
        return self.cloud.nodes.reports()[0]


@pytest.fixture
def make(clock_cloud: MemoryCloud, steps: Any) -> Callable[..., Patient]:
    def make(every: float = 20.0) -> Patient:
        cloud, stop, said = clock_cloud, Stop(), io.StringIO()
        job = submit(cloud, "faulty:copy", {"a.jpg": b"A"}, steps)
        (message,) = cloud.queue.receive(visibility=120.0)
        key = TaskKey(job.id, 0, 0)
        cloud.jobs.claim(key, "i-0test/0/x", cloud.clock.now(), 120.0)
        pulse = Pulse("i-0test", 0, every, 120.0)
        heartbeat = Heartbeat(
            cloud.queue,
            cloud.jobs,
            cloud.nodes,
            cloud.clock,
            pulse,
            stop,
            open_log(stream=said),
            recording=lambda: patient.recording,
        )
        patient = Patient(cloud, heartbeat, stop, key, message, said)
        return patient

    return make


@pytest.fixture
def patient(make: Callable[..., Patient]) -> Patient:
    return make()


def test_a_beat_renews_lease_and_message_and_publishes_progress(patient: Patient) -> None:
    patient.hold()
    patient.heartbeat.progress(0.25, "photo 3 of 12")
    patient.cloud.clock.sleep(100)
    patient.heartbeat.beat()
    task = patient.cloud.jobs.task(patient.key)
    assert task.lease_until == patient.cloud.clock.now() + 120
    assert (task.progress, task.note) == (0.25, "photo 3 of 12")
    patient.cloud.clock.sleep(110)
    assert patient.cloud.queue.receive() == []
    assert (patient.report().state, patient.report().task) == (NodeState.BUSY, str(patient.key))
    patient.heartbeat.check()


def test_an_idle_node_says_that_it_is_ready(patient: Patient) -> None:
    patient.heartbeat.ended(10.0, 0)
    patient.heartbeat.ended(20.0, 0)
    patient.heartbeat.ended(None, 2)
    patient.heartbeat.beat()
    report = patient.report()
    assert (report.state, report.task, report.failures, report.seconds_per_task) == (NodeState.READY, "", 2, 12.0)
    assert report.beat == patient.cloud.clock.now()


def test_work_between_two_beats_counts_as_busy(patient: Patient) -> None:
    patient.hold()
    patient.heartbeat.drop()
    patient.heartbeat.beat()
    assert patient.report().state is NodeState.BUSY
    patient.heartbeat.beat()
    assert patient.report().state is NodeState.READY


def test_a_node_is_busy_until_what_it_has_done_is_recorded(patient: Patient) -> None:
    """Whoever looks whether it may be terminated must not take it for idle, nor for drained."""
    patient.recording = True
    patient.hold()
    patient.heartbeat.drop()
    for _ in range(2):
        patient.heartbeat.beat()
        assert (patient.report().state, patient.report().task) == (NodeState.BUSY, str(patient.key))
    patient.stop.drain("scale in")
    patient.heartbeat.beat()
    assert (patient.report().state, patient.report().task) == (NodeState.DRAINING, str(patient.key))
    patient.recording = False
    patient.heartbeat.beat()
    assert (patient.report().state, patient.report().task) == (NodeState.DRAINING, "")


def test_the_end_of_the_job_stops_the_try(patient: Patient) -> None:
    patient.hold()
    dispatcher(patient.cloud).apply(patient.key.job, CancelRequested("ana"))
    patient.heartbeat.beat()
    with pytest.raises(Stopped, match="the job is CANCELLED") as stopped:
        patient.heartbeat.check()
    assert stopped.value.why is Why.JOB_ENDED
    patient.heartbeat.drop()
    patient.hold()
    patient.heartbeat.check()


def test_a_lost_lease_stops_the_try(patient: Patient) -> None:
    patient.hold()
    patient.cloud.jobs.break_lease(patient.key, "i-0test/0/x", patient.cloud.clock.now(), "silent")
    patient.heartbeat.beat()
    with pytest.raises(Stopped) as stopped:
        patient.heartbeat.check()
    assert stopped.value.why is Why.LEASE_LOST


def test_a_message_without_a_task_is_kept_hidden(patient: Patient) -> None:
    patient.heartbeat.hold(Held(patient.message.receipt))
    patient.cloud.clock.sleep(100)
    patient.heartbeat.beat()
    patient.cloud.clock.sleep(100)
    assert patient.cloud.queue.receive() == []


def test_a_drain_request_is_noticed_and_said(patient: Patient) -> None:
    patient.cloud.nodes.request_drain("i-0test", "scale in")
    patient.heartbeat.beat()
    assert (patient.stop.draining, patient.stop.urgent) == (True, False)
    patient.heartbeat.check()
    patient.heartbeat.beat()
    assert patient.report().state is NodeState.DRAINING


def test_being_told_to_stop_ends_the_try(patient: Patient) -> None:
    patient.stop.now("SIGTERM")
    with pytest.raises(Stopped, match="SIGTERM") as stopped:
        patient.heartbeat.check_settled()
    assert stopped.value.why is Why.INTERRUPTED


def test_a_beat_that_AWS_refuses_is_said_and_tried_again(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(patient.cloud.nodes, "beat", _throttled)
        patient.heartbeat.beat()
    assert "a heartbeat was lost" in patient.said.getvalue()
    patient.heartbeat.beat()
    assert patient.report().state is NodeState.READY


def _throttled(*_: Any) -> None:
    raise CloudError("table memory: writing: throttled")


@pytest.mark.parametrize(("port", "call"), [("queue", "extend"), ("jobs", "renew"), ("jobs", "get"), ("nodes", "beat")])
def test_what_AWS_refuses_keeps_nothing_else_from_the_beat(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, port: str, call: str
) -> None:
    cloud = patient.cloud
    patient.hold()
    cloud.nodes.request_drain("i-0test", "scale in")
    cloud.clock.sleep(100)
    with monkeypatch.context() as patch:
        patch.setattr(getattr(cloud, port), call, _throttled)
        patient.heartbeat.beat()
    assert (cloud.jobs.task(patient.key).lease_until == cloud.clock.now() + 120) is (call != "renew")
    cloud.clock.sleep(100)
    assert len(cloud.queue.receive()) == (1 if call == "extend" else 0)
    assert len(cloud.nodes.reports()) == (0 if call == "beat" else 1)
    assert patient.stop.draining
    assert patient.said.getvalue().count("a heartbeat was lost") == 1


def test_what_was_given_back_is_not_hidden_again(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal that is under way ends before the message is out of our hands."""
    begun, go_on = threading.Event(), threading.Event()
    extend = patient.cloud.queue.extend

    def slow(receipt: str, seconds: float) -> bool:
        begun.set()
        assert go_on.wait(10)
        return extend(receipt, seconds)

    patient.hold()
    monkeypatch.setattr(patient.cloud.queue, "extend", slow)
    beat = threading.Thread(target=patient.heartbeat.beat)
    beat.start()
    assert begun.wait(10)
    drop = threading.Thread(target=patient.heartbeat.drop)
    drop.start()
    assert drop.is_alive()
    go_on.set()
    drop.join(10)
    extend(patient.message.receipt, 0)
    beat.join(10)
    assert len(patient.cloud.queue.receive()) == 1


def test_the_thread_beats_and_says_its_last_word(make: Callable[..., Patient]) -> None:
    patient = make(every=1e-3)
    patient.heartbeat.start()
    wait_for(patient.cloud.nodes.reports)
    patient.heartbeat.close(NodeState.FENCED)
    assert patient.report().state is NodeState.FENCED


def test_the_log_is_json_where_nobody_looks_and_for_people_where_somebody_does() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    file, terminal = io.StringIO(), Terminal()
    for stream in (file, terminal):
        log = open_log(stream=stream, node="i-0test", slot=1).bind(job="trip", stage=0, task=2, attempt=1)
        log.debug("not said")
        log.warning("task failed", reason="größer")
    said = json.loads(file.getvalue())
    assert (said.pop("timestamp")[-1], said) == (
        "Z",
        {
            "node": "i-0test",
            "slot": 1,
            "job": "trip",
            "stage": 0,
            "task": 2,
            "attempt": 1,
            "reason": "größer",
            "level": "warning",
            "message": "task failed",
        },
    )
    assert "task failed" in terminal.getvalue()
    assert "{" not in terminal.getvalue()
