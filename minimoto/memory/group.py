"""An Auto Scaling group in memory: it has what it wants at once, and ends a machine when that is released."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace

from minimoto.config import Config
from minimoto.core.group import Group, Member
from minimoto.errors import CloudError, NotFound
from minimoto.memory.fleet import MemoryFleet

WAITING = "Terminating:Wait"


class MemoryGroup:
    """``minimoto.ports.ScalingGroup`` over a :class:`MemoryFleet`; there is none before :meth:`make`.

    Parameters:
        extended: machines that asked for more time, as often as they did.
    """

    def __init__(self, config: Config, fleet: MemoryFleet) -> None:
        self._config, self._fleet = config, fleet
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._group: Group | None = None
        self.extended: list[str] = []

    def make(self, least: int, most: int, desired: int | None = None) -> None:
        """As setup makes it."""
        with self._lock:
            self._group = Group(least, most, least)
            self.want(least if desired is None else desired)

    def adopt(self, node: str) -> None:
        """Takes in a machine that is there, as one more that is wanted."""
        with self._lock:
            group = self._known()
            self._fleet.change(node, grouped=True)
            self._group = replace(group, desired=group.desired + 1, members=(*group.members, Member(node)))

    def want(self, desired: int) -> None:
        """As an alarm's policy has it: within the bounds; protected machines stay until they are unprotected."""
        with self._lock:
            group = self._known()
            self._group = replace(group, desired=max(group.least, min(group.most, desired)))
            self._level()

    def fail(self, *troubles: str) -> None:
        """What it could not do lately."""
        self._group = replace(self._known(), troubles=troubles)

    def look(self) -> Group:
        with self._lock:
            return self._known()

    def bound(self, least: int, most: int) -> None:
        with self._lock:
            self._group = replace(self._known(), least=least, most=most)
            self.want(self._group.desired)

    def replace(self, node: str) -> None:
        with self._lock:
            if node in self._known().ids:
                self._end(node)
                self._level()

    def detach(self, node: str, smaller: bool) -> None:
        with self._lock:
            group = self._known()
            if self._member(node).state != "InService":
                raise CloudError(f"{node} is not in service", code="ValidationError")
            if smaller and group.desired <= group.least:
                raise CloudError(f"the group wants {group.least} machines at least", code="ValidationError")
            self._fleet.change(node, grouped=False)
            members = tuple(member for member in group.members if member.id != node)
            self._group = replace(group, desired=group.desired - smaller, members=members)
            self._level()

    def protect(self, node: str, busy: bool) -> None:
        with self._lock:
            self._change(node, protected=busy)
            self._level()

    def extend(self, node: str) -> None:
        with self._lock:
            if self._member(node).state != WAITING:
                raise CloudError(f"{node}: there is nothing to wait for", code="ValidationError")
            self.extended.append(node)

    def release(self, node: str) -> None:
        with self._lock:
            if any(member.id == node and member.state == WAITING for member in self._known().members):
                self._end(node)

    def _known(self) -> Group:
        if self._group is None:
            raise NotFound(f"there is no Auto Scaling group of {self._config.name}")
        return self._group

    def _member(self, node: str) -> Member:
        for member in self._known().members:
            if member.id == node:
                return member
        raise CloudError(f"{node} is no machine of the group", code="ValidationError")

    def _change(self, node: str, **fields: object) -> None:
        changed = replace(self._member(node), **fields)  # type: ignore[arg-type]
        group = self._known()
        self._group = replace(group, members=tuple(changed if m.id == node else m for m in group.members))

    def _level(self) -> None:
        group = self._known()
        for _ in range(group.desired - group.staying):
            (machine,) = self._fleet.launch(1, f"group-{next(self._numbers)}").ids
            self._fleet.change(machine, grouped=True)
            self._group = replace(self._known(), members=(*self._known().members, Member(machine)))
        spare = [member for member in group.members if member.stays and not member.protected]
        for member in spare[: max(0, group.staying - group.desired)]:
            self._change(member.id, state=WAITING)

    def _end(self, node: str) -> None:
        group = self._known()
        self._group = replace(group, members=tuple(member for member in group.members if member.id != node))
        self._fleet.terminate([node])
