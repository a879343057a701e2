"""The default rule: as many nodes as finish every job within the target time, or by its deadline, and no more.

What is to be done is a list of parcels, one for each live job: seconds of work, and by when. A job shall be done
``target_seconds`` after it was submitted, or by its own deadline if it has one that can still be met, less a task's
time for each stage that follows, and less two looks of the watchdog: what happens is seen late, and acted on later.
Where the jobs cannot be read, the queue's counts are one parcel: waiting and delayed tasks whole, tasks in flight
half (they are half done on average), within the target time less what the oldest has waited. The counts say little
else: SQS gives them approximately and up to a minute late, the jobs are exact.

The nodes are enough if, for each parcel, they can do it and all that are due before it in time (earliest due first,
which is optimal on like nodes; Horn 1974). A node that works offers its slots for the whole time, a booting one for
what is left after its boot, a new one for the whole tasks that fit in after a boot; draining and dead ones offer
nothing. A task takes what its step was seen to take an input on the types of machine that there are; before that was
seen, what tasks took lately, or what is known of its step beforehand if that is more: a film behind a hundred quick
tasks is not taken for one of them. Time is used to save money: a boot is paid for like work, so
few nodes for long cost less than many for a moment.

Scale-out is one step; scale-in takes only nodes that have been idle for the cooldown, and only those that would not be
started for the same backlog: what is drained now is not launched again by the next look at the same view.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, inf

from minimoto.core.fleet import Wish
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import JobView, Node, View
from minimoto.core.markets import SPOT
from minimoto.core.policies.dead import two_strikes
from minimoto.core.spending import horizon as horizon_of

IN_FLIGHT_DONE = 0.5
"""Share of a task in flight that is done, on average."""

GHOSTS_SECONDS = 120.0
"""Messages that no live job knows of get a node that clears them, once they are older than counts are late."""

LOOKS = 2.0
"""Passes of the watchdog by which all shall be done earlier: one until it looks, one until what it does shows."""

SPREAD = 0.5
"""Of a task's time, by which tasks may be longer than expected: what waits to the last moment waits no longer."""

BOOT_SPREAD = 0.3
"""The same of a boot's."""

ROUNDING = 1e-9
"""Seconds of work that make no difference, against an extra node for the last bit of a float."""


@dataclass(frozen=True)
class Parcel:
    """Work that is due together with, or after, the parcels before it.

    Parameters:
        tasks: how many.
        each: seconds that one takes a slot.
        horizon: seconds until they are due; long enough for a new node to boot and do one of them.
        why: what sets the horizon, for a person.
        firm: that is a deadline somebody named.
        held: the job that its own budget gives no earlier horizon; empty: none.
    """

    tasks: int
    each: float
    horizon: float
    why: str
    firm: bool = False
    held: str = ""


@dataclass(frozen=True)
class Demand:
    """What is to be done, and by when.

    Parameters:
        parcels: the earliest due first.
        done: seconds of the parcels' work that tasks in flight have behind them.
        boot: seconds of a boot.
        slots: workers on a node.
    """

    parcels: tuple[Parcel, ...]
    done: float
    boot: float
    slots: int

    @property
    def tasks(self) -> int:
        """All of them."""
        return sum(parcel.tasks for parcel in self.parcels)

    @property
    def work(self) -> float:
        """Seconds of one slot."""
        return max(0.0, sum(parcel.tasks * parcel.each for parcel in self.parcels) - self.done)

    @property
    def each(self) -> float:
        """Seconds of a task, on average."""
        return sum(parcel.tasks * parcel.each for parcel in self.parcels) / self.tasks if self.tasks else 0.0

    @property
    def most(self) -> int:
        """Nodes beyond which some would find no task."""
        return ceil(self.tasks / self.slots)

    def due(self) -> Iterator[tuple[Parcel, float]]:
        """Each parcel, with the work that is due with it and before it."""
        work = -self.done
        for parcel in self.parcels:
            work += parcel.tasks * parcel.each
            yield parcel, work

    def offers(self, nodes: Sequence[Node], now: float) -> Counter[float]:
        """Slots of nodes by the seconds until they can work: 0, or what is left of a boot."""
        found: Counter[float] = Counter()
        for node in nodes:
            left = max(0.0, self.boot - (now - node.launched)) if node.booting else 0.0
            found[left] += node.slots or self.slots
        return found

    def offered_by_new(self, parcel: Parcel) -> float:
        """The same, of a node that is launched now: a task that would not be done in time is not begun by it."""
        return self.slots * parcel.each * max(1, floor((parcel.horizon - self.boot) / parcel.each + ROUNDING))


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
            reason = "neither jobs nor the queue's counts are known: nothing is scaled on a guess"
            if missing > 0:
                return Wish("min", f"at least {_count(self.limits.min_nodes, 'node')}; {reason}", launch=missing)
            return Wish("hold", reason)
        more, parcel = needed(demand, view.counted, now)
        if self.limits.thrifty and not view.counted:
            more, latest = can_wait(demand, self.limits.pass_seconds)
            if not more and demand.tasks and missing <= 0:
                return Wish("wait", f"{_backlog(demand)}: thrifty, so nothing is started for {latest:.0f} s yet")
        if max(more, missing) > 0:
            return _out(demand, view, self.limits, max(more, missing), None if missing > more else parcel)
        return self._in(demand, view, now)

    def _in(self, demand: Demand, view: View, now: float) -> Wish:
        ready = [node for node in view.counted if node.reported and not node.strikes]
        over = len(view.counted) - self.limits.max_nodes
        idle = sorted((n for n in ready if not n.busy and n.idle_since is not None), key=lambda n: _dear(n, now))
        spare = idle[:over] if over > 0 else spared(demand, ready, idle, self.limits.min_nodes)
        if not spare:
            return Wish("steady", f"{_count(len(view.counted), 'node')}: enough for {_backlog(demand)}")
        too_many = f"{_count(len(spare), 'node')} too many for {_backlog(demand)}"
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


def measure(view: View, limits: Limits, now: float) -> Demand | None:
    """The demand, or ``None`` while neither the jobs nor the queue's counts are known."""
    boot = view.boot_seconds or limits.boot_seconds
    seen = view.seconds_per_task or limits.task_seconds
    if view.jobs is None and (view.visible is None or view.in_flight is None):
        return None
    parcels = _of_queue(view, limits, seen) if view.jobs is None else _of_jobs(view, limits, seen, boot, now)
    # Before it has booted and done one task, a new node can help none of them.
    margin = LOOKS * limits.pass_seconds
    able = [
        replace(parcel, horizon=max(parcel.horizon - (0.0 if parcel.held else margin), boot + parcel.each))
        for parcel in parcels
        if parcel.tasks
    ]
    able.sort(key=lambda parcel: parcel.horizon)
    tasks = sum(parcel.tasks for parcel in able)
    busy = min(view.in_flight or 0 if view.jobs is None else _at_work(view), tasks)
    each = sum(parcel.tasks * parcel.each for parcel in able) / tasks if tasks else 0.0
    return Demand(tuple(able), IN_FLIGHT_DONE * busy * each, boot, max(1, view.slots_per_node))


def _of_queue(view: View, limits: Limits, each: float) -> list[Parcel]:
    horizon, why = limits.target_seconds, f"within {limits.target_seconds:.0f} s"
    if view.oldest and view.visible:
        horizon -= view.oldest
        why += f" ({view.oldest:.0f} s waited)"
    return [Parcel((view.visible or 0) + (view.delayed or 0) + (view.in_flight or 0), each, horizon, why)]


def _of_jobs(view: View, limits: Limits, seen: float, boot: float, now: float) -> list[Parcel]:
    parcels = [_of_job(view, job, limits, seen, boot, now) for job in view.jobs or ()]
    ghosts = view.visible and view.in_flight is not None and (view.oldest or 0.0) >= GHOSTS_SECONDS
    if ghosts and not any(parcel.tasks for parcel in parcels):
        parcels.append(Parcel(1, seen, limits.target_seconds, "messages wait that no live job knows of"))
    return parcels


def _of_job(view: View, job: JobView, limits: Limits, seen: float, boot: float, now: float) -> Parcel:
    each = _each(job, seen)
    waited = now - job.created if job.created is not None else view.oldest or 0.0
    horizon, why = limits.target_seconds - waited, f"{job.id} within {limits.target_seconds:.0f} s of its start"
    firm = job.deadline is not None and job.deadline > now
    if job.deadline is not None and firm:
        horizon, why = job.deadline - now, f"before the deadline of {job.id} in {job.deadline - now:.0f} s"
    affordable = _affordable_horizon(view, job, each, boot)
    held = affordable is not None and affordable > horizon
    if affordable is not None and held:
        horizon, firm = affordable, False
        why = f"{job.id} within {affordable:.0f} s, as its budget of ${job.budget:.2f} pays for no more nodes,"
    return Parcel(job.tasks_left, each, horizon - job.stages_after * each, why, firm, job.id if held else "")


def held_by_budget(view: View, limits: Limits, now: float) -> dict[str, str]:
    """The jobs that get fewer nodes than they would have in time, because of their budget: words for their owners."""
    boot, seen = view.boot_seconds or limits.boot_seconds, view.seconds_per_task or limits.task_seconds
    held = {_of_job(view, job, limits, seen, boot, now).held: job for job in view.jobs or ()}
    return {id: f"its budget of ${job.budget:.2f} pays for no more machines" for id, job in held.items() if id}


def _affordable_horizon(view: View, job: JobView, each: float, boot: float) -> float | None:
    """The least seconds within which a job's budget pays for its work and for boots; ``None`` where it has none."""
    if job.budget is None or not view.price_per_hour or not job.tasks_left:
        return None
    left = max(0.0, job.budget - job.spent)
    tasks = job.tasks_left + job.stages_after
    return horizon_of(left, view.price_per_hour, tasks, each, max(1, view.slots_per_node), boot)


def _each(job: JobView, seen: float) -> float:
    """Seconds of a task: as its step was seen to take; else as tasks took lately, or as is known beforehand if more."""
    if not job.tasks_left:
        return seen
    own = job.seconds_left / job.tasks_left
    return own if job.learnt and own > 0 else max(seen, own)


def _at_work(view: View) -> int:
    return sum(node.busy for node in view.counted)


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


def _out(demand: Demand, view: View, limits: Limits, more: int, parcel: Parcel | None) -> Wish:
    counted = view.counted
    if parcel is None:
        return Wish("min", f"at least {_count(limits.min_nodes, 'node')}, there are {len(counted)}", launch=more)
    booting = sum(node.booting for node in counted)
    reason = (
        f"{_backlog(demand)} take {demand.work:.0f} s of work: {parcel.why} that needs "
        f"{_count(len(counted) + more, 'node')}; there are {len(counted)}, {booting} of them booting"
    )
    urgent = parcel.firm and parcel.horizon < 2 * (demand.boot + parcel.each)
    if urgent:
        reason += "; on demand first: were a spot node taken back, there would be no time to boot another"
    return Wish("launch", reason, launch=more, urgent=urgent)


def _backlog(demand: Demand) -> str:
    return f"{_count(demand.tasks, 'task')} of about {demand.each:.0f} s" if demand.tasks else "an empty queue"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _lately(at: float | None, now: float, seconds: float) -> bool:
    return at is not None and now - at < seconds
