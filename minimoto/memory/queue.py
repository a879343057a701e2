"""A queue in memory that behaves as a standard SQS queue with a dead-letter queue."""

from __future__ import annotations

import itertools
import math
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from minimoto.config import Config
from minimoto.core.message_body import check_body, clean_reason
from minimoto.ports import Clock, Message, QueueCounts

DEAD_HIDDEN = 300.0
LOOK_AGAIN = 0.05


@dataclass
class _Held:
    id: str
    body: str
    sent: float
    hidden_until: float
    received: int = 0
    receipt: str = ""
    reason: str = ""
    owner: str = ""


class MemoryQueue:
    """``minimoto.ports.Queue`` in memory. A receipt of an earlier delivery neither extends nor deletes."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._live: dict[str, _Held] = {}
        self._dead: dict[str, _Held] = {}

    def send(self, bodies: Sequence[str], delay: float = 0.0, owner: str = "") -> None:
        for body in bodies:
            check_body(body)
        with self._lock:
            for body in bodies:
                self._add(self._live, body, max(0, math.ceil(delay))).owner = owner

    def receive(self, limit: int = 1, wait: float = 0.0, visibility: float | None = None) -> list[Message]:
        hidden = self._config.lease if visibility is None else visibility
        deadline = self._clock.monotonic() + math.ceil(wait)
        while True:
            with self._lock:
                self._redrive()
                found = self._receive(self._live, max(1, min(10, limit)), hidden)
            left = deadline - self._clock.monotonic()
            if found or left <= 0:
                return [_message(held) for held in found]
            self._clock.sleep(min(LOOK_AGAIN, left))

    def extend(self, receipt: str, seconds: float) -> bool:
        with self._lock:
            held = self._holding(self._live, receipt)
            if held is None or held.hidden_until <= self._clock.now():
                return False
            held.hidden_until = self._clock.now() + max(0, math.ceil(seconds))
            return True

    def delete(self, receipts: Sequence[str]) -> None:
        self._delete(self._live, receipts)

    def bury(self, message: Message, reason: str) -> None:
        with self._lock:
            self._add(self._dead, message.body, 0).reason = clean_reason(reason)
            self.delete([message.receipt])

    def dead(self, limit: int = 100) -> list[tuple[Message, str]]:
        with self._lock:
            self._redrive()
            return [(_message(held), held.reason) for held in self._receive(self._dead, limit, DEAD_HIDDEN)]

    def forget_dead(self, receipts: Sequence[str]) -> None:
        self._delete(self._dead, receipts)

    def counts(self) -> QueueCounts:
        with self._lock:
            now = self._clock.now()
            visible = [held for held in self._live.values() if held.hidden_until <= now]
            hidden = [held for held in self._live.values() if held.hidden_until > now]
            delayed = sum(held.received == 0 for held in hidden)
            oldest = max((now - held.sent for held in visible), default=None)
            return QueueCounts(len(visible), len(hidden) - delayed, delayed, oldest)

    def _add(self, queue: dict[str, _Held], body: str, delay: float) -> _Held:
        now = self._clock.now()
        held = _Held(f"m{next(self._numbers)}", body, now, now + delay)
        queue[held.id] = held
        return held

    def _receive(self, queue: dict[str, _Held], limit: int, hidden: float) -> list[_Held]:
        now = self._clock.now()
        flight = Counter(held.owner for held in queue.values() if held.received and held.hidden_until > now)
        waiting = [held for held in queue.values() if held.hidden_until <= now]
        found: list[_Held] = []
        while waiting and len(found) < limit:
            held = min(waiting, key=lambda each: flight[each.owner])
            waiting.remove(held)
            found.append(held)
            flight[held.owner] += 1
            held.received += 1
            held.receipt = f"{held.id}:{held.received}"
            held.hidden_until = now + max(0, math.ceil(hidden))
        return found

    def _redrive(self) -> None:
        """What was received too often goes to the dead-letter queue where it would be received once more."""
        now = self._clock.now()
        for held in list(self._live.values()):
            if held.hidden_until <= now and held.received >= self._config.receive_limit:
                self._dead[held.id] = self._live.pop(held.id)

    def _delete(self, queue: dict[str, _Held], receipts: Sequence[str]) -> None:
        with self._lock:
            for receipt in receipts:
                held = self._holding(queue, receipt)
                if held is not None:
                    del queue[held.id]

    def _holding(self, queue: dict[str, _Held], receipt: str) -> _Held | None:
        held = queue.get(receipt.partition(":")[0])
        return held if held is not None and held.receipt == receipt else None


def _message(held: _Held) -> Message:
    return Message(held.id, held.body, held.receipt, held.received, held.sent)
