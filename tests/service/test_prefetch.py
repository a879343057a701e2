"""How many messages are taken at once, and that none is kept from others."""

from __future__ import annotations

import io

import pytest

from minimoto.deliveries import Deliveries
from minimoto.logs import open_log
from minimoto.memory import MemoryCloud, memory_cloud
from minimoto.prefetch import Prefetch


@pytest.fixture
def cloud() -> MemoryCloud:
    cloud = memory_cloud()
    cloud.queue.send([str(number) for number in range(40)])
    return cloud


@pytest.fixture
def prefetch(cloud: MemoryCloud) -> Prefetch:
    deliveries = Deliveries(cloud.queue, 10, open_log(stream=io.StringIO()))
    return Prefetch(cloud.queue, deliveries, cloud.clock, lease=120.0)


def work(cloud: MemoryCloud, prefetch: Prefetch, seconds: float) -> str:
    message = prefetch.next(0)
    assert message is not None
    cloud.clock.sleep(seconds)
    prefetch.relent()
    prefetch.worked()
    return message.body


def in_flight(cloud: MemoryCloud) -> int:
    return cloud.queue.counts().in_flight


def test_one_at_a_time_until_tasks_are_known_to_be_short(cloud: MemoryCloud, prefetch: Prefetch) -> None:
    assert work(cloud, prefetch, 0.02) == "0"
    assert in_flight(cloud) == 1
    assert [work(cloud, prefetch, 0.02) for _ in range(12)] == [str(number) for number in range(1, 13)]
    assert in_flight(cloud) == 1 + 10 + 10


@pytest.mark.parametrize(("seconds", "taken"), [(0.0, 10), (0.05, 10), (0.1, 5), (0.2, 2), (0.3, 1), (30.0, 1)])
def test_never_more_than_half_a_second_of_work(
    cloud: MemoryCloud, prefetch: Prefetch, seconds: float, taken: int
) -> None:
    work(cloud, prefetch, seconds)
    prefetch.next(0)
    assert in_flight(cloud) == 1 + taken


def test_a_long_task_gives_back_what_waits(cloud: MemoryCloud, prefetch: Prefetch) -> None:
    work(cloud, prefetch, 0.01)
    work(cloud, prefetch, 0.6)
    assert in_flight(cloud) == 2
    assert cloud.queue.counts().visible == 38
    work(cloud, prefetch, 0.6)
    assert in_flight(cloud) == 3


def test_what_waited_too_long_is_not_worked_on(cloud: MemoryCloud, prefetch: Prefetch) -> None:
    work(cloud, prefetch, 0.01)
    prefetch.next(0)
    cloud.clock.sleep(61)
    again = prefetch.next(0)
    assert again is not None
    assert again.received == 2
    assert in_flight(cloud) == 2 + 10


def test_stopping_gives_back_what_waits(cloud: MemoryCloud, prefetch: Prefetch) -> None:
    work(cloud, prefetch, 0.01)
    prefetch.next(0)
    prefetch.give_back()
    assert in_flight(cloud) == 2


def test_nothing_is_there(prefetch: Prefetch, cloud: MemoryCloud) -> None:
    for _ in range(40):
        cloud.queue.receive(10)
    assert prefetch.next(0) is None
