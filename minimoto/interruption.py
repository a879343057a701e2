"""Why and how soon a service must stop: signals, the spot notice, a rebalance recommendation, maintenance, its group.

Two degrees. *Drain*: finish what is held, take nothing more. *Urgent*: give back what is held, now.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from minimoto.errors import CloudError
from minimoto.imds import Imds

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from minimoto.config import Config
    from minimoto.ports import Clock

LOOK_EVERY = 5.0
"""Seconds between two looks at the metadata service, as AWS recommends for the two-minute spot notice."""

MAINTENANCE_AHEAD = 900.0
"""A node that will be rebooted or retired within so many seconds takes nothing more."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stop:
    """Whether the service must stop; set from any thread, read by all. Once set it stays set.

    ``lasting`` says why no service of this machine will take anything any more; empty: the next one may.
    """

    def __init__(self) -> None:
        self._urgent = threading.Event()
        self._drain = threading.Event()
        self.reason = ""
        self.lasting = ""

    @property
    def urgent(self) -> bool:
        """Whether what is held must be given back at once."""
        return self._urgent.is_set()

    @property
    def draining(self) -> bool:
        """Whether nothing more may be taken."""
        return self._drain.is_set()

    def now(self, reason: str) -> None:
        """Stop at the next safe point."""
        if not self.urgent:
            self.reason = reason
        self._urgent.set()
        self._drain.set()

    def drain(self, reason: str, *, lasting: bool = False) -> None:
        """Finish what is held, then stop; ``lasting``: and so will every service of this machine after this one."""
        if lasting:
            self.lasting = reason
        if not self.draining:
            self.reason = reason
        self._drain.set()

    def wait_urgent(self, seconds: float) -> bool:
        """Waits so long, or until what is held must be given back; returns :attr:`urgent`."""
        return self._urgent.wait(seconds)

    def wait(self, seconds: float) -> bool:
        """Waits so long, or until the service must stop; returns :attr:`draining`."""
        return self._drain.wait(seconds)


def metadata_service(config: Config, environ: Mapping[str, str] | None = None) -> Imds | None:
    """The metadata service to ask, or ``None`` where there is none: the embedded AWS, unless it names one."""
    environ = os.environ if environ is None else environ
    named = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT")
    if not named and (config.local or environ.get("MINIMOTO_NODE")):
        return None
    return Imds.from_environment(environ)


def node_id(imds: Imds | None, environ: Mapping[str, str] | None = None) -> str:
    """This node's id: ``MINIMOTO_NODE``, else the instance's id, else the host's name."""
    environ = os.environ if environ is None else environ
    named = environ.get("MINIMOTO_NODE", "")
    if not named and imds is not None:
        try:
            named = imds.instance_id()
        except CloudError:
            named = ""
    return (named or socket.gethostname()).replace("/", "-")


class Watch:
    """Turns signals and the metadata service's notices into :class:`Stop`.

    Parameters:
        imds: ``None`` where there is no metadata service.
        every: seconds between two looks at it.
        leaving: called at each look while the Auto Scaling group is about to end this machine; ``None``: it is in none.
    """

    def __init__(
        self,
        stop: Stop,
        imds: Imds | None,
        clock: Clock,
        log: FilteringBoundLogger,
        every: float = LOOK_EVERY,
        leaving: Callable[[], None] | None = None,
    ) -> None:
        self._stop = stop
        self._imds = imds
        self._clock = clock
        self._log = log
        self._every = every
        self._leaving = leaving
        self._silent = False
        self._rebalance: float | None = None
        # The one queue that may be put to in a signal handler (its put is reentrant).
        self._signals: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    @contextmanager
    def running(self, *, signals: bool = False) -> Iterator[None]:
        """Watches in a thread; with ``signals``, takes over SIGTERM, SIGINT and SIGHUP (main thread only)."""
        before = {number: signal.signal(number, self._on_signal) for number in STOP_SIGNALS} if signals else {}
        self.look()
        thread = threading.Thread(target=self._run, name="interruption", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._signals.put(None)
            thread.join()
            for number, handler in before.items():
                signal.signal(number, handler)

    def look(self) -> None:
        """Asks the metadata service once."""
        if self._imds is None:
            return
        try:
            self._judge(self._imds)
        except CloudError as error:
            if not self._silent:
                self._log.warning("metadata service is silent", error=str(error))
            self._silent = True
        else:
            self._silent = False

    def _judge(self, imds: Imds) -> None:
        spot = imds.spot_action()
        if spot is not None:
            self._stop.now(f"spot interruption: {spot.action}")
            return
        for event in imds.maintenance():
            if event.not_before - self._clock.now() <= MAINTENANCE_AHEAD:
                self._stop.drain(f"maintenance: {event.code}", lasting=True)
        if self._leaving is not None and imds.ended_by_group():
            self._stop.drain("the Auto Scaling group ends this machine")
            self._leaving()
        self._judge_rebalance(imds.rebalance())

    def _judge_rebalance(self, recommended: float | None) -> None:
        """Drains while there is time: the notice may come minutes later, and would have the task begun anew.

        A group starts a replacement first, and only then ends this machine: until then it goes on.
        """
        if recommended is not None and recommended != self._rebalance:
            self._log.warning("rebalance recommended: this spot instance may be interrupted soon")
        self._rebalance = recommended
        if recommended is not None and self._leaving is None:
            self._stop.drain("rebalance recommended", lasting=True)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.put(number)

    def _run(self) -> None:
        while True:
            try:
                number = self._signals.get(timeout=None if self._imds is None else self._every)
            except queue.Empty:
                self.look()
                continue
            if number is None:
                return
            self._stop.now(signal.Signals(number).name)
