"""What goes wrong with a fleet, on the embedded AWS: nothing lost, nothing doubled, and it is explained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from minimoto.config import Config
from minimoto.core import message
from minimoto.core.job import Entry, Job, JobState, Location, Stage
from minimoto.core.node import NodeReport, NodeState
from minimoto.core.task import TaskKey, TaskState
from minimoto.local import fleets
from minimoto.memory import FakeClock
from minimoto.watchdog import explain
from minimoto.watchdog.patrol import Pass, Watchdog
from minimoto.wiring import Cloud

KEY = TaskKey("trip-1", 0, 0)


class Trouble:
    """A deployment with one job of two tasks, and a clock that the test moves."""

    def __init__(self, config: Config, clock: FakeClock) -> None:
        self.cloud, self.clock = Cloud(config), clock
        vars(self.cloud)["clock"] = clock
        now = clock.now()
        stages = (Stage("fit", per="photo", tasks=2, started=now, enqueued=True), Stage("video"))
        self.cloud.jobs.create(
            Job(
                "trip-1",
                "trip",
                "ana",
                "fit | video",
                stages,
                Location(config.bucket_input, "trip-1/"),
                Location(config.bucket_output, "trip-1/"),
                now,
                now,
                now + 86_400,
                JobState.BEING_PROCESSED,
                photos=4,
                history=(Entry(now, "created"),),
            )
        )
        self.cloud.queue.send([message.encode(replace(KEY, task=task)) for task in (0, 1)])

    @property
    def nodes(self) -> list[str]:
        return [machine.id for machine in self.cloud.fleet.instances() if machine.state == "running"]

    def beat(self, id: str, state: NodeState = NodeState.READY, **report: Any) -> None:
        self.cloud.nodes.beat(NodeReport(id, 0, state, self.clock.now(), **report))

    def take(self, node: str) -> None:
        """A service on a node receives the first task, claims it, and is heard of no more by the queue."""
        received = next(m for m in self.cloud.queue.receive(10) if message.decode(m.body) == KEY)
        assert self.cloud.jobs.claim(KEY, f"{node}/0/x", self.clock.now(), 120.0).outcome == "OURS"
        self.cloud.queue.delete([received.receipt])

    def run(self, after: float = 0.0) -> Pass:
        self.clock.advance(after)
        seen = Watchdog(self.cloud).run_pass()
        assert seen is not None
        return seen

    def explained(self) -> str:
        """What ``--explain --since`` prints of everything so far."""
        return "\n".join(explain.history_lines(explain.history(self.cloud, 1e6)))


@pytest.fixture
def make_trouble(make_deployment: Callable[..., Config], clock: FakeClock) -> Iterator[Callable[..., Trouble]]:
    yield lambda **settings: Trouble(make_deployment(max_nodes=2, boot_seconds=60.0, **settings), clock)
    fleets.forget()


def ended_once(trouble: Trouble, node: str, why: str) -> None:
    """The node was ended, its task sent again once and kept from nobody, and all of it was written down."""
    assert node not in trouble.nodes
    task = trouble.cloud.jobs.task(KEY)
    assert (task.state, task.owner, task.attempt) == (TaskState.PENDING, "", 1)
    waiting = [message.decode(m.body) for m in trouble.cloud.queue.receive(10)]
    assert waiting.count(KEY) == 1
    assert f"terminated {node}: {why}" in trouble.explained()
    assert f"trip-1: 1 task sent again: {node} died at work" in trouble.explained()


def test_a_node_that_hangs_while_its_heart_beats(make_trouble: Callable[..., Trouble]) -> None:
    trouble = make_trouble(min_nodes=1, strike_seconds=400.0)
    trouble.run()
    (node,) = trouble.nodes
    trouble.take(node)
    began = trouble.clock.now()
    for _ in range(7):
        for id in trouble.nodes:
            if id == node:
                trouble.beat(id, NodeState.BUSY, progressed=began, task=str(KEY))
            else:
                trouble.beat(id)
        trouble.run(after=200.0)
    ended_once(trouble, node, "is busy without progress for")
    assert len(trouble.nodes) <= 2


def test_a_node_that_is_killed(make_trouble: Callable[..., Trouble]) -> None:
    trouble = make_trouble(min_nodes=1)
    trouble.run()
    (node,) = trouble.nodes
    trouble.take(node)
    trouble.beat(node, NodeState.BUSY, progressed=trouble.clock.now(), task=str(KEY))
    trouble.run(after=10)
    for _ in range(4):
        for id in trouble.nodes:
            if id != node:
                trouble.beat(id)
        trouble.run(after=61)
    ended_once(trouble, node, "has been silent for")


def test_capacity_refused_for_the_first_two_types(make_trouble: Callable[..., Trouble]) -> None:
    trouble = make_trouble(min_nodes=2, more_types=("g6.xlarge", "g4dn.xlarge"))
    for market in ("spot", "on-demand"):
        for type in ("g5.xlarge", "g6.xlarge"):
            fleets.refuse(market, type)
    told = trouble.run()
    had = trouble.cloud.fleet.instances()
    assert [(machine.type, machine.market) for machine in had] == [("g4dn.xlarge", "spot")] * 2
    assert told.done[0].startswith("launched 2 nodes (spot g4dn.xlarge in us-east-1")
    assert told.problems == ()
    fleets.refuse("spot", "g4dn.xlarge")
    fleets.refuse("on-demand", "g4dn.xlarge", "VcpuLimitExceeded")
    trouble.cloud.fleet.terminate([had[0].id])
    trouble.beat(had[1].id)
    trouble.run(after=301)
    trouble.beat(had[1].id)
    refused = trouble.run(after=1)
    assert refused.problems
    assert len(trouble.nodes) == 1
    assert "VcpuLimitExceeded" in trouble.explained()
    fleets.forget()
    for _ in range(3):
        trouble.beat(had[1].id)
        trouble.run(after=61)
    assert len(trouble.nodes) == 2
