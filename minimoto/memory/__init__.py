"""Every port in memory, for tests and for trying things out: safe for many threads, no process outlives it.

Held to the same contract as the real ones by ``tests/contract``.
"""

from __future__ import annotations

from minimoto.memory.clock import FakeClock
from minimoto.memory.cloud import MemoryCloud, memory_cloud
from minimoto.memory.fleet import MemoryFleet, MemoryMetrics
from minimoto.memory.group import MemoryGroup
from minimoto.memory.jobs import MemoryJobs
from minimoto.memory.queue import MemoryQueue
from minimoto.memory.store import MemoryStore
from minimoto.memory.watch import MemoryLedger, MemoryNodes, MemoryTopic

__all__ = [
    "FakeClock",
    "MemoryCloud",
    "MemoryFleet",
    "MemoryGroup",
    "MemoryJobs",
    "MemoryLedger",
    "MemoryMetrics",
    "MemoryNodes",
    "MemoryQueue",
    "MemoryStore",
    "MemoryTopic",
    "memory_cloud",
]
