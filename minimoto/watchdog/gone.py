"""Machines that are gone: what they held is freed, what they said is forgotten."""

from __future__ import annotations

from collections.abc import Collection

from minimoto.core.fleet_memory import Memory
from minimoto.core.fleet_view import GONE
from minimoto.core.job import Job
from minimoto.core.task import Task, TaskState
from minimoto.watchdog.observe import Observation
from minimoto.watchdog.repair import Repairs


def clear_gone(
    repairs: Repairs, seen: Observation, before: Memory, memory: Memory, dead: Collection[str], silence: float
) -> None:
    """Frees the leases of dead and vanished nodes, and forgets the vanished ones.

    Parameters:
        before: the memory of the pass before.
        dead: nodes that this pass has ended. They may still speak for some seconds, so a later pass forgets them.
        silence: seconds without a heartbeat after which a machine that is not listed has vanished.
    """
    vanished = _vanished(repairs, seen, before, memory, silence)
    if not vanished and not dead:
        return
    freed = [_free(repairs, job, {*dead, *vanished}) for job, _ in repairs.running]
    for node in sorted(vanished):
        if all(freed) and seen.jobs is not None and _forgotten(repairs, node):
            repairs.done.append(f"{node}: the machine is gone, its heartbeats are forgotten")


def _forgotten(repairs: Repairs, node: str) -> bool:
    return repairs.problems.did(lambda: repairs.cloud.nodes.forget(node))


def _vanished(repairs: Repairs, seen: Observation, before: Memory, memory: Memory, silence: float) -> set[str]:
    """Nodes that are not listed, and have not been heard of for a while: one witness is not enough."""
    if seen.view.nodes is None or seen.reports is None:
        return set()
    there = {node.id for node in seen.view.nodes if node.state not in GONE} | set(memory.launched)
    beats: dict[str, float] = {}
    for report in seen.reports:
        beats[report.node] = max(report.beat, beats.get(report.node, 0.0))
    silent = {node for node, beat in beats.items() if repairs.now - beat >= silence}
    never_spoke = set(before.draining) - set(beats)
    return (silent | never_spoke) - there


def _free(repairs: Repairs, job: Job, nodes: set[str]) -> bool:
    """Ends the leases that these nodes' workers hold in a job and sends the tasks again; ``False`` if a call failed."""
    records = repairs.records(job)
    if records is None:
        return False
    broken: list[Task] = []
    node = ""
    for task in records.values():
        holder = task.owner.split("/", 1)[0]
        if task.state is TaskState.RUNNING and holder in nodes and _broke(repairs, task, holder):
            broken.append(task)
            node = holder
    return not broken or repairs.again(job, broken, f"{node} died at work")


def _broke(repairs: Repairs, task: Task, node: str) -> bool:
    reason = f"{node} died while it worked on this task"
    call = repairs.cloud.jobs.break_lease
    return repairs.problems.attempt(lambda: call(task.key, task.owner, repairs.now, reason), False)
