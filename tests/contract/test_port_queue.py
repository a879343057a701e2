"""The queue: the same answers in memory and on SQS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from minimoto.aws.clients import client
from minimoto.errors import InvalidMessage
from minimoto.ports import Message, QueueCounts


@pytest.fixture(autouse=True)
def emptied(kind: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """A real account's queue serves every test: each leaves it empty."""
    yield
    if kind == "aws":
        ports = request.getfixturevalue("ports")
        client(ports.session, ports.config, "sqs").purge_queue(QueueUrl=ports.config.queue_url)
        time.sleep(61)  # As long as a purge may take, and the least between two of them.


def drain(ports: Any, count: int) -> list[Message]:
    """Receives until ``count`` messages are there."""
    found: list[Message] = []
    while len(found) < count:
        batch = ports.queue.receive(10, wait=1.0)
        assert batch, f"{len(found)} of {count} messages came"
        found += batch
    return found


def test_messages_come_once_and_are_deleted(ports: Any, eventually: Any) -> None:
    bodies = [f'{{"task": {number}, "é": "<&>"}}' for number in range(23)]
    ports.queue.send(bodies)
    found = drain(ports, 23)
    assert sorted(message.body for message in found) == sorted(bodies)
    assert len({message.id for message in found}) == 23
    assert {message.received for message in found} == {1}
    assert all(message.sent > 1_700_000_000 for message in found)
    assert ports.queue.receive(10) == []
    ports.queue.delete([message.receipt for message in found])
    ports.queue.delete([message.receipt for message in found])
    ports.queue.delete([])
    eventually(ports.queue.counts, QueueCounts(0, 0, 0, None))


def numbers(ports: Any) -> tuple[int, int, int]:
    counts = ports.queue.counts()
    return counts.visible, counts.in_flight, counts.delayed


def test_messages_of_several_owners_all_come(ports: Any, eventually: Any) -> None:
    for owner in ("ann", "bo@host", "", "é 雪" * 100):
        ports.queue.send(["one", "two"], owner=owner)
    assert len(drain(ports, 8)) == 8


def test_an_owner_with_much_in_flight_lets_others_go_first(ports: Any, kind: str) -> None:
    if kind != "memory":
        pytest.skip("SQS promises no order, and the embedded one keeps none of owners")
    ports.queue.send([f"giant {number}" for number in range(50)], owner="giant")
    first = ports.queue.receive(4)
    ports.queue.send(["small"], owner="ann")
    assert [message.body for message in ports.queue.receive(2)] == ["small", "giant 4"]
    assert [message.body for message in first] == [f"giant {number}" for number in range(4)]


def test_counts(ports: Any, eventually: Any) -> None:
    ports.queue.send(["a", "b", "c"])
    ports.queue.send(["later"], delay=600)
    eventually(lambda: numbers(ports), (3, 0, 1))
    assert len(ports.queue.receive(1, wait=1.0)) == 1
    eventually(lambda: numbers(ports), (2, 1, 1))


def test_a_message_is_in_one_hand_at_a_time(ports: Any) -> None:
    ports.queue.send([str(number) for number in range(20)])
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: ports.queue.receive(10), range(8)))
    bodies = [message.body for batch in batches for message in batch]
    assert sorted(bodies, key=int) == [str(number) for number in range(20)]


def test_given_back_it_comes_again_and_is_counted(ports: Any, eventually: Any) -> None:
    ports.queue.send(["a"])
    (first,) = ports.queue.receive(wait=1.0)
    assert ports.queue.receive() == []
    assert ports.queue.extend(first.receipt, 0)
    (second,) = ports.queue.receive(wait=2.0)
    assert (second.id, second.body, second.received) == (first.id, "a", 2)
    ports.queue.delete([second.receipt])
    eventually(lambda: numbers(ports), (0, 0, 0))


def test_a_hidden_message_comes_back_when_its_time_is_over(ports: Any) -> None:
    ports.queue.send(["a"])
    assert len(ports.queue.receive(wait=1.0, visibility=0.4)) == 1
    assert ports.queue.receive() == []
    (again,) = ports.queue.receive(wait=5.0)
    assert again.received == 2


def test_extending_hides_it_longer(ports: Any) -> None:
    ports.queue.send(["a"])
    (message,) = ports.queue.receive(wait=1.0, visibility=1)
    assert ports.queue.extend(message.receipt, 600)
    assert ports.queue.receive(wait=2.0) == []


def test_what_is_deleted_cannot_be_extended(ports: Any) -> None:
    ports.queue.send(["a"])
    (message,) = ports.queue.receive(wait=1.0)
    ports.queue.delete([message.receipt])
    assert not ports.queue.extend(message.receipt, 10)


def test_waiting_ends_with_the_first_message(ports: Any) -> None:
    ports.queue.send(["a"], delay=1)
    assert ports.queue.receive() == []
    began = time.monotonic()
    (message,) = ports.queue.receive(wait=10.0)
    assert message.body == "a"
    assert time.monotonic() - began < 6


@pytest.mark.parametrize("body", ["", "a\x00b", "\ud800", "x" * 262_145, "é" * 131_073])
def test_bodies_that_no_queue_takes_are_refused_before_any_is_sent(ports: Any, body: str, eventually: Any) -> None:
    with pytest.raises(InvalidMessage):
        ports.queue.send(["good", body])
    eventually(lambda: numbers(ports), (0, 0, 0))


def test_large_messages_go_in_smaller_batches(ports: Any) -> None:
    bodies = [str(number) * 100_000 for number in range(6)]
    ports.queue.send(bodies)
    assert sorted(message.body for message in drain(ports, 6)) == bodies


def test_a_buried_message_keeps_its_reason(ports: Any, eventually: Any) -> None:
    ports.queue.send(["bad"])
    (message,) = ports.queue.receive(wait=1.0)
    ports.queue.bury(message, "neither JSON nor\x00 transform?…")
    eventually(ports.queue.counts, QueueCounts(0, 0, 0, None))
    ((dead, reason),) = ports.queue.dead()
    assert (dead.body, reason) == ("bad", "neither JSON nor? transform?…")
    assert ports.queue.dead() == []
    ports.queue.forget_dead([dead.receipt])


def test_a_message_without_a_reason_is_buried_all_the_same(ports: Any) -> None:
    ports.queue.send(["bad"])
    (message,) = ports.queue.receive(wait=1.0)
    ports.queue.bury(message, " ")
    assert [reason for _, reason in ports.queue.dead()] == ["no reason given"]


def test_a_message_received_too_often_is_dead_without_a_reason(make_ports: Any, eventually: Any) -> None:
    ports = make_ports(receive_limit=2)
    ports.queue.send(["poison"])
    for number in (1, 2):
        (message,) = ports.queue.receive(wait=2.0)
        assert message.received == number
        assert ports.queue.extend(message.receipt, 0)
    assert ports.queue.receive(wait=1.0) == []
    assert [(dead.body, reason) for dead, reason in ports.queue.dead()] == [("poison", "")]
    eventually(lambda: numbers(ports), (0, 0, 0))


def test_the_dead_are_read_to_the_limit(ports: Any) -> None:
    ports.queue.send([str(number) for number in range(12)])
    for message in drain(ports, 12):
        ports.queue.bury(message, "why")
    first = ports.queue.dead(limit=11)
    rest = ports.queue.dead(limit=11)
    assert (len(first), len(rest)) == (11, 1)
    ports.queue.forget_dead([dead.receipt for dead, _ in first + rest])
