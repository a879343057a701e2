"""What Prometheus reads from a looping watchdog."""

from __future__ import annotations

import signal
import socket
import urllib.request
from dataclasses import replace

import pytest
from played_fleet import Fleet

from minimoto.core.node import NodeState
from minimoto.errors import ConfigError
from minimoto.watchdog.prometheus import Exporter, address

pytest.importorskip("prometheus_client")


def read(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}


def test_what_a_pass_saw_can_be_scraped() -> None:
    fleet = Fleet(min_nodes=2)
    fleet.node(NodeState.READY)
    fleet.node(NodeState.BUSY, task="j/0/1")
    fleet.cloud.queue.send(["one", "two"])
    exporter = Exporter()
    port = exporter.serve("127.0.0.1", 0)
    told = fleet.run()
    exporter.tell(told)
    seen = read(port)
    assert seen['minimoto_nodes{condition="idle"}'] == 1
    assert seen['minimoto_nodes{condition="busy"}'] == 1
    assert seen['minimoto_nodes{condition="dead"}'] == 0
    assert seen['minimoto_queue_messages{state="visible"}'] == 2
    assert seen["minimoto_last_pass_timestamp_seconds"] == told.at
    assert seen["minimoto_boot_seconds"] != seen["minimoto_boot_seconds"]  # NaN: none was seen


def test_actions_are_counted_and_what_cannot_be_seen_is_not_a_number() -> None:
    fleet = Fleet(min_nodes=3)
    exporter = Exporter()
    port = exporter.serve("127.0.0.1", 0)
    told = fleet.run()
    exporter.tell(told)
    exporter.tell(replace(told, decision=replace(told.decision, actions=(), inputs={}), problems=("no", "way")))
    seen = read(port)
    assert seen['minimoto_actions_total{action="launch"}'] == 3
    assert seen["minimoto_problems_total"] == 2
    assert seen['minimoto_nodes{condition="idle"}'] != seen['minimoto_nodes{condition="idle"}']


def test_addresses() -> None:
    assert address("127.0.0.1:9400") == ("127.0.0.1", 9400)
    assert address(":9400") == ("0.0.0.0", 9400)
    assert address("[::1]:9400") == ("::1", 9400)
    for wrong in ("9400", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:0", "127.0.0.1:99999"):
        with pytest.raises(ConfigError, match=r"\[FLEET\] metrics is"):
            address(wrong)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="cannot be listened at"):
            Exporter().serve("127.0.0.1", taken.getsockname()[1])


def test_the_loop_answers_while_it_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from minimoto.cli import watchdog

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fleet = Fleet(metrics=f"127.0.0.1:{port}")
    seen: list[dict[str, float]] = []
    told = watchdog._tell

    def tell(done: object, as_json: bool) -> None:
        told(done, as_json)  # type: ignore[arg-type]
        if len(seen) < 2:
            seen.append(read(port))
        if len(seen) == 2:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(watchdog, "_tell", tell)
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        assert watchdog._loop(fleet.cloud, 0.01, False) == 0  # type: ignore[arg-type]
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
    assert seen[1]['minimoto_actions_total{action="launch"}'] == 1
    assert "launched 1 node" in capsys.readouterr().out
