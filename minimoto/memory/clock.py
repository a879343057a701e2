"""A clock that stands still until it is told to move."""

from __future__ import annotations

import threading


class FakeClock:
    """``minimoto.ports.Clock`` for tests: sleeping moves it, and takes no time.

    Parameters:
        now: seconds since the epoch at the start.
    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._lock = threading.Lock()
        self._now = now
        self._passed = 0.0

    def now(self) -> float:
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        with self._lock:
            return self._passed

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Moves the clock forward."""
        if seconds < 0:
            raise ValueError(f"time does not go back ({seconds} s)")
        with self._lock:
            self._now += seconds
            self._passed += seconds
