"""``policy = asg`` on one laptop: an alarm starts the first machine, a job is done, an alarm ends the machine again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from laptop import Laptop
from PIL import Image

from minimoto import config

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("whole")]


def status(laptop: Laptop) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(laptop.run("minimoto_watchdog.py", "--status", "--json"))
    return document


def until(look: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
    return found


def test_a_group_starts_its_first_machine_by_an_alarm_and_ends_it_by_another(laptop: Laptop, tmp_path: Path) -> None:
    settings = {"POLICY": "asg", "MIN_NODES": "0", "MAX_NODES": "2", "COOLDOWN": "5"}
    laptop.environ |= {f"MINIMOTO_FLEET_{name}": value for name, value in settings.items()}
    laptop.run("minimoto_setup.py", "--yes")
    assert "made     Auto Scaling group" in laptop.errors
    # The machine that the image was baked from is none of the group's.
    baked = config.load(str(laptop.file), environ={}).service_id
    assert baked
    until(lambda: not status(laptop)["instances"], 150, "the end of the machine that was baked")
    assert status(laptop)["group"]["desired"] == 0

    folder = tmp_path / "trip"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (320, 240), (number * 60, 90, 200)).save(folder / f"{number}.jpg")
    laptop.run("minimoto_client.py", str(folder), "--pipeline", "fit:160x96", "--wait", "--out", "small")
    assert len(list((laptop.home / "small").rglob("*.jpg"))) == 4
    logs = {log.parent.name: log.read_text() for log in (tmp_path / "state" / "nodes").glob("i-*/node.log")}
    workers = [node for node, log in logs.items() if "task done" in log and node != baked]
    assert workers
    assert all("protected from scale-in" in logs[worker] for worker in workers)

    until(lambda: not status(laptop)["instances"], 100, "the end of the group's machine")
    after = status(laptop)
    assert (after["group"]["desired"], after["group"]["members"], after["problems"]) == (0, [], [])
    told = laptop.run("minimoto_watchdog.py", "--explain", "--since", "1h")
    assert "group-1: the Auto Scaling group sizes the fleet: 1 wanted of 0 to 2" in told
    assert "terminated" not in told.partition("group-1:")[2], "the group ended its own, not the watchdog"
    told = laptop.run("minimoto_watchdog.py", "--explain")
    assert "the Auto Scaling group sizes the fleet: 0 wanted of 0 to 2, 0 there" in told
    # By hand, and back to the alarms.
    assert "set by hand to 1" in laptop.run("minimoto_watchdog.py", "--scale_to=1")
    assert "group: 1 wanted of 1 to 1, 1 there" in laptop.run("minimoto_watchdog.py", "--status")
    laptop.run("minimoto_watchdog.py", "--scale_to=auto")
    assert " wanted of 0 to 2" in laptop.run("minimoto_watchdog.py", "--status")
    assert laptop.run("minimoto_watchdog.py", "--policy", "target", status=2) == ""
    assert "setup makes and removes Auto Scaling groups" in laptop.errors
    assert "deleted  Auto Scaling group" in laptop.run("minimoto_cleanup.py", "--yes") + laptop.errors
