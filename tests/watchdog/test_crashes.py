"""Real watchdogs, killed and at once, on the embedded AWS: no machine is started twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from deployed_script import Deployed
from played_fleet import Fleet

from minimoto import config as settings
from minimoto.config import Config
from minimoto.core.markets import Pool
from minimoto.errors import CloudError
from minimoto.ports import Instance, Launched
from minimoto.watchdog.patrol import Watchdog

DRIVER = Path(__file__).with_name("killed_pass.py")
ROOT = Path(__file__).parents[2]
CALLS = 12
"""One more than the changing calls of one pass, so that the last one comes to its end."""


@pytest.mark.fault
def test_a_watchdog_killed_after_any_call_starts_nothing_twice(
    make_deployment: Callable[..., Config], tmp_path: Path
) -> None:
    files = []
    for number in range(CALLS):
        files.append(tmp_path / f"{number}.ini")
        settings.save(make_deployment(market="on-demand", min_nodes=2), files[-1])
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    ran = subprocess.run(
        [sys.executable, str(DRIVER), *map(str, files)],
        env={**kept, "PYTHONPATH": str(ROOT), "AWS_EC2_METADATA_DISABLED": "true"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    calls = [line["call"] for line in lines]
    assert len(lines) == CALLS
    assert "fleet.launch" in calls
    assert calls[0] == "ledger.begin_pass"
    assert calls[-1] == ""
    for line in lines:
        assert line["machines"][1:] == [2, 2], line
        assert line["machines"][0] in (0, 2), line


@pytest.mark.fault
def test_watchdogs_at_once_start_each_machine_once(deployed: Deployed) -> None:
    processes = [deployed.start(MINIMOTO_FLEET_MIN_NODES="2") for _ in range(3)]
    outs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(deployed.cloud.fleet.instances()) == 2
    assert sum("launched 2 nodes" in out for out, _ in outs) == 1
    # Those that came while it was at it said so; one that came after it saw its machines.
    assert all("launched" in out or "another watchdog is at it" in err or "enough" in out for out, err in outs)


def test_a_pass_that_outlived_its_lease_repeats_no_launch(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both watchdogs have read the same memory; the second launches while the first still waits for its answer."""
    launch, tried = fleet.cloud.fleet.launch, []

    def slow(count: int, token: str, pools: Sequence[Pool]) -> object:
        if not tried:
            tried.append(token)
            fleet.clock.advance(300)
            assert Watchdog(fleet.cloud, owner="second").run_pass()  # type: ignore[arg-type]
        return launch(count, token, pools)

    monkeypatch.setattr(fleet.cloud.fleet, "launch", slow)
    fleet.run()
    assert len(fleet.ids) == 1
    fleet.run(after=60)
    assert len(fleet.ids) == 1


class Killed(BaseException):
    """Stands in for SIGKILL where the test must go on: nothing may catch it."""


def lag(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[int]:
    """The listing shows a machine only so long after its launch, as EC2's may; returns what launches were asked for."""
    instances, launch, asked = fleet.cloud.fleet.instances, fleet.cloud.fleet.launch, []

    def late(role: str = "service") -> list[Instance]:
        return [machine for machine in instances(role) if fleet.now - machine.launched >= seconds]

    def counted(count: int, token: str, pools: Sequence[Pool]) -> Launched:
        asked.append(count)
        made = launch(count, token, pools)
        if len(asked) == 1:
            raise Killed
        return made

    monkeypatch.setattr(fleet.cloud.fleet, "instances", late)
    monkeypatch.setattr(fleet.cloud.fleet, "launch", counted)
    return asked


def machines(fleet: Fleet) -> int:
    return len(fleet.cloud.fleet._machines)


def test_killed_between_launch_and_record_while_the_listing_is_late(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = lag(fleet, monkeypatch, 50)
    with pytest.raises(Killed):
        fleet.run()
    for _ in range(8):
        fleet.run(after=10)
        assert machines(fleet) == 1
    assert asked == [1, 1]


def refused() -> None:
    raise CloudError("the call was throttled", code="Throttling")


def test_the_same_while_the_backlog_grows_and_shrinks(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the unresolved token the very same launch is repeated first; only then more is asked for, or nothing."""
    asked = lag(fleet, monkeypatch, 50)
    monkeypatch.setattr(fleet.cloud.jobs, "live", refused)  # only the queue's counts tell
    fleet.cloud.queue.send(['{"v":1,"job":"x","stage":0,"task":0}'] * 12)
    with pytest.raises(Killed):
        fleet.run()
    first = machines(fleet)
    assert first == 2
    got = fleet.cloud.queue.receive(10) + fleet.cloud.queue.receive(10)
    fleet.cloud.queue.delete([message.receipt for message in got[:11]])
    told = fleet.run(after=10)
    assert "the outcome of the last launch is not known yet: 0 of 1 node asked for" in told.problems
    fleet.cloud.queue.send(['{"v":1,"job":"x","stage":0,"task":0}'] * 60)
    fleet.run(after=10)
    assert (asked, machines(fleet)) == ([2, 2], 2)
    fleet.run(after=10)
    assert (asked, machines(fleet)) == ([2, 2, 2], 4)
    for _ in range(10):
        fleet.run(after=10)
    assert machines(fleet) == 4
