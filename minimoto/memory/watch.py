"""Heartbeats, the watchdog's memory and the announcements, in memory."""

from __future__ import annotations

import threading

from minimoto.core.node import NodeReport

KEPT_SECONDS = 30 * 86_400.0


class MemoryNodes:
    """``minimoto.ports.Nodes`` in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reports: dict[tuple[str, int], NodeReport] = {}
        self._drains: dict[str, str] = {}

    def beat(self, report: NodeReport) -> None:
        with self._lock:
            self._reports[report.node, report.slot] = report

    def reports(self) -> list[NodeReport]:
        with self._lock:
            return [self._reports[key] for key in sorted(self._reports)]

    def forget(self, node: str) -> None:
        with self._lock:
            self._reports = {key: report for key, report in self._reports.items() if key[0] != node}
            self._drains.pop(node, None)

    def request_drain(self, node: str, reason: str) -> None:
        with self._lock:
            self._drains[node] = reason

    def drain_requested(self, node: str) -> str:
        with self._lock:
            return self._drains.get(node, "")


class MemoryLedger:
    """``minimoto.ports.Ledger`` in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder, self._until = "", 0.0
        self._notes: dict[str, str] = {}
        self._decisions: list[tuple[float, str]] = []

    def begin_pass(self, owner: str, now: float, lease: float) -> bool:
        with self._lock:
            if self._holder not in ("", owner) and self._until > now:
                return False
            self._holder, self._until = owner, now + lease
            return True

    def end_pass(self, owner: str) -> None:
        with self._lock:
            if self._holder == owner:
                self._holder = ""

    def recall(self, name: str) -> str:
        with self._lock:
            return self._notes.get(name, "")

    def remember(self, name: str, text: str) -> None:
        with self._lock:
            self._notes[name] = text

    def record(self, at: float, decision: str) -> None:
        with self._lock:
            kept = [each for each in self._decisions if each[0] > at - KEPT_SECONDS]
            self._decisions = [*kept, (at, decision)]

    def decisions(self, since: float, limit: int = 100) -> list[tuple[float, str]]:
        with self._lock:
            found = [each for each in self._decisions if each[0] >= since]
        return sorted(found, key=lambda each: each[0], reverse=True)[:limit]


class MemoryTopic:
    """``minimoto.ports.Topic`` in memory; ``announced`` holds subjects and messages."""

    def __init__(self) -> None:
        self.announced: list[tuple[str, str]] = []

    def announce(self, subject: str, message: str) -> None:
        self.announced.append((subject, message))
