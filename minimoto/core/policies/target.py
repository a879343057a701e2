"""The default rule: as many nodes as finish the backlog within the target time, or by the earliest deadline.

The backlog is measured in seconds of work: waiting and delayed tasks count whole, tasks in flight half (they are half
done on average). A task takes what tasks took lately, or what is known of the live jobs' steps beforehand if that is
more: a film behind a hundred quick tasks is not taken for one of them. A node that works offers its slots for the
whole horizon, a booting one for what is left after its boot, a new one for the horizon less a boot; draining and dead
ones offer nothing. Scale-out is one step; scale-in takes only nodes that have been idle for the cooldown, and only
those that would not be started for the same backlog:
what is drained now is not launched again by the next look at the same view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from minimoto.core.fleet import Wish
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import Node, View
from minimoto.core.policies.dead import two_strikes

IN_FLIGHT_LEFT = 0.5
"""Share of a task in flight that is still to be done, on average."""

ROUNDING = 1e-9
"""Seconds of work that make no difference, against an extra node for the last bit of a float."""


@dataclass(frozen=True)
class Demand:
    """What is to be done, and by when.

    Parameters:
        tasks: waiting, delayed and in flight.
        work: seconds of one slot.
        horizon: seconds within which it shall be done; long enough for a new node to boot and do one task.
        boot, each: seconds of a boot and of a task.
        slots: workers on a node.
        why: what sets the horizon, for a person.
    """

    tasks: int
    work: float
    horizon: float
    boot: float
    each: float
    slots: int
    why: str

    def offered(self, node: Node, now: float) -> float:
        """Seconds of work that a node can do within the horizon."""
        left = max(0.0, self.boot - (now - node.launched)) if node.booting else 0.0
        return (node.slots or self.slots) * max(0.0, self.horizon - left)

    @property
    def offered_by_new(self) -> float:
        """The same, of a node that is launched now."""
        return self.slots * (self.horizon - self.boot)

    @property
    def most(self) -> int:
        """Nodes beyond which some would find no task."""
        return ceil(self.tasks / self.slots)


@dataclass(frozen=True)
class Target:
    """See the module."""

    limits: Limits

    def dead(self, view: View) -> Mapping[str, str]:
        return two_strikes(view)

    def wish(self, view: View, dead: Mapping[str, str], now: float) -> Wish:
        missing = self.limits.min_nodes - len(view.counted)
        demand = measure(view, self.limits, now)
        if demand is None:
            reason = "the queue's counts are missing: nothing is scaled on a guess"
            if missing > 0:
                return Wish("min", f"at least {_count(self.limits.min_nodes, 'node')}; {reason}", launch=missing)
            return Wish("hold", reason)
        more = needed(demand, view.counted, now)
        if max(more, missing) > 0:
            return _out(demand, view, self.limits, max(more, missing), missing > more)
        return self._in(demand, view, now)

    def _in(self, demand: Demand, view: View, now: float) -> Wish:
        ready = [node for node in view.counted if node.reported and not node.strikes]
        over = len(view.counted) - self.limits.max_nodes
        idle = sorted((n for n in ready if not n.busy and n.idle_since is not None), key=lambda n: n.idle_since or now)
        spare = idle[:over] if over > 0 else spared(demand, ready, idle, self.limits.min_nodes)
        if not spare:
            return Wish("steady", f"{_count(len(view.counted), 'node')}: enough for {_backlog(demand)}")
        too_many = f"{_count(len(spare), 'node')} too many for {_backlog(demand)}"
        if view.delayed is None or not view.reports_known:
            return Wish("hold", f"{too_many}, but not enough is known to scale in")
        rested = [node for node in spare if now - (node.idle_since or now) >= self.limits.cooldown]
        if over > 0:
            reason = f"idle, and there are {over} nodes more than max_nodes allows ({self.limits.max_nodes})"
            return Wish("drain", reason, drain=tuple(node.id for node in spare))
        if not rested or _lately(view.last_scale_out, now, self.limits.cooldown):
            idle_for = now - (spare[0].idle_since or now)
            return Wish("cooldown", f"{too_many}, the longest idle for {idle_for:.0f} of {self.limits.cooldown:.0f} s")
        return Wish("drain", f"idle, and {too_many}", drain=tuple(node.id for node in rested))


def measure(view: View, limits: Limits, now: float) -> Demand | None:
    """The demand, or ``None`` while the queue's counts are missing."""
    if view.visible is None or view.in_flight is None:
        return None
    each = _seconds_of_a_task(view, limits)
    boot = view.boot_seconds or limits.boot_seconds
    waiting = view.visible + (view.delayed or 0)
    horizon, why = _horizon(view, limits, each, now)
    return Demand(
        tasks=waiting + view.in_flight,
        work=(waiting + IN_FLIGHT_LEFT * view.in_flight) * each,
        horizon=max(horizon, boot + each),
        boot=boot,
        each=each,
        slots=max(1, view.slots_per_node),
        why=why,
    )


def _seconds_of_a_task(view: View, limits: Limits) -> float:
    seen = view.seconds_per_task or limits.task_seconds
    tasks = sum(job.tasks_left for job in view.jobs or ())
    return max(seen, sum(job.seconds_left for job in view.jobs or ()) / tasks) if tasks else seen


def needed(demand: Demand, nodes: tuple[Node, ...], now: float) -> int:
    """New nodes that the demand needs beside ``nodes``."""
    if not demand.tasks:
        return 0
    short = demand.work - sum(demand.offered(node, now) for node in nodes)
    more = ceil(short / demand.offered_by_new - ROUNDING) if short > 0 else 0
    return max(0, 1 - len(nodes), min(more, demand.most - len(nodes)))


def spared(demand: Demand, ready: Sequence[Node], idle: Sequence[Node], least: int) -> list[Node]:
    """The idle nodes that the others can do without: they would do even if they had to boot first.

    That is the hysteresis: what is let go here is not launched again by :func:`needed` for the same backlog.
    """
    left, spare = list(ready), []
    for node in idle:
        others = [other for other in left if other is not node]
        offer = sum(max(1, other.slots) for other in others) * (demand.horizon - demand.boot)
        enough = offer >= demand.work or len(others) >= demand.most
        if enough and len(others) >= max(least, 1 if demand.tasks else 0):
            left = others
            spare.append(node)
    return spare


def _horizon(view: View, limits: Limits, each: float, now: float) -> tuple[float, str]:
    """The target time less what the oldest message has waited, or the earliest deadline that can still be met."""
    horizon, why = limits.target_seconds, f"within {limits.target_seconds:.0f} s"
    if view.oldest and view.visible:
        horizon -= view.oldest
        why += f" ({view.oldest:.0f} s waited)"
    for job in view.jobs or ():
        if job.deadline is None or not job.tasks_left or job.deadline <= now:
            continue
        left = job.deadline - now - job.stages_after * each
        if left < horizon:
            horizon, why = left, f"before the deadline of {job.id} in {job.deadline - now:.0f} s"
    return horizon, why


def _out(demand: Demand, view: View, limits: Limits, more: int, for_minimum: bool) -> Wish:
    counted = view.counted
    if for_minimum:
        return Wish("min", f"at least {_count(limits.min_nodes, 'node')}, there are {len(counted)}", launch=more)
    booting = sum(node.booting for node in counted)
    reason = (
        f"{_backlog(demand)} take {demand.work:.0f} s of work: {demand.why} that needs "
        f"{_count(len(counted) + more, 'node')}; there are {len(counted)}, {booting} of them booting"
    )
    return Wish("launch", reason, launch=more)


def _backlog(demand: Demand) -> str:
    return f"{_count(demand.tasks, 'task')} of about {demand.each:.0f} s" if demand.tasks else "an empty queue"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _lately(at: float | None, now: float, seconds: float) -> bool:
    return at is not None and now - at < seconds
