"""The system's clock behind :class:`minimoto.ports.Clock`."""

from __future__ import annotations

import time


class SystemClock:
    """Real time."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
