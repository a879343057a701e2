"""What the fakes have beyond the ports: a clock to move, machines to break, datapoints to set."""

from __future__ import annotations

from dataclasses import fields

import pytest

from minimoto.config import Config
from minimoto.errors import CloudError
from minimoto.memory import FakeClock, MemoryCloud, MemoryFleet, MemoryMetrics, MemoryQueue, memory_cloud
from minimoto.wiring import Cloud


def test_the_clock_moves_only_when_told_to() -> None:
    clock = FakeClock(now=100.0)
    clock.sleep(5)
    clock.advance(0.5)
    assert (clock.now(), clock.monotonic()) == (105.5, 5.5)
    with pytest.raises(ValueError, match="does not go back"):
        clock.sleep(-1)


def test_the_cloud_in_memory_has_every_port_of_the_real_one() -> None:
    # Sessions and setup are about AWS itself.
    ports = {name for name in vars(Cloud) if not name.startswith("_")} - {"session", "deployment"}
    assert {field.name for field in fields(MemoryCloud)} == ports | {"config"}
    cloud = memory_cloud()
    assert all(getattr(cloud, name) is not None for name in ports)
    assert memory_cloud().jobs is not cloud.jobs


def test_waiting_for_a_message_takes_no_time_on_a_clock_that_stands_still() -> None:
    clock = FakeClock(now=0.0)
    queue = MemoryQueue(Config(lease=30), clock)
    assert queue.receive(wait=20) == []
    assert clock.monotonic() == pytest.approx(20)
    queue.send(["a"])
    (message,) = queue.receive()
    clock.advance(30)
    assert not queue.extend(message.receipt, 10), "its time was over"
    (again,) = queue.receive()
    queue.delete([message.receipt])
    assert queue.counts().in_flight == 1, "an earlier delivery deletes nothing"
    queue.delete([again.receipt])
    assert queue.counts().in_flight == 0


def test_the_age_of_the_oldest_message() -> None:
    clock = FakeClock()
    queue = MemoryQueue(Config(), clock)
    queue.send(["a"])
    clock.advance(17)
    queue.send(["b"])
    assert queue.counts().oldest == 17
    queue.receive()
    assert queue.counts().oldest == 0


def test_machines_can_break_and_capacity_can_end() -> None:
    clock = FakeClock()
    fleet = MemoryFleet(Config(name="trip"), clock, capacity=2)
    fleet.add("client", id="i-client")
    had = fleet.launch(3, "t")
    assert (len(had.ids), len(had.refused)) == (2, 1)
    assert set(fleet.launch(1, "t2").refused.values()) == {"InsufficientInstanceCapacity"}
    first = fleet.instances()[0]
    fleet.change(first.id, healthy=False)
    assert [machine.healthy for machine in fleet.instances()] == [False, True]
    with pytest.raises(CloudError, match="i-client"):
        fleet.terminate(["i-client"])
    fleet.terminate([first.id])
    assert len(fleet.launch(1, "t2").ids) == 1
    assert [machine.id for machine in fleet.instances("client")] == ["i-client"]


def test_datapoints_grow_old() -> None:
    metrics = MemoryMetrics()
    metrics.set_cpu("i-1", 50.0, at=1000)
    metrics.set_cpu("i-1", 5.0, at=1060)
    assert metrics.cpu(["i-1", "i-2"], 1100) == {"i-1": 5.0, "i-2": None}
    assert metrics.cpu(["i-1"], 2000) == {"i-1": None}
    metrics.publish("NumJobsReadyOrBeingProcessed", 3.0, 1100)
    assert metrics.published == [("NumJobsReadyOrBeingProcessed", 3.0, 1100)]
