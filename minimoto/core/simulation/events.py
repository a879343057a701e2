"""The events of a simulated fleet: folders come, nodes boot, work, are told to go, crash; a rule looks and orders.

Services behave as minimoto's do, whatever rule they are ruled by: they take one task at a time, finish it when they are
asked to drain, and hand back at once what a spot notice leaves no time for. Only a rule that ends a busy node kills.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Protocol

from minimoto.core.fleet_view import JobView, Node, View
from minimoto.core.simulation.workload import Job, Workload

TAIL = 3600.0
"""Seconds that nodes are charged for after the last job, if they are not gone before."""
PATIENCE = 7 * 86_400.0
"""Seconds after the last arrival at which a rule that gets nowhere is stopped."""
LEARNT_OF = 50
"""Tasks that the services' seconds a task are the mean of."""


@dataclass(frozen=True)
class Orders:
    """What a rule wants done.

    Parameters:
        launch: nodes to start.
        drain: ids of nodes that finish what they hold and end.
        terminate: ids of nodes to end now, whatever they hold.
        dead: those of them that are ended because they are broken.
    """

    launch: int = 0
    drain: Sequence[str] = ()
    terminate: Sequence[str] = ()
    dead: frozenset[str] = frozenset()


class Rule(Protocol):
    """Decides how large the fleet is. ``every`` is how often it looks, in seconds."""

    @property
    def name(self) -> str: ...

    @property
    def every(self) -> float: ...

    def step(self, view: View, now: float) -> Orders:
        """What to do about what is seen; ``now`` in seconds from the start."""

    def launched(self, ids: Sequence[str], now: float) -> None:
        """Told which nodes were started of those that were asked for."""


@dataclass(eq=False, slots=True)
class Task:
    """One task; ``attempt`` tells a try from those before it."""

    job: Running
    seconds: float
    queued: float = 0.0
    attempt: int = 0
    ends: float = 0.0


@dataclass(eq=False, slots=True)
class Running:
    """A job that has come."""

    id: str
    job: Job
    left: int
    started: float | None = None
    finished: float | None = None
    seen: JobView | None = None


@dataclass(eq=False, slots=True)
class Machine:
    """A node, as it is; ``seen`` is how it was last shown to the rule."""

    id: str
    market: str
    launched: float
    tasks: list[Task] = field(default_factory=list)
    ready: bool = False
    draining: bool = False
    crashed: float | None = None
    ended: float | None = None
    idle_since: float | None = None
    free_since: float = 0.0
    seen: Node | None = None


@dataclass(frozen=True)
class Trace:
    """What happened.

    Parameters:
        jobs: all that came.
        machines: all that were started; ``ended`` is set for each.
        changes: (time, nodes started or, negative, let go, arrivals so far, tasks waiting).
        sizes: (time, nodes, tasks waiting) at each look.
        killed: busy nodes that the rule ended.
        refused: nodes that could not be had.
        interrupted, crashed: nodes that the world took.
    """

    jobs: Sequence[Running]
    machines: Sequence[Machine]
    changes: Sequence[tuple[float, int, int, int]]
    sizes: Sequence[tuple[float, int, int]]
    killed: int
    refused: int
    interrupted: int
    crashed: int


class Simulation:
    """One run of a workload under a rule. The same seed gives the same run."""

    def __init__(self, workload: Workload, rule: Rule, seed: int = 0) -> None:
        self._workload, self._world, self._rule = workload, workload.world, rule
        # One stream each, so that what one part draws changes nothing for the others.
        self._boots, self._fates, self._picks, self._lags = (Random(seed * 4 + n) for n in range(4))
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._number = count()
        self._now = 0.0
        self._queue: deque[Task] = deque()
        self._idle: list[Machine] = []
        self._alive: dict[str, Machine] = {}
        self._machines: list[Machine] = []
        self._jobs: list[Running] = []
        self._live: dict[str, Running] = {}
        self._flight = 0
        self._times: deque[float] = deque(maxlen=LEARNT_OF)
        self._counts_at: list[float] = [0.0]
        self._counts: list[tuple[int, int, float | None]] = [(0, 0, None)]
        self._changes: list[tuple[float, int, int, int]] = []
        self._sizes: list[tuple[float, int, int]] = []
        self._stopped = False
        self._killed = self._refused = self._interrupted = self._crashed = self._undone = 0

    def run(self) -> Trace:
        """Until all is done and the nodes are gone, or :data:`TAIL` seconds later."""
        for job in self._workload.jobs:
            self._at(job.at, self._arrive, job)
        self._at(0.0, self._look)
        while self._events and not self._stopped:
            self._now, _, happen, given = heapq.heappop(self._events)
            happen(*given)
        for machine in self._alive.values():
            machine.ended = self._now
        return Trace(
            self._jobs, self._machines, self._changes, self._sizes,
            self._killed, self._refused, self._interrupted, self._crashed,
        )  # fmt: skip

    def _at(self, time: float, happen: Callable[..., None], *given: object) -> None:
        heapq.heappush(self._events, (time, next(self._number), happen, given))

    def _arrive(self, job: Job) -> None:
        running = Running(f"job-{len(self._jobs)}", job, len(job.tasks))
        self._jobs.append(running)
        self._live[running.id] = running
        self._undone += len(job.tasks)
        for seconds in job.tasks:
            self._queue.append(Task(running, seconds, self._now))
        self._hand_out()

    def _hand_out(self) -> None:
        """Waiting tasks to idle slots: whichever asks first, so any of them."""
        while self._queue and self._idle:
            place = int(self._picks.random() * len(self._idle))
            self._idle[place], self._idle[-1] = self._idle[-1], self._idle[place]
            self._start(self._idle.pop(), self._queue.popleft())
        self._counted()

    def _start(self, machine: Machine, task: Task) -> None:
        task.job.started = self._now if task.job.started is None else task.job.started
        task.ends = self._now + task.seconds
        machine.tasks.append(task)
        machine.idle_since = machine.seen = None
        self._flight += 1
        self._at(task.ends, self._finish, machine, task, task.attempt)

    def _finish(self, machine: Machine, task: Task, attempt: int) -> None:
        if task.attempt != attempt:
            return
        machine.tasks.remove(task)
        machine.seen = task.job.seen = None
        self._flight -= 1
        self._undone -= 1
        self._times.append(task.seconds)
        task.job.left -= 1
        if not task.job.left:
            task.job.finished = self._now
            del self._live[task.job.id]
        self._free(machine)
        self._hand_out()

    def _free(self, machine: Machine) -> None:
        if not machine.tasks:
            machine.idle_since = self._now
        if not machine.draining and machine.crashed is None:
            self._idle.append(machine)

    def _launch(self, wanted: int) -> list[str]:
        market = "spot" if self._fates.random() < self._world.spot_share else "on-demand"
        if market == "spot" and self._world.in_drought(self._now):
            self._refused += wanted
            return []
        ids = []
        for _ in range(wanted):
            machine = Machine(f"i-{len(self._machines):05}", market, self._now)
            self._machines.append(machine)
            self._alive[machine.id] = machine
            ids.append(machine.id)
            self._at(self._now + self._boot(len(self._machines) - 1), self._ready, machine)
            self._draw_fate(machine)
        return ids

    def _boot(self, number: int) -> float:
        """Seconds that the node with this number, from 0, takes to boot."""
        if number < len(self._world.boots):
            return self._world.boots[number]
        least, usual, longest = self._world.boot
        return self._boots.triangular(least, longest, usual)

    def _draw_fate(self, machine: Machine) -> None:
        rates = {self._interrupt: self._world.interruptions if machine.market == "spot" else 0.0,
                 self._crash: self._world.crashes}  # fmt: skip
        for happen, rate in rates.items():
            wait = self._fates.expovariate(1.0)
            if rate:
                self._at(self._now + wait * 3600 / rate, happen, machine)
        if machine.market == "spot":
            start = min((start for start, end in self._world.droughts if end > self._now), default=None)
            if start is not None:
                self._at(start + 600 * self._fates.random(), self._interrupt, machine)

    def _ready(self, machine: Machine) -> None:
        if machine.ended is None and machine.crashed is None:
            machine.ready = True
            machine.seen = None
            for _ in range(self._world.slots):
                self._free(machine)
            self._hand_out()

    def _interrupt(self, machine: Machine) -> None:
        """A spot notice: what cannot be finished in time is handed back at once."""
        if machine.ended is None and machine.crashed is None:
            self._interrupted += 1
            self._at(self._now + self._world.notice, self._end, machine)
            self._drain(machine)
            for task in list(machine.tasks):
                if task.ends > self._now + self._world.notice:
                    self._drop(machine, task)
                    self._again(task)

    def _crash(self, machine: Machine) -> None:
        if machine.ended is None and machine.crashed is None:
            self._crashed += 1
            machine.crashed = self._now
            machine.seen = None
            self._forget_idle(machine)
            for task in list(machine.tasks):
                self._hide(machine, task)

    def _drop(self, machine: Machine, task: Task) -> None:
        machine.tasks.remove(task)
        task.attempt += 1
        self._flight -= 1

    def _hide(self, machine: Machine, task: Task) -> None:
        """A task whose node is gone: its message stays hidden for a while."""
        self._drop(machine, task)
        self._at(self._now + self._world.visibility, self._again, task)

    def _again(self, task: Task) -> None:
        task.queued = self._now
        self._queue.append(task)
        self._hand_out()

    def _drain(self, machine: Machine) -> None:
        machine.draining = True
        machine.free_since = self._now
        machine.seen = None
        self._forget_idle(machine)

    def _forget_idle(self, machine: Machine) -> None:
        if not machine.tasks or self._world.slots > len(machine.tasks):
            self._idle = [other for other in self._idle if other is not machine]

    def _end(self, machine: Machine) -> None:
        if machine.ended is None:
            machine.ended = self._now
            del self._alive[machine.id]
            self._forget_idle(machine)
            for task in list(machine.tasks):
                self._hide(machine, task)

    def _look(self) -> None:
        orders = self._rule.step(self._view(), self._now)
        arrived, gone = len(self._jobs), 0
        for id in (*orders.terminate, *orders.drain):
            machine = self._alive.get(id)
            if machine is None:
                continue
            gone += id not in orders.dead and not machine.draining
            if id in orders.drain:
                self._drain(machine)
                continue
            self._killed += bool(machine.tasks) and id not in orders.dead
            self._end(machine)
        if gone:
            self._changes.append((self._now, -gone, arrived, len(self._queue)))
        if orders.launch:
            ids = self._launch(orders.launch)
            self._rule.launched(ids, self._now)
            if ids:
                self._changes.append((self._now, len(ids), arrived, len(self._queue)))
        self._sizes.append((self._now, len(self._alive), len(self._queue)))
        self._stopped = self._now >= self._workload.seconds + PATIENCE
        if not self._over():
            self._at(self._now + self._rule.every, self._look)

    def _over(self) -> bool:
        if self._now < self._workload.seconds or self._undone or len(self._jobs) < len(self._workload.jobs):
            return False
        last = max((job.finished or 0.0 for job in self._jobs), default=0.0)
        return not self._alive or self._now >= max(last, self._workload.seconds) + TAIL

    def _counted(self) -> None:
        """Keeps what SQS will say of now, a second's changes in one."""
        counts = (len(self._queue), self._flight, self._queue[0].queued if self._queue else None)
        if self._now - self._counts_at[-1] < 1.0:
            self._counts[-1] = counts
        else:
            self._counts_at.append(self._now)
            self._counts.append(counts)

    def _view(self) -> View:
        seen_at = self._now - self._world.counts_late * self._lags.random()
        visible, flight, oldest = self._counts[max(0, bisect_right(self._counts_at, seen_at) - 1)]
        return View(
            nodes=tuple(self._shown(machine) for machine in self._alive.values()),
            visible=visible,
            in_flight=flight,
            delayed=0,
            oldest=None if oldest is None else self._now - oldest,
            jobs=tuple(self._job(job) for job in self._live.values()),
            seconds_per_task=sum(self._times) / len(self._times) if self._times else None,
            slots_per_node=self._world.slots,
            price_per_hour=self._world.price,
        )

    def _shown(self, machine: Machine) -> Node:
        if machine.seen is not None and machine.crashed is None and not machine.draining:
            return machine.seen
        silent = 0.0 if machine.crashed is None else self._now - machine.crashed
        busy = len(machine.tasks)
        # That it is free is known with its next heartbeat.
        told = self._now - max(machine.free_since, machine.idle_since or 0.0) >= self._world.heartbeat / 2
        machine.seen = Node(
            id=machine.id,
            launched=machine.launched,
            healthy=silent < self._world.checks,
            cpu=90.0 if machine.tasks else 1.0,
            reported=machine.ready,
            heartbeat=silent + self._world.heartbeat / 2 if machine.ready else None,
            slots=self._world.slots if machine.ready else 0,
            busy=busy,
            progress=0.0 if busy else None,
            leaving=machine.draining,
            finished=machine.draining and not busy and machine.ready and told,
            idle_since=machine.idle_since if machine.ready and not busy else None,
            market=machine.market,
        )
        return machine.seen

    def _job(self, running: Running) -> JobView:
        if running.seen is None:
            running.seen = JobView(
                running.id,
                running.left,
                deadline=running.job.deadline,
                seconds_left=running.left * running.job.expected,
                created=running.job.at,
            )
        return running.seen
