"""An event that a signal sets."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress


class StopEvent(threading.Event):
    """An event that a signal's handler may set, even while the thread that it interrupts waits for it. One may wait.

    With ``threading.Event`` the handler would now and then wait for a lock that its own thread holds, for ever.
    ``queue.SimpleQueue.put`` may be interrupted by itself (Python's library reference, "queue").
    """

    def __init__(self) -> None:
        super().__init__()
        self._asked = False
        self._told: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """Ends the wait, and all that come."""
        self._asked = True
        self._told.put(None)

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._asked

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it is set, ``timeout`` seconds at most; whether it was."""
        if not self._asked:
            with suppress(queue.Empty):
                self._told.get(timeout=timeout)
        return self._asked
