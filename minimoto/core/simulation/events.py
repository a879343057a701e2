"""The events of a simulated fleet: folders come, nodes boot, work, are told to go, crash; a rule looks and orders.

Services behave as minimoto's do, whatever rule they are ruled by: they take one task at a time, finish it when they are
asked to drain, and hand back at once what a spot notice leaves no time for. Only a rule that ends a busy node kills.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from random import Random
from typing import Protocol

from minimoto.core.fleet_view import View
from minimoto.core.simulation.look import Eyes
from minimoto.core.simulation.market import TAKEN_BACK, Offer, had
from minimoto.core.simulation.queue import Queue
from minimoto.core.simulation.trace import Machine, Running, Task, Trace
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
        offers: names of what is asked for them, the best first; ``None``: what there is, in the world's order.
        swap: whether they are to take the places of others.
        drain: ids of nodes that finish what they hold and end.
        replaced: those of them whose places have been taken.
        terminate: ids of nodes to end now, whatever they hold.
        dead: those of them that are ended because they are broken.
    """

    launch: int = 0
    offers: Sequence[str] | None = None
    swap: bool = False
    drain: Sequence[str] = ()
    replaced: frozenset[str] = frozenset()
    terminate: Sequence[str] = ()
    dead: frozenset[str] = frozenset()


class Rule(Protocol):
    """Decides how large the fleet is.

    ``every`` is how often it looks, in seconds; ``by_metrics``, whether it knows the queue by its metrics in
    CloudWatch, which are later than the counts that SQS gives whoever asks.
    """

    @property
    def name(self) -> str: ...

    @property
    def every(self) -> float: ...

    @property
    def by_metrics(self) -> bool: ...

    def step(self, view: View, now: float) -> Orders:
        """What to do about what is seen; ``now`` in seconds from the start."""

    def launched(self, ids: Sequence[str], refusing: Sequence[str], now: float) -> None:
        """Told which nodes were started of those that were asked for, and which offers refused before."""


class Simulation:
    """One run of a workload under a rule. The same seed gives the same run."""

    def __init__(self, workload: Workload, rule: Rule, seed: int = 0) -> None:
        self._workload, self._world, self._rule = workload, workload.world, rule
        # One stream each, so that what one part draws changes nothing for the others.
        self._boots, self._fates, self._picks, self._lags = (Random(seed * 4 + n) for n in range(4))
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._number = count()
        self._now = 0.0
        self._queue = Queue()
        self._eyes = Eyes(self._world, self._queue)
        self._idle: list[Machine] = []
        self._alive: dict[str, Machine] = {}
        self._machines: list[Machine] = []
        self._jobs: list[Running] = []
        self._live: dict[str, Running] = {}
        self._times: deque[float] = deque(maxlen=LEARNT_OF)
        self._changes: list[tuple[float, int, int, int]] = []
        self._sizes: list[tuple[float, int, int]] = []
        self._stopped = False
        self._killed = self._refused = self._interrupted = self._crashed = self._undone = self._swaps = 0

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
            self._killed, self._refused, self._interrupted, self._crashed, self._swaps,
        )  # fmt: skip

    def _at(self, time: float, happen: Callable[..., None], *given: object) -> None:
        heapq.heappush(self._events, (time, next(self._number), happen, given))

    def _arrive(self, job: Job) -> None:
        running = Running(f"job-{len(self._jobs)}", job, 0)
        self._jobs.append(running)
        self._live[running.id] = running
        self._undone += job.count
        self._send(running)
        self._hand_out()

    def _send(self, running: Running) -> None:
        """The tasks of the stage that begins."""
        running.left = len(running.running.tasks)
        for seconds in running.running.tasks:
            self._queue.send(Task(running, seconds), self._now)

    def _hand_out(self) -> None:
        """Waiting tasks to idle slots: whichever asks first, so any of them."""
        while self._queue.visible and self._idle:
            place = int(self._picks.random() * len(self._idle))
            self._idle[place], self._idle[-1] = self._idle[-1], self._idle[place]
            self._start(self._idle.pop(), self._queue.receive())
        self._queue.count(self._now)

    def _start(self, machine: Machine, task: Task) -> None:
        task.job.started = self._now if task.job.started is None else task.job.started
        task.ends = self._now + task.seconds
        machine.tasks.append(task)
        machine.idle_since = machine.seen = None
        machine.busy_since = self._now if machine.busy_since is None else machine.busy_since
        self._at(task.ends, self._finish, machine, task, task.attempt)

    def _finish(self, machine: Machine, task: Task, attempt: int) -> None:
        if task.attempt != attempt:
            return
        self._let_go(machine, task)
        self._queue.gone(task)
        task.job.seen = None
        self._undone -= 1
        self._times.append(task.seconds)
        task.job.left -= 1
        if not task.job.left:
            self._end_stage(task.job)
        self._free(machine)
        self._hand_out()

    def _end_stage(self, running: Running) -> None:
        running.stage += 1
        if running.stage < len(running.job.stages):
            self._send(running)
            return
        running.finished = self._now
        del self._live[running.id]

    def _free(self, machine: Machine) -> None:
        if not machine.tasks:
            machine.idle_since = self._now
        if not machine.draining and machine.crashed is None:
            self._idle.append(machine)

    def _let_go(self, machine: Machine, task: Task) -> None:
        machine.tasks.remove(task)
        machine.seen = None
        if not machine.tasks and machine.busy_since is not None:
            machine.worked.append((machine.busy_since, self._now))
            machine.busy_since = None

    def _launch(self, orders: Orders) -> None:
        known = {offer.name: offer for offer in self._world.offers}
        offers = list(known.values()) if orders.offers is None else [known[name] for name in orders.offers]
        given = list(had(offers, orders.launch, self._now))
        ids = [self._start_one(offer) for offer, n in given for _ in range(n)]
        refused = [offer.name for offer in takewhile(lambda offer: not offer.there_is(self._now), offers)]
        # Nobody waits for a node that would only be cheaper.
        self._refused += 0 if orders.swap else orders.launch - len(ids)
        self._rule.launched(ids, refused, self._now)
        if ids and not orders.swap:
            self._change(len(ids))

    def _change(self, nodes: int) -> None:
        """Notes another size: nodes started or, negative, let go. A swap is none."""
        self._changes.append((self._now, nodes, len(self._jobs), self._queue.visible))

    def _start_one(self, offer: Offer) -> str:
        machine = Machine(f"i-{len(self._machines):05}", offer, self._now)
        self._machines.append(machine)
        self._alive[machine.id] = machine
        self._at(self._now + self._boot(len(self._machines) - 1), self._ready, machine)
        self._draw_fate(machine)
        return machine.id

    def _boot(self, number: int) -> float:
        """Seconds that the node with this number, from 0, takes to boot."""
        if number < len(self._world.boots):
            return self._world.boots[number]
        least, usual, longest = self._world.boot
        return self._boots.triangular(least, longest, usual)

    def _draw_fate(self, machine: Machine) -> None:
        for happen, rate in ((self._interrupt, machine.offer.interruptions), (self._crash, self._world.crashes)):
            wait = self._fates.expovariate(1.0)
            if rate:
                self._at(self._now + wait * 3600 / rate, happen, machine)
        start = min((start for start, end in machine.offer.droughts if end > self._now), default=None)
        if start is not None:
            self._at(start + TAKEN_BACK * self._fates.random(), self._interrupt, machine)

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
        self._let_go(machine, task)
        task.attempt += 1

    def _hide(self, machine: Machine, task: Task) -> None:
        """A task whose node is gone: its message stays in flight, and hidden, for a while."""
        self._drop(machine, task)
        self._at(self._now + self._world.visibility, self._again, task)

    def _again(self, task: Task) -> None:
        self._queue.gone(task)
        self._queue.send(task, self._now)
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
        gone = 0
        for id in (*orders.terminate, *orders.drain):
            machine = self._alive.get(id)
            if machine is None:
                continue
            swapped = id in orders.replaced
            self._swaps += swapped
            gone += id not in orders.dead and not machine.draining and not swapped
            if id in orders.drain:
                self._drain(machine)
                continue
            self._killed += bool(machine.tasks) and id not in orders.dead
            self._end(machine)
        if gone:
            self._change(-gone)
        if orders.launch:
            self._launch(orders)
        self._sizes.append((self._now, len(self._alive), self._queue.visible))
        self._stopped = self._now >= self._workload.seconds + PATIENCE
        if not self._over():
            self._at(self._now + self._rule.every, self._look)

    def _over(self) -> bool:
        if self._now < self._workload.seconds or self._undone or len(self._jobs) < len(self._workload.jobs):
            return False
        last = max((job.finished or 0.0 for job in self._jobs), default=0.0)
        return not self._alive or self._now >= max(last, self._workload.seconds) + TAIL

    def _view(self) -> View:
        late = self._world.counts_late * self._lags.random()
        each = sum(self._times) / len(self._times) if self._times else None
        view = self._eyes.view(self._alive.values(), self._live.values(), each, self._now, late)
        return self._eyes.as_measured(view, self._now) if self._rule.by_metrics else view
