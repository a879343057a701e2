"""The default rule: as many nodes as finish every job within the target time, or by its deadline, and no more.

What is to be done is a list of parcels, one for each live job: seconds of work, and by when (``demand.py``). The nodes
are enough if, for each parcel, they can do it and all that is served before it in time. With one owner that is what is
due before it (earliest due first, which is optimal on like nodes; Horn 1974). Of several owners the queue holds back
those who have much in flight: see :meth:`~minimoto.core.policies.demand.Demand.due`. A node that works offers its slots
for the whole time, a booting one for what is left after its boot, a new one for the whole tasks that fit in after a
boot; draining and dead ones offer nothing. Time is used to save money: a boot is paid for like work, so few nodes for
long cost less than many for a moment.

Nodes may be kept beside those that the work needs, so many or a share of them (as GitLab's ``IdleCount`` and
``IdleScaleFactor``): what comes next then waits for no boot.

Nodes on demand that always find a task would stay for as long as there is work; where spot has nodes again, spot ones
take their places (``back_to_spot.py``).

Scale-out is one step; scale-in takes only nodes that have been idle for the cooldown, and only those that would not be
started for the same backlog: what is drained now is not launched again by the next look at the same view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf

from minimoto.core.fleet import Wish
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import Node, View
from minimoto.core.markets import SPOT
from minimoto.core.policies.back_to_spot import back_to_spot, tight
from minimoto.core.policies.dead import two_strikes
from minimoto.core.policies.demand import ROUNDING, Demand, Parcel, measure
from minimoto.core.readable import counted

SPREAD = 0.5
"""Of a task's time, by which tasks may be longer than expected: what waits to the last moment waits no longer."""

FINE = 10.0
"""Seconds of a task below which they are told with a decimal."""

BOOT_SPREAD = 0.3
"""The same of a boot's."""


@dataclass(frozen=True)
class Target:
    """See the module."""

    limits: Limits

    def dead(self, view: View) -> Mapping[str, str]:
        return two_strikes(view)

    def wish(self, view: View, dead: Mapping[str, str], now: float) -> Wish:
        nodes = view.counted
        missing = self.limits.always - len(nodes)
        demand = measure(view, self.limits, now)
        if demand is None:
            reason = "neither jobs nor the queue's counts are known: nothing is scaled on a guess"
            if missing > 0:
                return Wish("min", f"at least {counted(len(nodes) + missing, 'node')}; {reason}", launch=missing)
            return Wish("hold", reason)
        wish = self._sized(demand, view, now)
        return replace(wish, swap=back_to_spot(demand, view, self.limits, now)) if wish.rule == "steady" else wish

    def _sized(self, demand: Demand, view: View, now: float) -> Wish:
        """The size that the demand asks for."""
        nodes = view.counted
        missing = self.limits.always - len(nodes)
        more, parcel = needed(demand, nodes, now)
        if self.limits.thrifty and not nodes:
            more, latest = can_wait(demand, self.limits.pass_seconds)
            if not more and demand.tasks and missing <= 0:
                return Wish("wait", f"{_backlog(demand)}: thrifty, so nothing is started for {latest:.0f} s yet")
        least = self._least(demand)
        if max(more, least - len(nodes)) <= 0:
            return self._in(demand, view, least, now)
        if more >= least - len(nodes):
            return _out(demand, view, more, parcel)
        if least == self.limits.min_nodes:
            return Wish("min", f"at least {counted(least, 'node')}, there are {len(nodes)}", launch=least - len(nodes))
        reason = f"{_backlog(demand)}: {counted(least, 'node')} with the spare ones, there are {len(nodes)}"
        return Wish("spare", reason, launch=least - len(nodes))

    def _least(self, demand: Demand) -> int:
        """Nodes below which nothing is scaled in: the least, or what the work needs and the spare ones beside it.

        Spare ones that ``max_nodes`` does not allow are not asked for: nobody's work waits for them.
        """
        work = enough(demand)
        spare = max(self.limits.spare_nodes, ceil(self.limits.spare_share * work - ROUNDING))
        return max(self.limits.min_nodes, min(work + spare, self.limits.max_nodes) if spare else 0)

    def _in(self, demand: Demand, view: View, least: int, now: float) -> Wish:
        ready = [node for node in view.counted if node.reported and not node.strikes]
        over = len(view.counted) - self.limits.max_nodes
        idle = sorted((n for n in ready if not n.busy and n.idle_since is not None), key=lambda n: _dear(n, now))
        spare = idle[:over] if over > 0 else spared(demand, ready, idle, least)
        if not spare:
            return Wish("steady", f"{counted(len(view.counted), 'node')}: enough for {_backlog(demand)}")
        too_many = f"{counted(len(spare), 'node')} too many for {_backlog(demand)}"
        if None in (view.visible, view.in_flight, view.delayed) or not view.reports_known:
            return Wish("hold", f"{too_many}, but not enough is known to scale in")
        # Nothing is left to do, and the next job waits for a boot anyway, with whoever comes meanwhile.
        cooldown = 0.0 if self.limits.thrifty and not demand.tasks else self.limits.cooldown
        rested = [node for node in spare if now - (node.idle_since or now) >= cooldown]
        if over > 0:
            reason = f"idle, and there are {over} nodes more than max_nodes allows ({self.limits.max_nodes})"
            return Wish("drain", reason, drain=tuple(node.id for node in spare))
        if not rested or _lately(view.last_scale_out, now, cooldown):
            idle_for = now - (spare[0].idle_since or now)
            return Wish("cooldown", f"{too_many}, the longest idle for {idle_for:.0f} of {cooldown:.0f} s")
        return Wish("drain", f"idle, and {too_many}", drain=tuple(node.id for node in rested))


def needed(demand: Demand, nodes: Sequence[Node], now: float) -> tuple[int, Parcel | None]:
    """New nodes that the demand needs beside ``nodes``, and the parcel that needs most of them."""
    more, why = 0, None
    offers = demand.offers(nodes, now).items()
    for parcel, work in demand.due():
        short = work - sum(slots * max(0.0, parcel.horizon - left) for left, slots in offers)
        wanted = ceil(short / demand.offered_by_new(parcel) - ROUNDING) if short > 0 else 0
        if wanted > more:
            more, why = wanted, parcel
    if not demand.tasks:
        return 0, None
    return max(0, 1 - len(nodes), min(more, demand.most - len(nodes))), why or demand.parcels[0]


def enough(demand: Demand) -> int:
    """The nodes that would do even if they had to boot first: what :func:`spared` leaves, were all of them alike."""
    most = max((work / (parcel.horizon - demand.boot) for parcel, work in demand.due()), default=0.0)
    return max(1 if demand.tasks else 0, min(ceil(most / demand.slots - ROUNDING), demand.most))


def can_wait(demand: Demand, until_next: float) -> tuple[int, float]:
    """Nodes that have to be started now, none being there, and, if none has to be, for how long that can wait.

    Parameters:
        until_next: seconds until the next look, twice which is left to spare.
    """
    left, most = inf, 0
    for parcel, work in demand.due():
        alone = parcel.horizon - demand.boot * (1 + BOOT_SPREAD) - work / demand.slots - parcel.each * SPREAD
        left = min(left, alone)
        most = max(most, ceil(work / demand.offered_by_new(parcel) - ROUNDING))
    return (min(most, demand.most), 0.0) if left < 2 * until_next else (0, left - 2 * until_next)


def spared(demand: Demand, ready: Sequence[Node], idle: Sequence[Node], least: int) -> list[Node]:
    """The idle nodes that the others can do without: they would do even if they had to boot first.

    That is the hysteresis: what is let go here is not launched again by :func:`needed` for the same backlog.
    """
    left, spare = list(ready), []
    for node in idle:
        others = [other for other in left if other is not node]
        slots = sum(max(1, other.slots) for other in others)
        enough = all(slots * (parcel.horizon - demand.boot) >= work * (1 - ROUNDING) for parcel, work in demand.due())
        if (enough or len(others) >= demand.most) and len(others) >= max(least, 1 if demand.tasks else 0):
            left = others
            spare.append(node)
    return spare


def _dear(node: Node, now: float) -> tuple[bool, float]:
    """Which idle nodes go first: the dear ones, those on demand; of like ones those that have been idle for longest."""
    return node.market == SPOT, node.idle_since or now


def _out(demand: Demand, view: View, more: int, parcel: Parcel | None) -> Wish:
    nodes = view.counted
    assert parcel is not None, "nodes are needed for a parcel"
    booting = sum(node.booting for node in nodes)
    reason = (
        f"{_backlog(demand)} take {demand.work:.0f} s of work: {parcel.why} that needs "
        f"{counted(len(nodes) + more, 'node')}; there are {len(nodes)}, {booting} of them booting"
    )
    urgent = tight(parcel, demand)
    if urgent:
        reason += "; on demand first: were a spot node taken back, there would be no time to boot another"
    return Wish("launch", reason, launch=more, urgent=urgent)


def _backlog(demand: Demand) -> str:
    if not demand.tasks:
        return "an empty queue"
    each = f"{demand.each:.0f}" if demand.each >= FINE else f"{demand.each:.2g}"
    return f"{counted(demand.tasks, 'task')} of about {each} s"


def _lately(at: float | None, now: float, seconds: float) -> bool:
    return at is not None and now - at < seconds
