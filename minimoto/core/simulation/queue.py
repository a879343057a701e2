"""The simulated queue: served fairly among owners, counted approximately and late, as SQS and CloudWatch do it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from heapq import heappop, heappush
from itertools import count

from minimoto.core.simulation.trace import Task

Counts = tuple[int, int, float | None]
"""Messages that are visible and in flight, and when the oldest visible one was sent."""


NOISY = 0.1
"""Share of what is in flight above which an owner is noisy."""


class Queue:
    """Messages of tasks, served as SQS's fair queues do it.

    Owners who use more than a tenth of the consumers are noisy: they are served when no other waits, whoever has the
    fewest in flight first (Amazon SQS Developer Guide, "How Amazon SQS fair queues work"). Of the others, as without
    owners, whichever waits longest. That guide's second measure, of the consumers' time in the recent past, is taken
    for the same here: a message in flight is a consumer's time.
    """

    def __init__(self) -> None:
        self._numbers = count()
        self._waiting: dict[str, deque[Task]] = {}
        self._firsts: list[tuple[int, str]] = []
        """A heap of the place of each owner's first message; of owners who have one."""
        self._sent: deque[tuple[int, Task]] = deque()
        self._flights: Counter[str] = Counter()
        self.visible = self.in_flight = 0
        self._times: list[float] = [0.0]
        self._counts: list[Counts] = [(0, 0, None)]

    def send(self, task: Task, now: float) -> None:
        """A message that can be received from now on."""
        task.queued, task.place = now, next(self._numbers)
        owner = task.job.job.owner
        waiting = self._waiting.setdefault(owner, deque())
        if not waiting:
            heappush(self._firsts, (task.place, owner))
        waiting.append(task)
        self._sent.append((task.place, task))
        self.visible += 1

    def receive(self) -> Task:
        """The next message; there must be one."""
        owner = self._next_owner()
        waiting = self._waiting[owner]
        task = waiting.popleft()
        if waiting:
            heappush(self._firsts, (waiting[0].place, owner))
        else:
            del self._waiting[owner]
        task.place = -1
        self.visible -= 1
        self.in_flight += 1
        self._flights[owner] += 1
        return task

    def gone(self, task: Task) -> None:
        """A message that was in flight is deleted, or about to be sent again."""
        self.in_flight -= 1
        self._flights[task.job.job.owner] -= 1

    def _next_owner(self) -> str:
        """Whose turn it is; taken off the heap. No more than nine owners are passed over: so many can be noisy."""
        noisy: list[tuple[int, int, str]] = []
        while self._firsts:
            place, owner = heappop(self._firsts)
            flights = self._flights[owner]
            if flights <= NOISY * self.in_flight:
                break
            noisy.append((flights, place, owner))
        else:
            _, place, owner = min(noisy)
            noisy.remove((self._flights[owner], place, owner))
        for _, later, passed in noisy:
            heappush(self._firsts, (later, passed))
        return owner

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
