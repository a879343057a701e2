"""Going back to spot: what it saves to put a spot node in the place of one on demand, and what becomes of those. Pure.

Nodes are had on demand where spot has none. One that always finds a task never goes idle, so it would stay, at two or
three times the price, for as long as there is work. Therefore a spot node is started beside it, on spot or not at all;
when that one is ready the other drains: it finishes what it holds and ends. Until then the spot node is a *standby*:
it counts as a machine, but not as capacity, so that a swap leaves the number of working nodes as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from math import exp, inf, log1p
from typing import Any

LOST_PAUSE, LONGEST_LOST_PAUSE = 600.0, 4 * 3600.0
"""Seconds for which no swap is begun after one that did not repay; twice as long after each further one."""

FORGIVEN_SECONDS = 3600.0
"""If none was lost for so long after that, all is forgotten."""

LASTING = 1800.0
"""Seconds for which a swap's node shall be there even if the swap has repaid before: each interruption delays work."""

BACK_TO_SPOT = "going back to spot"
"""How every reason for a swap begins."""


@dataclass(frozen=True)
class Swap:
    """A policy's wish to put spot nodes in the place of nodes on demand.

    Parameters:
        nodes: ids of those on demand, the one first whose place is worth most.
        reason: for a person, one line.
        repays: seconds from its launch after which a spot node has saved what the swap costs.
    """

    nodes: tuple[str, ...]
    reason: str
    repays: float = 0.0


@dataclass(frozen=True)
class Standby:
    """A spot node that was started to take a place.

    Parameters:
        node: id of the node on demand whose place that is.
        at: when it was launched, seconds since the epoch.
        repays: as of :class:`Swap`.
        reason: why, one line.
    """

    node: str
    at: float
    repays: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Terms:
    """What a swap costs and brings. Prices are US dollars an hour, times are seconds.

    Parameters:
        price: of the node on demand.
        spot: of the spot node, for the same work.
        rate: interruptions of a spot node an hour, as seen lately.
        boot: of the spot node, which is paid for without work.
        handover: for which both are paid although one would do: until that is seen, and the other has gone.
        lost: hours, in seconds, of a node on demand that an interruption costs: its boot, and half a task.
    """

    price: float
    spot: float
    rate: float
    boot: float
    handover: float
    lost: float

    @property
    def paid(self) -> float:
        """US dollars that are paid twice."""
        return (self.spot * self.boot + self.price * self.handover) / 3600

    @property
    def _gained(self) -> float:
        """US dollars that a spot node saves an hour, less what its interruptions cost."""
        return self.price - self.spot - self.rate * self.price * self.lost / 3600

    def saving(self, work: float) -> float:
        """US dollars that a swap saves on average if there is work for so many seconds; negative: it is not repaid.

        The spot node works from its boot on until the work ends, or until it is taken back. With exponential lives that
        are ``(1 - exp(-rate t)) / rate`` hours of ``t``, on each of which the difference of the prices is saved, and
        with the chance ``1 - exp(-rate t)`` another node has to boot.
        """
        hours = max(0.0, work - self.boot) / 3600
        lived = (1 - exp(-self.rate * hours)) / self.rate if self.rate * hours > 1e-9 else hours
        return self._gained * lived - self.paid

    @property
    def repays(self) -> float:
        """Seconds from its launch after which a spot node has saved what the swap costs; infinite: it never will."""
        if self._gained <= 0:
            return inf
        lived = self.paid / self._gained
        if self.rate * lived >= 1:
            return inf
        return self.boot + 3600 * (-log1p(-self.rate * lived) / self.rate if self.rate * lived > 1e-9 else lived)


@dataclass(frozen=True)
class Swaps:
    """The spot nodes that took, or are to take, the place of others, and how that went lately.

    Parameters:
        standbys: by the id of the spot node, until the swap has proved good.
        lost: swaps whose nodes were lost before, less those that have proved good since.
        last_lost: when that was last seen, seconds since the epoch.
    """

    standbys: Mapping[str, Standby] = field(default_factory=dict)
    lost: int = 0
    last_lost: float | None = None

    @property
    def waits_until(self) -> float:
        """Before when no swap is begun: a pause after one that was lost, twice as long after each further one."""
        if not self.lost or self.last_lost is None:
            return 0.0
        return self.last_lost + min(LONGEST_LOST_PAUSE, LOST_PAUSE * 2.0 ** min(self.lost - 1, 30))

    def begun(self, ids: Sequence[str], nodes: Sequence[str], now: float, repays: float, reason: str) -> Swaps:
        """With spot nodes that were launched to take the places of ``nodes``; those too few for all take the first."""
        new = {id: Standby(node, now, repays, reason) for id, node in zip(ids, nodes, strict=False)}
        return replace(self, standbys={**self.standbys, **new}) if new else self

    def followed(self, present: Set[str], drained: Set[str], now: float) -> Swaps:
        """After a further look.

        A node that has gone before its swap had repaid is a lost swap; one that was not drained, but was taken back or
        died, is so before it was :data:`LASTING` there. Those of one launch are one.

        Parameters:
            present: ids of the nodes that are there and are not being taken back.
            drained: ids of those that were asked to drain, the ones that have gone since the last look as well.
        """
        forgiven = self.lost and now >= self.waits_until + FORGIVEN_SECONDS
        lost, last, left = 0 if forgiven else self.lost, self.last_lost, dict(self.standbys)
        for id, standby in self.standbys.items():
            enough = standby.repays if id in drained else max(LASTING, standby.repays)
            good, there = now - standby.at >= enough, id in present
            if there and not (good and standby.node not in present):
                continue
            del left[id]
            if good:
                lost = max(0, lost - 1)
            elif last is None or standby.at > last:
                lost, last = lost + 1, now
        return Swaps(left, lost, last)


def swaps_of(document: Mapping[str, Any]) -> Swaps:
    """Reads what :func:`dataclasses.asdict` made of them."""
    standbys = {id: Standby(**standby) for id, standby in document.get("standbys", {}).items()}
    return Swaps(**{**document, "standbys": standbys})
