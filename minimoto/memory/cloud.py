"""All ports of one deployment in memory, as ``minimoto.wiring.Cloud`` has them on AWS."""

from __future__ import annotations

from dataclasses import dataclass

from minimoto.config import Config
from minimoto.memory.clock import FakeClock
from minimoto.memory.fleet import MemoryFleet, MemoryMetrics
from minimoto.memory.group import MemoryGroup
from minimoto.memory.jobs import MemoryJobs
from minimoto.memory.queue import MemoryQueue
from minimoto.memory.store import MemoryStore
from minimoto.memory.watch import MemoryLedger, MemoryNodes, MemoryTopic
from minimoto.ports import Clock

SETTINGS = Config(name="memory", bucket_input="memory-in", bucket_output="memory-out")


@dataclass(frozen=True)
class MemoryCloud:
    """The ports of one deployment in memory."""

    config: Config
    clock: Clock
    queue: MemoryQueue
    store: MemoryStore
    jobs: MemoryJobs
    nodes: MemoryNodes
    ledger: MemoryLedger
    fleet: MemoryFleet
    group: MemoryGroup
    metrics: MemoryMetrics
    topic: MemoryTopic


def memory_cloud(config: Config = SETTINGS, clock: Clock | None = None) -> MemoryCloud:
    """Empty ports that share a clock (one that stands still, unless another is given)."""
    clock = clock or FakeClock(now=1_800_000_000.0)
    fleet = MemoryFleet(config, clock)
    return MemoryCloud(
        config=config,
        clock=clock,
        queue=MemoryQueue(config, clock),
        store=MemoryStore(config, clock),
        jobs=MemoryJobs(),
        nodes=MemoryNodes(),
        ledger=MemoryLedger(),
        fleet=fleet,
        group=MemoryGroup(config, fleet),
        metrics=MemoryMetrics(),
        topic=MemoryTopic(),
    )
