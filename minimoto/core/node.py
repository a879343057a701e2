"""A node of the fleet, as it reports itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class NodeState(StrEnum):
    """``FENCED``: it failed task after task, took itself out and waits to be replaced."""

    READY = "READY"
    BUSY = "BUSY"
    DRAINING = "DRAINING"
    FENCED = "FENCED"


@dataclass(frozen=True)
class NodeReport:
    """The last heartbeat of one slot of a node.

    Parameters:
        node: the instance's id.
        slot: which worker, from 0.
        state: what it does.
        beat: when, seconds since the epoch.
        task: the task that is being worked on, as text, or empty.
        progressed: when that task last made progress.
        failures: tries failed one after another.
        seconds_per_task: a running mean of finished tasks, 0 before the first.
        version: minimoto's version on the node.
        note: why it takes no work although it could, such as a full disk; for a person, or empty.
        paces: seconds an input by step, a running mean of finished tasks.
    """

    node: str
    slot: int
    state: NodeState
    beat: float
    task: str = ""
    progressed: float = 0.0
    failures: int = 0
    seconds_per_task: float = 0.0
    version: str = ""
    note: str = ""
    paces: Mapping[str, float] = field(default_factory=dict)
