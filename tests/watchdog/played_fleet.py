"""A fleet in memory with a clock that only moves when it is told to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minimoto.core.node import NodeReport, NodeState
from minimoto.memory import FakeClock, MemoryCloud, memory_cloud
from minimoto.memory.cloud import SETTINGS
from minimoto.watchdog.patrol import Pass, Resize, Watchdog

FAST = replace(SETTINGS, min_nodes=1, max_nodes=4, boot_seconds=60.0, cooldown=120.0, strike_seconds=60.0)


class Fleet:
    """A deployment in memory, its nodes played by the test."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.cloud: MemoryCloud = memory_cloud(replace(FAST, **settings), self.clock)
        self.price: float | None = None

    @property
    def now(self) -> float:
        return self.clock.now()

    @property
    def ids(self) -> list[str]:
        """Service machines that are there."""
        return [machine.id for machine in self.cloud.fleet.instances()]

    def node(self, state: NodeState | None = NodeState.READY, age: float = 5000.0, **report: Any) -> str:
        """A machine that runs, and says so unless ``state`` is ``None``."""
        id = self.cloud.fleet.add(launched=self.now - age).id
        if state is not None:
            self.beat(id, state, **report)
        return id

    def beat(self, id: str, state: NodeState = NodeState.READY, **report: Any) -> None:
        self.cloud.nodes.beat(NodeReport(id, report.pop("slot", 0), state, self.now, **report))

    def run(self, after: float = 0.0, resize: Resize | None = None) -> Pass:
        """One pass, some seconds later."""
        self.clock.advance(after)
        done = Watchdog(self.cloud, self.price).run_pass(resize)  # type: ignore[arg-type]
        assert done is not None
        return done
