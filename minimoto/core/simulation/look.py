"""What a rule sees of a simulated fleet: heartbeats and jobs as they are, counts and metrics late as in AWS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from minimoto.core.fleet_view import JobView, Node, View
from minimoto.core.simulation.queue import Queue
from minimoto.core.simulation.trace import Machine, Running
from minimoto.core.simulation.world import World

BUSY_CPU, IDLE_CPU = 90.0, 1.0
"""Percent of a node that works, and of one that does not."""


class Eyes:
    """Makes views."""

    def __init__(self, world: World, queue: Queue) -> None:
        self._world, self._queue = world, queue
        self._pools = tuple(offer.pool(world.price) for offer in world.offers)

    def view(
        self, machines: Iterable[Machine], jobs: Iterable[Running], each: float | None, now: float, late: float
    ) -> View:
        """What production's watchdog would see.

        Parameters:
            each: seconds a task, as the services' heartbeats say.
            late: seconds by which the queue's counts are late.
        """
        visible, flight, _ = self._queue.counted(now - late)
        point = self._world.datapoint(now, self._world.queue_period)
        oldest = self._queue.counted(point)[2] if visible and point >= 0 else None
        period = self._world.datapoint(now, self._world.cpu_period)
        return View(
            nodes=tuple(self._node(machine, now, period) for machine in machines),
            visible=visible,
            in_flight=flight,
            delayed=0,
            oldest=None if oldest is None else point - oldest,
            jobs=tuple(job_view(job) for job in jobs),
            seconds_per_task=each,
            slots_per_node=self._world.slots,
            price_per_hour=self._world.price,
            pools=self._pools,
        )

    def as_measured(self, view: View, now: float) -> View:
        """The view of a rule that reads the queue's metrics in CloudWatch instead of asking SQS."""
        visible, flight, _ = self._queue.counted(self._world.datapoint(now, self._world.queue_period))
        return replace(view, visible=visible, in_flight=flight)

    def _node(self, machine: Machine, now: float, period: float) -> Node:
        lasting = machine.crashed is None and not machine.draining
        if machine.seen is not None and lasting and machine.seen_at == period:
            return machine.seen
        if machine.seen_at != period:
            machine.seen_at = period
            machine.cpu = cpu(machine, period - self._world.cpu_period, period)
        silent = 0.0 if machine.crashed is None else now - machine.crashed
        busy = len(machine.tasks)
        # That it is free is known with its next heartbeat.
        told = now - max(machine.free_since, machine.idle_since or 0.0) >= self._world.heartbeat / 2
        machine.seen = Node(
            id=machine.id,
            launched=machine.launched,
            healthy=silent < self._world.checks,
            cpu=machine.cpu,
            reported=machine.ready,
            heartbeat=silent + self._world.heartbeat / 2 if machine.ready else None,
            slots=self._world.slots if machine.ready else 0,
            busy=busy,
            progress=0.0 if busy else None,
            leaving=machine.draining,
            finished=machine.draining and not busy and machine.ready and told,
            idle_since=machine.idle_since if machine.ready and not busy else None,
            type=machine.offer.name,
            market=machine.offer.market,
        )
        return machine.seen


def cpu(machine: Machine, start: float, end: float) -> float | None:
    """Percent of CPU on average over a period, as CloudWatch has it; ``None`` before the first."""
    if machine.launched >= end:
        return None
    machine.worked = [(a, b) for a, b in machine.worked if b > start]
    lately = [*machine.worked, *([(machine.busy_since, end)] if machine.busy_since is not None else [])]
    begun = max(start, machine.launched)
    busy = sum(max(0.0, min(b, end) - max(a, begun)) for a, b in lately)
    return IDLE_CPU + (BUSY_CPU - IDLE_CPU) * busy / (end - begun)


def job_view(running: Running) -> JobView:
    """A job as its document says it; it is read consistently."""
    if running.seen is None:
        running.seen = JobView(
            running.id,
            running.left,
            stages_after=len(running.job.stages) - 1 - running.stage,
            deadline=running.job.deadline,
            seconds_left=running.left * running.running.expected,
            created=running.job.at,
            owner=running.job.owner,
        )
    return running.seen
