"""What is to be done, and by when: the parcels of work that the default rule gives nodes for.

A parcel is the work of a live job. A job shall be done ``target_seconds`` after it was submitted, or by its own
deadline if it has one that can still be met, less a task's time for each stage that follows, and less two looks of the
watchdog: what happens is seen late, and acted on later. Where the jobs cannot be read, the queue's counts are one
parcel: waiting and delayed tasks whole, tasks in flight half (they are half done on average), within the target time
less what the oldest has waited. The counts say little else: SQS gives them approximately and up to a minute late, the
jobs are exact.

A task takes what its step was seen to take an input on the types of machine that there are; before that was seen, what
tasks took lately, or what is known of its step beforehand if that is more: a film behind a hundred quick tasks is not
taken for one of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, floor

from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import JobView, Node, View
from minimoto.core.spending import horizon as horizon_of

IN_FLIGHT_DONE = 0.5
"""Share of a task in flight that is done, on average."""

GHOSTS_SECONDS = 120.0
"""Messages that no live job knows of get a node that clears them, once they are older than counts are late."""

LOOKS = 2.0
"""Passes of the watchdog by which all shall be done earlier: one until it looks, one until what it does shows."""

NOISY = 0.1
"""Share of what is in flight up to which SQS's fair queues serve an owner as if there were no others."""

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
        owner: whose they are.
    """

    tasks: int
    each: float
    horizon: float
    why: str
    firm: bool = False
    held: str = ""
    owner: str = ""

    @property
    def work(self) -> float:
        """Seconds of one slot."""
        return self.tasks * self.each


class _Shared:
    """Work of several owners, served to each alike."""

    def __init__(self, totals: list[float]) -> None:
        self._totals = sorted(totals)
        self._sums = [0.0, *accumulate(self._totals)]

    def by_the_time(self, own: float) -> float:
        """What all have been served when an owner has been served ``own``."""
        done = bisect_left(self._totals, own)
        return self._sums[done] + own * (len(self._totals) - done)


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
    def waiting(self) -> float:
        """Seconds of one slot that nobody has begun."""
        return max(0.0, sum(parcel.work for parcel in self.parcels) - self.done / IN_FLIGHT_DONE)

    @property
    def each(self) -> float:
        """Seconds of a task, on average."""
        return sum(parcel.tasks * parcel.each for parcel in self.parcels) / self.tasks if self.tasks else 0.0

    @property
    def most(self) -> int:
        """Nodes beyond which some would find no task."""
        return ceil(self.tasks / self.slots)

    def due(self) -> Iterator[tuple[Parcel, float]]:
        """Each parcel, with the work that must be done by then.

        At least that which is due with it and before it. But a fair queue serves an owner who has much in flight after
        the others: by the time that an owner's parcel is done, each other owner has been served as much as this one,
        or all of theirs (processor sharing). Nor is it later than if the owner had the share of the slots that makes
        nobody wait, :data:`NOISY`, from now on. The sooner of these two, if it is later than the first.
        """
        totals: dict[str, float] = defaultdict(float)
        for parcel in self.parcels:
            totals[parcel.owner] += parcel.work
        shared = _Shared(list(totals.values()))
        all_of_them, own = 0.0, dict.fromkeys(totals, 0.0)
        for parcel in self.parcels:
            all_of_them += parcel.work
            own[parcel.owner] += parcel.work
            fair = min(shared.by_the_time(own[parcel.owner]), own[parcel.owner] / NOISY)
            yield parcel, max(all_of_them, fair) - self.done

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


def measure(view: View, limits: Limits, now: float) -> Demand | None:
    """The demand, or ``None`` while neither the jobs nor the queue's counts are known."""
    boot = view.boot_seconds or limits.boot_seconds
    seen = view.seconds_per_task or limits.task_seconds
    if view.jobs is None and (view.visible is None or view.in_flight is None):
        return None
    parcels = _of_queue(view, limits, seen, boot) if view.jobs is None else _of_jobs(view, limits, seen, boot, now)
    able = sorted((parcel for parcel in parcels if parcel.tasks), key=lambda parcel: parcel.horizon)
    tasks = sum(parcel.tasks for parcel in able)
    busy = min(view.in_flight or 0 if view.jobs is None else _at_work(view), tasks)
    each = sum(parcel.tasks * parcel.each for parcel in able) / tasks if tasks else 0.0
    return Demand(tuple(able), IN_FLIGHT_DONE * busy * each, boot, max(1, view.slots_per_node))


def _able(horizon: float, each: float, limits: Limits, boot: float) -> float:
    """The horizon by which all is seen to be done; none lies before a new node, which has to boot, has done a task."""
    return max(horizon - LOOKS * limits.pass_seconds, boot + each)


def _of_queue(view: View, limits: Limits, each: float, boot: float) -> list[Parcel]:
    horizon, why = limits.target_seconds, f"within {limits.target_seconds:.0f} s"
    if view.oldest and view.visible:
        horizon -= view.oldest
        why += f" ({view.oldest:.0f} s waited)"
    tasks = (view.visible or 0) + (view.delayed or 0) + (view.in_flight or 0)
    return [Parcel(tasks, each, _able(horizon, each, limits, boot), why)]


def _of_jobs(view: View, limits: Limits, seen: float, boot: float, now: float) -> list[Parcel]:
    parcels = [_of_job(view, job, limits, seen, boot, now) for job in view.jobs or ()]
    if _ghosts(view, now) and not any(parcel.tasks for parcel in parcels):
        horizon = _able(limits.target_seconds, seen, limits, boot)
        parcels.append(Parcel(1, seen, horizon, "messages wait that no live job knows of"))
    return parcels


def _ghosts(view: View, now: float) -> bool:
    """Whether messages wait that are no live job's. Counts are late: they may be those of a job that has just ended."""
    if not view.visible or view.in_flight is None or view.jobless_since is None:
        return False
    return min(view.oldest or 0.0, now - view.jobless_since) >= GHOSTS_SECONDS


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
    left = horizon - job.stages_after * each
    left = max(left, boot + each) if held else _able(left, each, limits, boot)
    return Parcel(job.tasks_left, each, left, why, firm, job.id if held else "", job.owner)


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
