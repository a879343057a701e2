"""What a node's services tell the Auto Scaling group: protected while busy, drained and released when it ends them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from minimoto.core.node import NodeState
from minimoto.errors import CloudError
from minimoto.in_group import EXTEND_EVERY, InGroup
from minimoto.interruption import Stop
from minimoto.logs import open_log
from minimoto.memory import FakeClock, MemoryCloud
from minimoto.service import Setting, serve
from tests.submitting import photo, submit

NODE = "i-0test"


@dataclass
class Told:
    """A group that notes what it is told."""

    calls: list[str] = field(default_factory=list)
    refuses: bool = False

    def protect(self, node: str, busy: bool) -> None:
        self._note(f"protect {node}" if busy else f"unprotect {node}")

    def extend(self, node: str) -> None:
        self._note(f"extend {node}")

    def release(self, node: str) -> None:
        self._note(f"release {node}")

    def _note(self, line: str) -> None:
        self.calls.append(line)
        if self.refuses:
            raise CloudError("the call was throttled", code="Throttling")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def slot(tmp_path: Path, clock: FakeClock) -> Callable[..., InGroup]:
    def make(group: Told, number: int = 0, node: str = NODE) -> InGroup:
        return InGroup(group, clock, open_log(stream=io.StringIO()), node, tmp_path, number, rest=30.0)  # type: ignore[arg-type]

    return make


def test_a_row_of_tasks_costs_two_calls(slot: Callable[..., InGroup]) -> None:
    told = Told()
    mine = slot(told)
    mine.begin()
    for _ in range(5):
        mine.busy()
        mine.idle(4.0)
    assert told.calls == [f"protect {NODE}"]
    mine.idle(30.0)
    mine.idle(34.0)
    mine.close()
    assert told.calls == [f"protect {NODE}", f"unprotect {NODE}"]


def test_a_node_is_protected_while_any_slot_is_busy(slot: Callable[..., InGroup]) -> None:
    told = Told()
    first, second = slot(told, 0), slot(told, 1)
    first.busy()
    second.busy()
    assert told.calls == [f"protect {NODE}"]
    first.idle(60.0)
    first.close()
    assert told.calls == [f"protect {NODE}"]
    second.idle(60.0)
    assert told.calls == [f"protect {NODE}", f"unprotect {NODE}"]


def test_what_a_killed_service_left_behind_is_taken_back(slot: Callable[..., InGroup]) -> None:
    told = Told()
    killed = slot(told)
    killed.busy()
    killed._mark.release()  # as the kernel does
    after = slot(told)
    after.begin()
    after.idle(29.0)
    assert told.calls == [f"protect {NODE}"]
    after.idle(30.0)
    assert told.calls == [f"protect {NODE}", f"unprotect {NODE}"]


def test_a_copy_of_another_nodes_disk_means_nothing(slot: Callable[..., InGroup]) -> None:
    told = Told()
    slot(told, node="i-baked").busy()
    mine = slot(told, number=1)
    mine.begin()
    mine.busy()
    assert told.calls == ["protect i-baked", f"protect {NODE}"]


def test_a_refused_protection_stops_no_work_and_is_tried_again_with_the_next_row(slot: Callable[..., InGroup]) -> None:
    told = Told(refuses=True)
    mine = slot(told)
    mine.busy()
    mine.busy()
    mine.idle(30.0)
    mine.busy()
    assert told.calls == [f"protect {NODE}"] * 2


def test_the_last_slot_of_a_node_that_is_ended_releases_it(slot: Callable[..., InGroup], clock: FakeClock) -> None:
    told = Told()
    first, second = slot(told, 0), slot(told, 1)
    first.busy()
    second.busy()
    first.leaving()
    second.leaving()
    clock.advance(EXTEND_EVERY - 1)
    first.leaving()
    assert told.calls[1:] == [f"extend {NODE}"] * 2
    clock.advance(1)
    first.leaving()
    first.close()
    assert told.calls[3:] == [f"extend {NODE}"]
    second.close()
    assert told.calls[4:] == [f"release {NODE}"]


@pytest.fixture
def grouped(memory: MemoryCloud, steps: Any) -> MemoryCloud:
    """A deployment whose one node is this one."""
    memory.fleet.add(id=NODE)
    cloud = replace(memory, config=replace(memory.config, policy="asg", cooldown=0.0, quiet=0.5))
    cloud.group.make(0, 4)
    cloud.group.adopt(NODE)
    return cloud


def run(cloud: MemoryCloud, steps: Any, stop: Stop | None = None, **setting: Any) -> int | None:
    return serve(cloud, stop or Stop(), Setting(steps=steps, step_module="fault_steps", poll=0.2, **setting))


def test_a_service_protects_its_node_only_while_it_works(grouped: MemoryCloud, steps: Any) -> None:
    job = submit(grouped, "faulty:copy", {"a.jpg": photo(1), "b.jpg": photo(2)}, steps)
    protected: list[bool] = []

    def look(name: str) -> None:
        if name == "claimed":
            protected.append(grouped.group.look().members[0].protected)

    assert run(grouped, steps, checkpoint=look) == 0
    assert grouped.jobs.get(job.id).state.final
    assert protected
    assert all(protected)
    assert not grouped.group.look().members[0].protected


def test_a_service_that_is_told_of_aws_s_plans_says_that_its_machine_is_of_no_more_use(
    memory: MemoryCloud, steps: Any
) -> None:
    stop = Stop()
    stop.drain("rebalance recommended", lasting=True)
    assert run(memory, steps, stop) == 0
    (report,) = memory.nodes.reports()
    assert (report.state, report.note) == (NodeState.DRAINING, "rebalance recommended")
