"""Heartbeats and the watchdog's memory: the same answers in memory and on DynamoDB."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from minimoto.core.node import NodeReport, NodeState

NOW = 1_800_000_000.123456


@pytest.fixture
def node() -> str:
    return f"i-{uuid.uuid4().hex[:8]}"


def of(ports: Any, *nodes: str) -> list[NodeReport]:
    return [report for report in ports.nodes.reports() if report.node in nodes]


def test_the_last_heartbeat_of_every_slot(ports: Any, node: str) -> None:
    first = NodeReport(node, 0, NodeState.BUSY, NOW, "trip/0/1", NOW - 1.5, 2, 12.25, "1.0")
    ports.nodes.beat(first)
    ports.nodes.beat(NodeReport(node, 10, NodeState.READY, NOW))
    ports.nodes.beat(NodeReport(node, 2, NodeState.FENCED, NOW))
    assert [report.slot for report in of(ports, node)] == [0, 2, 10]
    assert of(ports, node)[0] == first
    later = replace(first, state=NodeState.DRAINING, beat=NOW + 20, task="")
    ports.nodes.beat(later)
    assert of(ports, node)[0] == later
    assert len(of(ports, node)) == 3


def test_forgetting_a_node_keeps_those_named_alike(ports: Any, node: str) -> None:
    for name in (node, f"{node}1"):
        ports.nodes.beat(NodeReport(name, 0, NodeState.READY, NOW))
        ports.nodes.beat(NodeReport(name, 1, NodeState.READY, NOW))
        ports.nodes.request_drain(name, "too many")
    ports.nodes.forget(node)
    ports.nodes.forget(node)
    assert [report.node for report in of(ports, node, f"{node}1")] == [f"{node}1"] * 2
    assert ports.nodes.drain_requested(node) == ""
    assert ports.nodes.drain_requested(f"{node}1") == "too many"


def test_a_drain_request_keeps_its_last_reason(ports: Any, node: str) -> None:
    assert ports.nodes.drain_requested(node) == ""
    ports.nodes.request_drain(node, "the fleet shrinks")
    ports.nodes.request_drain(node, "two strikes: silent")
    assert ports.nodes.drain_requested(node) == "two strikes: silent"


def test_one_watchdog_at_a_time(ports: Any) -> None:
    assert ports.ledger.begin_pass("a", NOW, 60)
    assert not ports.ledger.begin_pass("b", NOW + 59.9, 60)
    assert ports.ledger.begin_pass("a", NOW + 59.9, 60)
    ports.ledger.end_pass("b")
    assert not ports.ledger.begin_pass("b", NOW + 100, 60)
    ports.ledger.end_pass("a")
    ports.ledger.end_pass("a")
    assert ports.ledger.begin_pass("b", NOW + 100, 60)
    assert ports.ledger.begin_pass("c", NOW + 160, 60), "a lease whose time is over is free"
    ports.ledger.end_pass("c")


def test_of_ten_watchdogs_at_once_one_begins(ports: Any) -> None:
    with ThreadPoolExecutor(10) as pool:
        began = list(pool.map(lambda n: ports.ledger.begin_pass(f"w{n}", NOW, 60), range(10)))
    assert sum(began) == 1
    ports.ledger.end_pass(f"w{began.index(True)}")


def test_small_texts_are_remembered(ports: Any) -> None:
    assert ports.ledger.recall("strikes") == ""
    ports.ledger.remember("strikes", '{"i-1": 1}')
    ports.ledger.remember("strikes", '{"i-1": 2, "é": "🐑"}')
    ports.ledger.remember("strikes2", "other")
    assert ports.ledger.recall("strikes") == '{"i-1": 2, "é": "🐑"}'
    ports.ledger.remember("strikes", "")
    assert ports.ledger.recall("strikes") == ""


def test_decisions_come_newest_first(ports: Any) -> None:
    for number in range(5):
        ports.ledger.record(NOW + number, f'{{"n": {number}}}')
    ports.ledger.record(NOW + 4, '{"n": 5}')
    newest = ports.ledger.decisions(NOW)
    assert [at for at, _ in newest] == [NOW + 4, NOW + 4, NOW + 3, NOW + 2, NOW + 1, NOW]
    assert {text for _, text in newest[:2]} == {'{"n": 4}', '{"n": 5}'}
    assert ports.ledger.decisions(NOW + 1, limit=3) == newest[:3]
    assert [text for _, text in ports.ledger.decisions(NOW + 3)][2:] == ['{"n": 3}']
    assert ports.ledger.decisions(NOW + 5) == []


def test_decisions_of_many_pages(ports: Any) -> None:
    for number in range(12):
        ports.ledger.record(NOW + number, str(number) + "x" * 150_000)
    assert [text.rstrip("x") for _, text in ports.ledger.decisions(NOW, limit=11)] == [str(n) for n in range(11, 0, -1)]
