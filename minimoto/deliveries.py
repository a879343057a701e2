"""What is done with a message that was received: deleted, hidden, or buried.

Deletions go in batches, behind the worker's back. A message whose deletion is lost comes back, is seen to be done, and
is deleted then.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from minimoto.errors import CloudError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from minimoto.ports import Message, Queue

BATCH = 10
WAIT = 0.2
"""Seconds that a deletion waits for others to go with it: short against any lease."""

MOST_HIDDEN = 900.0
"""SQS's longest delay."""


class Deliveries:
    """The messages in our hands, from :meth:`start` to :meth:`close`.

    Parameters:
        receive_limit: deliveries after which SQS gives a message up.
    """

    def __init__(self, messages: Queue, receive_limit: int, log: FilteringBoundLogger) -> None:
        self._messages = messages
        self._receive_limit = receive_limit
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

    def delete(self, message: Message) -> None:
        """Deletes a message soon."""
        self._waiting.put(message.receipt)

    def hide(self, message: Message, seconds: float) -> None:
        """Hides a message for a while (0: gives it back at once).

        One that SQS would soon give up, through no fault of its own, is sent anew.
        """
        seconds = min(seconds, MOST_HIDDEN)
        if message.received + 1 >= self._receive_limit:
            self._messages.send([message.body], delay=seconds)
            self._messages.delete([message.receipt])
        else:
            self._messages.extend(message.receipt, seconds)

    def give_back(self, message: Message, seconds: float) -> None:
        """As :meth:`hide`; where that fails, the message comes back by itself when its visibility ends."""
        try:
            self.hide(message, seconds)
        except CloudError as error:
            self._log.warning("a message could not be given back; it comes back by itself", error=str(error))

    def bury(self, message: Message, reason: str) -> None:
        """Moves a message to the dead-letter queue."""
        self._messages.bury(message, reason)

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
