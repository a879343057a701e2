"""The heartbeat of a service: renews the lease that it holds, says how it is, and notices why to stop.

One thread for the whole life of the service. The worker reads its findings through :meth:`Heartbeat.check`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from minimoto import __version__
from minimoto.core.node import NodeReport, NodeState
from minimoto.core.task import TaskKey
from minimoto.errors import LeaseLost, MinimotoError, NotFound

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from minimoto.interruption import Stop
    from minimoto.ports import Clock, Jobs, Nodes, Queue

BUSY_AFTER = 1.0
"""A node that works for so many seconds says so, between two beats."""

SETTLE = 0.25
"""Seconds within which all processes of a machine that shuts down have got their signal."""

MEMORY = 0.2
"""Weight of the newest task in the running mean of seconds a task."""


class Why(StrEnum):
    """Why a try is stopped: the service must stop, the job has ended, or the lease is no longer ours."""

    INTERRUPTED = "INTERRUPTED"
    JOB_ENDED = "JOB_ENDED"
    LEASE_LOST = "LEASE_LOST"


class Stopped(MinimotoError):
    """A try is stopped from outside; it says nothing about the task."""

    def __init__(self, why: Why, reason: str) -> None:
        super().__init__(reason)
        self.why = why


@dataclass(frozen=True)
class Pulse:
    """What a service says of itself, and how often.

    Parameters:
        every: seconds between two beats.
        lease: seconds for which each beat renews what is held.
    """

    node: str
    slot: int
    every: float
    lease: float


@dataclass(frozen=True)
class Held:
    """A message that is being worked on; ``key`` is ``None`` where it names no task (the older text form)."""

    receipt: str
    key: TaskKey | None = None
    owner: str = ""


class Heartbeat:
    """Beats in a thread from :meth:`start` to :meth:`close`.

    Parameters:
        checked: called with every :meth:`check`, so a few times a second while a task runs.
        recording: whether some of what was done is not recorded yet; the node is busy until then.
    """

    def __init__(
        self,
        queue: Queue,
        jobs: Jobs,
        nodes: Nodes,
        clock: Clock,
        pulse: Pulse,
        stop: Stop,
        log: FilteringBoundLogger,
        checked: Callable[[], None] = lambda: None,
        recording: Callable[[], bool] = lambda: False,
    ) -> None:
        self._queue = queue
        self._jobs = jobs
        self._nodes = nodes
        self._clock = clock
        self._pulse = pulse
        self._stop = stop
        self._log = log
        self._checked = checked
        self._recording = recording
        # A lease must survive one lost beat.
        self._every = min(pulse.every, pulse.lease / 3)
        self._changed = threading.Condition()
        self._renewing = threading.Lock()
        self._due = 0.0
        self._closing = False
        self._held: Held | None = None
        self._latest: Held | None = None
        self._worked = False
        self._verdict: Stopped | None = None
        self._progress: tuple[float, str] = (0.0, "")
        self._report = NodeReport(pulse.node, pulse.slot, NodeState.READY, 0.0, version=__version__)
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begins to beat, at once."""
        self._thread.start()

    def close(self, last: NodeState | None = None) -> None:
        """Ends the thread; with ``last``, says one more time how this node is."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        if last is not None:
            self._say(last)

    def hold(self, held: Held) -> None:
        """From now on, each beat renews this message and its lease."""
        with self._changed:
            self._held = self._latest = held
            self._verdict, self._progress = None, (0.0, "")
            self._worked = True
            self._report = replace(self._report, progressed=self._clock.now())
            soon = self._clock.monotonic() + BUSY_AFTER
            if self._report.state is NodeState.READY and soon < self._due:
                self._due = soon
                self._changed.notify()

    def drop(self) -> None:
        """Nothing is held any more. A renewal under way has ended on return, so that it hides nothing given back."""
        with self._renewing, self._changed:
            self._held = None

    def progress(self, done: float, note: str) -> None:
        """How far the try has come (0..1); published with the next beat."""
        with self._changed:
            self._progress = (done, note)
            self._report = replace(self._report, progressed=self._clock.now())

    def ended(self, seconds: float | None, failures: int) -> None:
        """A try ended, well if ``seconds`` says how long it took, after so many failures one after another."""
        with self._changed:
            mean = self._report.seconds_per_task
            if seconds is not None:
                mean = mean + MEMORY * (seconds - mean) if mean else seconds
            self._report = replace(self._report, failures=failures, seconds_per_task=mean)

    def worked(self, step: str, inputs: int, seconds: float) -> None:
        """A task of a step over so many inputs was done in so many seconds."""
        if inputs <= 0:
            return
        with self._changed:
            each, paces = seconds / inputs, dict(self._report.paces)
            mean = paces.get(step, each)
            paces[step] = mean + MEMORY * (each - mean)
            self._report = replace(self._report, paces=paces)

    def note(self, text: str) -> None:
        """Says with each beat why this node takes no work, such as a full disk; empty: it does."""
        with self._changed:
            self._report = replace(self._report, note=text)

    def check_settled(self) -> None:
        """As :meth:`check`, for what may be the consequence of a signal that has not reached everybody yet."""
        self._stop.wait_urgent(SETTLE)
        self.check()

    def check(self) -> None:
        """Raises ``Stopped`` if the try must end."""
        self._checked()
        if self._stop.urgent:
            raise Stopped(Why.INTERRUPTED, self._stop.reason)
        if self._verdict is not None:
            raise self._verdict

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closing and (left := self._due - self._clock.monotonic()) > 0:
                    self._changed.wait(left)
                if self._closing:
                    return
                self._due = self._clock.monotonic() + self._every
            self.beat()

    def beat(self) -> None:
        """One beat. What AWS refuses is tried again with the next."""
        with self._changed:
            busy, self._worked = self._worked or self._held is not None or self._recording(), False
        with self._renewing:
            if self._held is not None:
                self._renew(self._held, self._progress)
        self._part(self._say, NodeState.BUSY if busy else NodeState.READY)
        self.look()

    def look(self) -> None:
        """Notices a request to drain; what AWS refuses is tried again with the next beat."""
        self._part(self._look)

    def _part(self, call: Callable[..., None], *arguments: Any) -> None:
        """One part of a beat: what becomes of it keeps nothing from the others."""
        try:
            call(*arguments)
        except MinimotoError as error:
            self._log.warning("a heartbeat was lost", error=str(error))
        except Exception:
            # Of our own making; without this thread the lease would end while the task goes on.
            self._log.exception("a heartbeat was lost")

    def _renew(self, held: Held, progress: tuple[float, str]) -> None:
        if held.key is not None:
            self._part(self._renew_lease, held, held.key, progress)
        self._part(self._extend, held)

    def _renew_lease(self, held: Held, key: TaskKey, progress: tuple[float, str]) -> None:
        try:
            self._jobs.renew(key, held.owner, self._clock.now(), self._pulse.lease, *progress)
            state = self._jobs.get(key.job).state
        except LeaseLost:
            self._judge(held, Why.LEASE_LOST, "the lease was lost")
        except NotFound:
            self._judge(held, Why.JOB_ENDED, "the job is gone")
        else:
            if state.final:
                self._judge(held, Why.JOB_ENDED, f"the job is {state}")

    def _extend(self, held: Held) -> None:
        if not self._queue.extend(held.receipt, self._pulse.lease):
            self._log.warning("the message is gone from the queue while it is worked on", task=str(held.key))

    def _look(self) -> None:
        reason = self._nodes.drain_requested(self._pulse.node)
        if reason:
            self._stop.drain(f"drain requested: {reason}")

    def _judge(self, held: Held, why: Why, reason: str) -> None:
        self._log.warning("the try is stopped", task=str(held.key), reason=reason)
        self._verdict = Stopped(why, reason)

    def _say(self, state: NodeState) -> None:
        busy = state is NodeState.BUSY
        if self._stop.draining and state is not NodeState.FENCED:
            state = NodeState.DRAINING
        with self._changed:
            # A draining node without a task may be terminated.
            held = self._held or (self._latest if busy else None)
            task = str(held.key or "") if held else ""
            # Where it lasts, the watchdog ends the machine: nobody will work on it again.
            note = self._stop.lasting or self._report.note
            self._report = report = replace(self._report, state=state, beat=self._clock.now(), task=task, note=note)
        self._nodes.beat(report)
