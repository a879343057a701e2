"""The simulated queue: served fairly among owners, counted approximately and late, as SQS and CloudWatch do it."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import Counter, deque
from itertools import count

from minimoto.core.simulation.trace import Task

Counts = tuple[int, int, float | None]
"""Messages that are visible and in flight, and when the oldest visible one was sent."""


class Queue:
    """Messages of tasks.

    Whose owner has the fewest in flight is served first, then whichever waits longest: SQS's fair queues, as
    :class:`minimoto.memory.MemoryQueue` has them (Amazon SQS Developer Guide, "Amazon SQS fair queues").
    """

    def __init__(self) -> None:
        self._numbers = count()
        self._waiting: dict[str, deque[Task]] = {}
        self._order: list[tuple[int, int, str]] = []
        self._sent: deque[tuple[int, Task]] = deque()
        self._flights: Counter[str] = Counter()
        self.visible = self.in_flight = 0
        self._times: list[float] = [0.0]
        self._counts: list[Counts] = [(0, 0, None)]

    def send(self, task: Task, now: float) -> None:
        """A message that can be received from now on."""
        task.queued, task.place = now, next(self._numbers)
        owner = task.job.job.owner
        mine = self._waiting.setdefault(owner, deque())
        mine.append(task)
        self._sent.append((task.place, task))
        self.visible += 1
        if len(mine) == 1:
            self._rank(owner)

    def receive(self) -> Task:
        """The next message; there must be one."""
        while True:
            flights, place, owner = heapq.heappop(self._order)
            mine = self._waiting.get(owner)
            if mine and (flights, place) == (self._flights[owner], mine[0].place):
                break
        task = mine.popleft()
        task.place = -1
        self.visible -= 1
        self.in_flight += 1
        self._flights[owner] += 1
        self._rank(owner)
        return task

    def gone(self, task: Task) -> None:
        """A message that was in flight is deleted, or about to be sent again."""
        owner = task.job.job.owner
        self.in_flight -= 1
        self._flights[owner] -= 1
        self._rank(owner)

    def _rank(self, owner: str) -> None:
        """What was ranked before and is no longer so is passed over when its turn comes."""
        mine = self._waiting.get(owner)
        if mine:
            heapq.heappush(self._order, (self._flights[owner], mine[0].place, owner))

    def _oldest(self) -> float | None:
        while self._sent and self._sent[0][1].place != self._sent[0][0]:
            self._sent.popleft()
        return self._sent[0][1].queued if self._sent else None

    def count(self, now: float) -> None:
        """Keeps what will be said of now, a second's changes in one."""
        counts = (self.visible, self.in_flight, self._oldest())
        if now - self._times[-1] < 1.0:
            self._counts[-1] = counts
        else:
            self._times.append(now)
            self._counts.append(counts)

    def counted(self, at: float) -> Counts:
        """What there was at a time before."""
        return self._counts[max(0, bisect_right(self._times, at) - 1)]
