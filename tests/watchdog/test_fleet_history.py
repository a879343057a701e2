"""``minimoto fleet history``: why the fleet was as large as it was."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from played_fleet import Fleet

from minimoto.cli.entry import build_parser, main
from minimoto.core.node import NodeState
from minimoto.errors import NotFound, UsageError
from minimoto.watchdog import fleet_history as kept
from minimoto.watchdog.fleet_history import Moment
from minimoto.watchdog.patrol import Resize
from minimoto.watchdog.watch import last_hour

HOUR = 3600.0


@pytest.fixture
def fleet() -> Fleet:
    """Two nodes at first, four a while later, one at the end."""
    fleet = Fleet(min_nodes=2)
    fleet.run()
    for size, after in ((None, 60), (4, 1200), (1, 600), (None, 60)):
        fleet.clock.advance(after)
        for id in fleet.ids:
            asked = fleet.cloud.nodes.drain_requested(id)
            fleet.beat(id, NodeState.DRAINING if asked else NodeState.READY)
        fleet.run(resize=Resize(size) if size else None)
    return fleet


@pytest.fixture
def command(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    settings = tmp_path / "configure.ini"
    settings.write_text("[QUEUE]\n", "utf-8")
    monkeypatch.setattr("minimoto.wiring.Cloud", lambda _: fleet.cloud)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["fleet", "--config", str(settings), "history", *arguments])
        out = capsys.readouterr()
        return status, out.out, out.err

    return run


def test_the_changes_of_the_last_hour(command: Any) -> None:
    status, out, _ = command()
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "nodes in the last 1h, 4 at most:"
    assert len(lines[1]) == 72
    assert "█" in lines[1]
    assert "the size is set by hand to 4" in out
    assert "launched 2 nodes" in out
    assert "draining " in out
    document = json.loads(command("--json")[1])
    assert max(size["nodes"] for size in document["sizes"]) == 4
    assert all(change["done"] for change in document["changes"])


def test_why_it_was_so_at_a_moment(fleet: Fleet, command: Any) -> None:
    when = datetime.fromtimestamp(fleet.now - 300).astimezone()
    status, out, _ = command("--at", when.isoformat(sep=" ", timespec="seconds"))
    assert status == 0
    assert out.splitlines()[0].endswith(": 2 nodes")
    assert "  reason: the size is set by hand to 4" in out
    assert "what changed in the hour before:\n" in out
    assert "at least 2 nodes, there are 0" in out


def test_the_settings_may_be_named_before_the_action_or_behind_it() -> None:
    parser = build_parser(only="fleet")
    for words in (["--config", "a.ini", "history"], ["history", "--config", "a.ini"]):
        assert parser.parse_args(["fleet", *words]).config == "a.ini"
    assert parser.parse_args(["fleet", "history"]).config is None


def test_what_cannot_be_told_is_said(command: Any, fleet: Fleet) -> None:
    status, _, err = command("--at", "1999-01-01 00:00")
    assert (status, err.count("\n")) == (1, 1)
    assert "no decision is kept from before 1999-01-01 00:00:00" in err
    assert command("--since", "1s")[0] == 0
    fleet.clock.advance(10 * HOUR)
    assert command("--since", "1m")[1] == "no decision in the last 1m\n"


@pytest.mark.parametrize("text", ["noon", "25:00", "14:61", "", "2027-13-01", "9999-01-01"])
def test_a_wrong_time_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="--at"):
        kept.moment_of(text, 1_800_000_000.0)


def test_a_time_of_day_is_the_last_one_that_has_passed() -> None:
    now = datetime(2026, 11, 26, 14, 30).astimezone().timestamp()
    assert kept.moment_of("14:05", now) == now - 25 * 60
    assert kept.moment_of("14:45:30", now) == now - 24 * HOUR + 15 * 60 + 30
    assert kept.moment_of("2026-11-26 14:05", now) == now - 25 * 60


def test_bars_are_as_high_as_the_fleet_and_leave_gaps_where_nothing_is_known() -> None:
    def moment(at: float, nodes: int | None) -> Moment:
        return Moment(at, nodes, {"done": []})

    found = [moment(10, 0), moment(20, 7), moment(30, None), moment(35, 3)]
    assert kept.bars(found, 0, 40, 4) == "▁█ ▄"
    assert kept.bars([], 0, 40, 4) == ""
    with pytest.raises(NotFound):
        kept.at(found, 5)


def test_the_live_view_has_the_last_hour(fleet: Fleet) -> None:
    drawn = last_hour(fleet.cloud)  # type: ignore[arg-type]
    assert len(drawn) == 60
    assert "█" in drawn
