"""Deletes finished messages in batches, behind the worker's back.

A message whose deletion is lost comes back, is seen to be done, and is deleted then.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from minimoto.errors import CloudError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from minimoto.ports import Queue

BATCH = 10
WAIT = 0.2
"""Seconds that a deletion waits for others to go with it: short against any lease."""


class Deletions:
    """A thread that deletes what it is told, from :meth:`start` to :meth:`close`."""

    def __init__(self, messages: Queue, log: FilteringBoundLogger) -> None:
        self._messages = messages
        self._log = log
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="deletions", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def close(self) -> None:
        """Deletes what is waiting, and ends."""
        self._waiting.put(None)
        self._thread.join()

    def delete(self, receipt: str) -> None:
        """Deletes a message soon."""
        self._waiting.put(receipt)

    def _run(self) -> None:
        going_on = True
        while going_on:
            going_on, batch = self._collect()
            if not batch:
                continue
            try:
                self._messages.delete(batch)
            except CloudError as error:
                self._log.warning("messages could not be deleted; they will come back", error=str(error))

    def _collect(self) -> tuple[bool, list[str]]:
        """Whether to go on, and the receipts that came within a moment of the first."""
        first = self._waiting.get()
        if first is None:
            return False, []
        batch = [first]
        until = time.monotonic() + WAIT
        while len(batch) < BATCH and (left := until - time.monotonic()) > 0:
            try:
                receipt = self._waiting.get(timeout=left)
            except queue.Empty:
                break
            if receipt is None:
                return False, batch
            batch.append(receipt)
        return True, batch
