"""Receives several messages at once while tasks are short, so that a request is shared by them.

What waits here is hidden from other nodes; so it is never more than half a second of work, and it is given back as soon
as a task takes longer than was thought.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minimoto.deliveries import Deliveries
    from minimoto.ports import Clock, Message, Queue

AHEAD = 0.5
"""Seconds of work that may wait here."""

MOST = 10
WEIGHT = 0.2
"""Weight of the newest task in the running mean, where it was shorter than that; a longer one counts in full."""


class Prefetch:
    """The messages that were received and are not worked on yet. Used by one thread.

    Parameters:
        lease: seconds for which a message is hidden when it is received.
    """

    def __init__(self, queue: Queue, deliveries: Deliveries, clock: Clock, lease: float) -> None:
        self._queue = queue
        self._deliveries = deliveries
        self._clock = clock
        self._lease = lease
        self._waiting: deque[Message] = deque()
        self._received = 0.0
        self._mean: float | None = None
        self._began = 0.0

    def next(self, wait: float) -> Message | None:
        """A message, received earlier or now; ``None`` after ``wait`` seconds without one.

        Raises:
            CloudError: the queue failed.
        """
        self._began = now = self._clock.monotonic()
        if self._waiting and now - self._received > self._lease / 2:
            self.give_back()
        if not self._waiting:
            self._waiting.extend(self._queue.receive(self._limit(), wait=wait, visibility=self._lease))
            self._began = self._received = self._clock.monotonic()
        return self._waiting.popleft() if self._waiting else None

    def worked(self) -> None:
        """The message that was taken last has been worked on; its time decides how many are taken next."""
        seconds = self._clock.monotonic() - self._began
        if self._mean is None or seconds > self._mean:
            self._mean = seconds
        else:
            self._mean += WEIGHT * (seconds - self._mean)

    def relent(self) -> None:
        """Gives back what waits, if the present task takes long; to be called from time to time during a task."""
        if self._waiting and self._clock.monotonic() - self._began > AHEAD:
            self.give_back()

    def give_back(self) -> None:
        """Gives back what waits."""
        while self._waiting:
            self._deliveries.give_back(self._waiting.popleft(), 0.0)

    def _limit(self) -> int:
        if self._mean is None:
            return 1
        return max(1, min(MOST, int(AHEAD / max(self._mean, 1e-3))))
