"""``--status``: the fleet in the words of the original assignment, and more of it as JSON.

The queue's length is what waits to be received: visible messages and delayed ones. A message in flight has left the
queue for a service, and shows as that service's utilisation. A state is ``running`` for a machine that runs or boots,
and ``stopped`` for one that is stopped or stops; machines on their way out are left out. Where an Auto Scaling group
sizes the fleet, a line ``group:`` follows; one ``fenced:`` for each machine that took itself out; one ``swap:`` for
each spot machine that is to take the place of one on demand, as long as both are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from minimoto.core.fleet import FAILED
from minimoto.core.fleet_recall import load
from minimoto.core.fleet_view import GONE
from minimoto.core.group import Group
from minimoto.core.node import NodeReport, NodeState
from minimoto.core.swaps import Standby
from minimoto.ports import Instance, QueueCounts
from minimoto.watchdog.act import MEMORY
from minimoto.watchdog.problems import Problems

if TYPE_CHECKING:
    from minimoto.wiring import Cloud


@dataclass(frozen=True)
class FleetStatus:
    """The service machines with their CPU (percent, ``None``: no datapoint), the queue's counts, and the group.

    Parameters:
        fenced: machines that took themselves out.
        swaps: spot machines by id, with the place on demand that each is to take, or has taken.
    """

    machines: tuple[tuple[Instance, float | None], ...]
    counts: QueueCounts | None
    group: Group | None = None
    fenced: tuple[str, ...] = ()
    swaps: Mapping[str, Standby] = field(default_factory=dict)

    @property
    def average(self) -> float | None:
        """Mean CPU of the machines that have a datapoint, percent; ``None`` when none has."""
        seen = [cpu for _, cpu in self.machines if cpu is not None]
        return fmean(seen) if seen else None

    @property
    def length(self) -> int | None:
        """Messages that wait."""
        return None if self.counts is None else self.counts.visible + self.counts.delayed


def fleet_status(cloud: Cloud, problems: Problems) -> FleetStatus:
    """Looks at machines, CPU and queue; what AWS refuses is noted and unknown."""
    none: list[Instance] = []
    machines = [m for m in problems.attempt(cloud.fleet.instances, none) if m.state not in GONE]
    ids = [machine.id for machine in machines]
    unknown: dict[str, float | None] = {}
    now = cloud.clock.now()
    cpu = problems.attempt(lambda: cloud.metrics.cpu(ids, now), unknown) if ids else unknown
    counts = problems.attempt(cloud.queue.counts, None)
    group = problems.attempt(cloud.group.look, None) if cloud.config.grouped else None
    unheard: list[NodeReport] = []
    reports = problems.attempt(lambda: list(cloud.nodes.reports()), unheard)
    out = {report.node for report in reports if report.state is NodeState.FENCED}
    fenced = tuple(id for id in ids if id in out)
    swaps = {new: swap for new, swap in _standbys(cloud, problems).items() if new in ids and swap.node in ids}
    return FleetStatus(tuple((machine, cpu.get(machine.id)) for machine in machines), counts, group, fenced, swaps)


def _standbys(cloud: Cloud, problems: Problems) -> Mapping[str, Standby]:
    try:
        return load(problems.attempt(lambda: cloud.ledger.recall(MEMORY), "")).swaps.standbys
    except ValueError as error:
        problems.note(str(error))
        return {}


def status_lines(status: FleetStatus) -> list[str]:
    """The output of ``--status``, line by line."""
    lines = [f"instance: {m.id} {_state(m)} {percent(cpu)}" for m, cpu in status.machines]
    length = "-" if status.length is None else str(status.length)
    lines += [f"average utilisation: {percent(status.average)}", f"queue length: {length}"]
    if status.group:
        lines += [f"group: {status.group.text}", *(f"group could not: {line}" for line in status.group.troubles)]
    lines += [f"fenced: {id} {FAILED}" for id in status.fenced]
    lines += [f"swap: {new} for {swap.node}: {swap.reason}" for new, swap in status.swaps.items()]
    return lines


def percent(cpu: float | None) -> str:
    """``50%``; ``-`` without a datapoint."""
    return "-" if cpu is None else f"{cpu:.0f}%"


def status_document(status: FleetStatus) -> dict[str, Any]:
    """The same for a program; percent and seconds since the epoch."""
    counts = status.counts
    return {
        "instances": [
            {
                "id": machine.id,
                "state": machine.state,
                "utilisation": cpu,
                "healthy": machine.healthy,
                "launched": machine.launched,
                "type": machine.type,
                "market": machine.market,
                "zone": machine.zone,
                "fenced": machine.id in status.fenced,
            }
            for machine, cpu in status.machines
        ],
        "average_utilisation": status.average,
        "queue_length": status.length,
        "visible": counts.visible if counts else None,
        "in_flight": counts.in_flight if counts else None,
        "delayed": counts.delayed if counts else None,
        "oldest": counts.oldest if counts else None,
        "swaps": {new: {"for": swap.node, "reason": swap.reason} for new, swap in status.swaps.items()},
        **({"group": asdict(status.group)} if status.group else {}),
    }


def _state(machine: Instance) -> str:
    return "running" if machine.state in ("pending", "running") else "stopped"
