"""Machines and their metrics in memory."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from minimoto.config import Config
from minimoto.core.markets import Pool, pools_of
from minimoto.errors import CloudError
from minimoto.ports import Clock, Instance, Launched

LOOK_BACK = 600.0


class MemoryFleet:
    """``minimoto.ports.Fleet`` in memory: a machine runs from the first look after its launch.

    Parameters:
        capacity: machines that there may be at once; ``None``: any number.

    ``sold_out`` holds the markets and types that cannot be had.
    """

    def __init__(self, config: Config, clock: Clock, capacity: int | None = None) -> None:
        self._config, self._clock = config, clock
        self.capacity = capacity
        self.sold_out: set[tuple[str, str]] = set()
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._machines: dict[str, Instance] = {}

    def instances(self, role: str = "service") -> list[Instance]:
        with self._lock:
            for machine in list(self._machines.values()):
                if machine.state == "pending":
                    self.change(machine.id, state="running", healthy=True)
            return sorted(self._present(role), key=lambda machine: (machine.launched, machine.id))

    def pools(self, now: float) -> list[Pool]:
        config = self._config
        return pools_of(config.market, (config.service_type, *config.more_types))

    def launch(self, count: int, token: str, pools: Sequence[Pool] = ()) -> Launched:
        with self._lock:
            before = {id: _pool(machine) for id, machine in self._machines.items() if machine.launch_token == token}
            there = {id: pool for id, pool in before.items() if self._machines[id].state != "terminated"}
            refused: dict[Pool, str] = {}
            for pool in pools or self.pools(0.0):
                wanted = count - len(before)
                if wanted > 0 and not (new := self._have(pool, wanted, token)):
                    refused[pool] = "InsufficientInstanceCapacity"
                elif wanted > 0:
                    before.update(new)
                    there.update(new)
            return Launched(there, refused)

    def _have(self, pool: Pool, wanted: int, token: str) -> dict[str, Pool]:
        """What can be had of a pool."""
        free = wanted if self.capacity is None else self.capacity - len(self._present("service"))
        count = 0 if (pool.market, pool.type) in self.sold_out else max(0, min(wanted, free))
        return {self._start(pool, token).id: pool for _ in range(count)}

    def terminate(self, ids: Sequence[str]) -> None:
        with self._lock:
            for id in ids:
                if id not in self._machines or self._machines[id].role != "service":
                    raise CloudError(f"{id} is not a service machine of the deployment {self._config.name}")
            for id in ids:
                self.change(id, state="terminated", healthy=None)

    def add(self, role: str = "service", **fields: Any) -> Instance:
        """Puts a machine there, such as the client's."""
        with self._lock:
            id = fields.pop("id", f"i-{next(self._numbers):017x}")
            given = {"state": "running", "launched": self._clock.now(), "healthy": True, **fields}
            self._machines[id] = Instance(id=id, role=role, **given)
            return self._machines[id]

    def change(self, id: str, **fields: Any) -> Instance:
        """Changes what is seen of a machine, such as ``state="stopped"`` or ``healthy=False``."""
        with self._lock:
            self._machines[id] = replace(self._machines[id], **fields)
            return self._machines[id]

    def _present(self, role: str) -> list[Instance]:
        return [m for m in self._machines.values() if m.role == role and m.state != "terminated"]

    def _start(self, pool: Pool, token: str) -> Instance:
        given = {"type": pool.type, "market": pool.market, "zone": pool.zone}
        return self.add(state="pending", healthy=None, launch_token=token, **given)


def _pool(machine: Instance) -> Pool:
    return Pool(machine.market, machine.type, machine.zone)


class MemoryMetrics:
    """``minimoto.ports.Metrics`` in memory; ``published`` holds names (``NAME/GROUP``), values and times."""

    def __init__(self) -> None:
        self.published: list[tuple[str, float, float]] = []
        self._cpu: dict[str, list[tuple[float, float]]] = {}

    def cpu(self, ids: Sequence[str], now: float) -> dict[str, float | None]:
        return {id: self._newest(id, now) for id in ids}

    def publish(self, name: str, value: float, now: float, group: str = "") -> None:
        self.published.append((f"{name}/{group}" if group else name, value, now))

    def set_cpu(self, id: str, percent: float, at: float) -> None:
        """Adds a datapoint of a machine."""
        self._cpu.setdefault(id, []).append((at, percent))

    def _newest(self, id: str, now: float) -> float | None:
        seen = [point for point in self._cpu.get(id, []) if now - LOOK_BACK <= point[0] <= now]
        return max(seen)[1] if seen else None
