"""How others size their fleets, each as a small rule from its published formula, at its own defaults.

They see what they would see: the queue's counts, late as SQS gives them, and the machines. Nodes behave as minimoto's
do; a rule that ends nodes without asking whether they are busy kills work, as it does where it is used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor

from minimoto.core.fleet_view import Node, View
from minimoto.core.simulation.events import Orders
from minimoto.core.simulation.world import METRICS_LATE


def _present(view: View) -> list[Node]:
    """Machines that are there, sound, and not on their way out."""
    return [node for node in view.nodes or () if not node.leaving and node.healthy is not False]


def _broken(view: View) -> list[str]:
    return [node.id for node in view.nodes or () if node.healthy is False]


def _youngest_first(nodes: Sequence[Node]) -> list[Node]:
    return sorted(nodes, key=lambda node: (node.reported, -node.launched))


@dataclass
class Rival(ABC):
    """What all of them have.

    Parameters:
        most: nodes that it may have.
        every: seconds between its looks.
        by_metrics: it reads the queue's metrics in CloudWatch.
    """

    name: str
    most: int = 500
    every: float = 60.0
    by_metrics: bool = False

    def step(self, view: View, now: float) -> Orders:
        """The rule's orders; machines that fail their status checks are ended, as Auto Scaling and Kubernetes do."""
        orders, broken = self.orders(view, now), _broken(view)
        return replace(orders, terminate=[*orders.terminate, *broken], dead=frozenset(broken))

    @abstractmethod
    def orders(self, view: View, now: float) -> Orders:
        """The rule itself."""

    def launched(self, ids: Sequence[str], refusing: Sequence[str], now: float) -> None:  # noqa: B027 - a hook with nothing to do
        """None of them remembers its launches."""

    def resized(self, view: View, wanted: int, leave: Callable[[Sequence[Node]], list[Node]]) -> Orders:
        """Orders for ``wanted`` nodes; those that ``leave`` puts first are ended, busy or not."""
        present = _present(view)
        wanted = min(wanted, self.most)
        if wanted >= len(present):
            return Orders(launch=wanted - len(present))
        return Orders(terminate=[node.id for node in leave(present)[: len(present) - wanted]])


@dataclass
class Keda(Rival):
    """KEDA's SQS scaler under a horizontal pod autoscaler.

    ``ceil((visible + in flight) / queueLength)``, polled every 30 s, to zero 300 s after the queue was last seen with
    something in it (KEDA, ``aws_sqs_queue_scaler.go``; a ScaledObject's defaults). The autoscaler grows at most twofold
    or by 4 in 15 s and shrinks to the largest size of the last 300 s (Kubernetes, "Horizontal Pod Autoscaling"); what
    goes is not asked whether it is busy, unready nodes first, then the youngest.
    """

    name: str = "KEDA"
    every: float = 15.0
    each: int = 5
    _wishes: deque[tuple[float, int]] = field(default_factory=deque)
    _active: float = float("-inf")
    _metric: int = 0
    _polled: float = float("-inf")

    def orders(self, view: View, now: float) -> Orders:
        if now - self._polled >= 30:
            self._polled, self._metric = now, (view.visible or 0) + (view.in_flight or 0)
        if self._metric:
            self._active = now
        present = len(_present(view))
        if now - self._active >= 300:
            return self.resized(view, 0, _youngest_first)
        wish = max(1, ceil(self._metric / self.each))
        if present and abs(self._metric / self.each / present - 1) <= 0.1:
            wish = present
        self._wishes.append((now, wish))
        while self._wishes and self._wishes[0][0] < now - 300:
            self._wishes.popleft()
        if wish > present:
            return self.resized(view, min(wish, max(2 * present, present + 4)), _youngest_first)
        return self.resized(view, min(present, max(size for _, size in self._wishes)), _youngest_first)


@dataclass
class TargetTracking(Rival):
    """AWS target tracking on backlog per instance, with instances protected while they work.

    The metric is ``visible / in service``, the target acceptable latency over the time of a task (EC2 Auto Scaling User
    Guide, "Scaling policy based on Amazon SQS"). A datapoint a minute; three above the target scale out in proportion,
    fifteen below nine tenths of it scale in (the alarms that target tracking makes). One instance at least: with none
    the metric has no value. Instances that boot are not in service yet, but count as capacity. Its alarms know what
    waits from CloudWatch, as late as that is.
    """

    name: str = "AWS target tracking"
    by_metrics: bool = True
    latency: float = 300.0
    task_seconds: float = 60.0
    _seen: deque[float] = field(default_factory=lambda: deque(maxlen=15))

    def orders(self, view: View, now: float) -> Orders:
        present = _present(view)
        if not present:
            return Orders(launch=1)
        target = self.latency / (view.seconds_per_task or self.task_seconds)
        ready = max(1, sum(node.reported for node in present))
        self._seen.append((view.visible or 0) / ready)
        last = list(self._seen)
        if len(last) >= 3 and min(last[-3:]) > target:
            wanted = ceil(len(present) * last[-1] / target) if ready == len(present) else len(present)
            return Orders(launch=max(0, min(self.most, wanted) - len(present)))
        if len(last) == 15 and max(last) < 0.9 * target:
            wanted = max(1, ceil(len(present) * last[-1] / target))
            free = [node.id for node in present if node.reported and not node.busy]
            self._seen.clear()
            return Orders(terminate=free[: max(0, len(present) - wanted)])
        return Orders()


@dataclass
class Buildkite(Rival):
    """Buildkite's agent scaler in the Elastic CI stack.

    ``ceil((scheduled + running) / agents per instance)``, every 10 s (``scaling_calculator.go``, ``scaler.go``); an
    instance ends itself when its agent has been idle for ten minutes (``ScaleInIdlePeriod``, 600 s).
    """

    name: str = "Buildkite"
    every: float = 10.0
    idle: float = 600.0

    def orders(self, view: View, now: float) -> Orders:
        need = ceil(((view.visible or 0) + (view.in_flight or 0)) / view.slots_per_node)
        present = _present(view)
        idle = [node.id for node in present if node.idle_since is not None and now - node.idle_since >= self.idle]
        return Orders(launch=max(0, min(need, self.most) - len(present)), terminate=idle)


@dataclass
class Runners(Rival):
    """GitHub's runners on AWS (terraform-aws-github-runner).

    A runner for each job that is still queued when its event is handled, 30 s after it (``scale-up.ts``,
    ``delay_webhook_event``); every five minutes those that are idle and older than five minutes end
    (``scale-down.ts``, ``minimum_running_time_in_minutes``).
    """

    name: str = "GitHub runners"
    every: float = 10.0
    _down: float = 0.0
    _queued: deque[tuple[float, int]] = field(default_factory=deque)

    def orders(self, view: View, now: float) -> Orders:
        present = _present(view)
        self._queued.append((now, view.visible or 0))
        while len(self._queued) > 1 and self._queued[1][0] <= now - 30:
            self._queued.popleft()
        still = min(count for _, count in self._queued) if now - self._queued[0][0] >= 30 else 0
        booting = sum(not node.reported for node in present)
        new = max(0, min(still - booting, self.most - len(present)))
        ends: list[str] = []
        if now - self._down >= 300:
            self._down = now
            ends = [n.id for n in present if n.reported and not n.busy and now - n.launched >= 300]
        return Orders(launch=new, terminate=ends)


@dataclass
class CellProfiler(Rival):
    """Distributed-CellProfiler's fixed fleet.

    As many machines as were asked for while there is work; when nothing is visible and less is in flight than there
    are machines, the target falls to what is in flight, which ends none (``run.py``, monitor). A machine whose CPU
    stays under 1 % for 15 minutes is ended, and replaced while the target says so (its alarm, which CloudWatch's
    datapoints reach late).
    """

    name: str = "Distributed-CellProfiler"
    size: int = 20

    def orders(self, view: View, now: float) -> Orders:
        present = _present(view)
        flight = view.in_flight or 0
        target = self.size if view.visible else min(self.size, flight)
        idle = [n.id for n in present if n.idle_since is not None and now - n.idle_since >= 900 + METRICS_LATE]
        return Orders(launch=max(0, target - len(present) + len(idle)) if target else 0, terminate=idle)


@dataclass
class SkyPilot(Rival):
    """SkyPilot's queue-length autoscaler, of one version's ``autoscalers.py`` and ``constants.py``.

    Above the threshold one replica more after 300 s, below it one less after 1200 s, every 20 s; an empty queue asks
    for none. Only idle replicas go.
    """

    name: str = "SkyPilot queue"
    every: float = 20.0
    threshold: int = 5
    _size: int = 0
    _up: float = 0.0
    _down: float = 0.0

    def orders(self, view: View, now: float) -> Orders:
        queue = (view.visible or 0) + (view.in_flight or 0)
        wish = 0 if not queue else self._size + 1 if queue > self.threshold else max(1, self._size - 1)
        self._up = self._up + self.every if wish > self._size else 0.0
        self._down = self._down + self.every if wish < self._size else 0.0
        if self._up >= 300 or (self._down >= 1200 and wish < self._size):
            self._size, self._up, self._down = min(wish, self.most), 0.0, 0.0
        present = _present(view)
        free = [node.id for node in present if node.reported and not node.busy]
        return Orders(
            launch=max(0, self._size - len(present)), terminate=free[: floor(max(0, len(present) - self._size))]
        )
