"""What the services of a node tell the Auto Scaling group that the node belongs to.

A node is protected from scale-in while any of its slots is busy, and for a while after that, so that a row of tasks
costs two calls and not two for each. The slots of a node know of each other by the kernel's locks alone:

<data>/group.lock        held while one of them looks at, or changes, what follows
<data>/busy-<n>.lock     held by the service in the slot while it is busy; free when the process is dead
<data>/protected         the id of the node that was protected last; a copy in an image means nothing
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from minimoto.errors import CloudError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from minimoto.ports import Clock, ScalingGroup

EXTEND_EVERY = 100.0
"""Seconds between two requests for more time: a third of what the group's hook gives at once."""


class InGroup:
    """One slot's part.

    Parameters:
        folder: of the node's locks.
        rest: seconds without a task until the slot counts as idle.
    """

    def __init__(
        self,
        group: ScalingGroup,
        clock: Clock,
        log: FilteringBoundLogger,
        node: str,
        folder: Path,
        slot: int,
        rest: float,
    ) -> None:
        from filelock import FileLock

        self._group, self._clock, self._log, self._node = group, clock, log, node
        self._folder, self._slot, self._rest = folder, slot, rest
        self._together = FileLock(folder / "group.lock")
        self._mark = FileLock(folder / f"busy-{slot}.lock")
        self._protected = folder / "protected"
        self._extended: float | None = None

    def begin(self) -> None:
        """At the start of a service: what one that was killed left behind ends after a rest, as after a task."""
        with self._together:
            if self._is_protected():
                self._mark.acquire()

    def busy(self) -> None:
        """A message is about to be worked on."""
        if self._mark.is_locked:
            return
        with self._together:
            self._mark.acquire()
            if not self._is_protected() and self._told(True):
                self._protected.write_text(self._node, "utf-8")

    def idle(self, seconds: float) -> None:
        """No message has come for so long."""
        if self._mark.is_locked and seconds >= self._rest:
            with self._together:
                self._rested()

    def leaving(self) -> None:
        """The group is about to end this node: it is asked for more time, now and then, while the service lives.

        Called from another thread than everything else here.
        """
        now = self._clock.monotonic()
        if self._extended is not None and now - self._extended < EXTEND_EVERY:
            return
        self._extended = now
        try:
            self._group.extend(self._node)
        except CloudError as error:
            self._log.warning("the group gives no more time", error=str(error))

    def close(self) -> None:
        """The service ends. The last one of a node that the group wants to end says that it holds nothing any more."""
        with self._together:
            others = self._rested()
            if self._extended is not None and not others:
                self._released()

    def _rested(self) -> bool:
        """This slot is idle; whether another of the node is busy."""
        self._mark.release()
        others = self._others_busy()
        # A node that is being ended is protected by nothing but its hook.
        if not others and self._is_protected() and (self._extended is not None or self._told(False)):
            self._protected.unlink()
        return others

    def _others_busy(self) -> bool:
        from filelock import FileLock, Timeout

        for file in self._folder.glob("busy-*.lock"):
            if file.name == f"busy-{self._slot}.lock":
                continue
            try:
                with FileLock(file, timeout=0):
                    continue
            except Timeout:
                return True
        return False

    def _is_protected(self) -> bool:
        return self._protected.exists() and self._protected.read_text("utf-8") == self._node

    def _told(self, busy: bool) -> bool:
        try:
            self._group.protect(self._node, busy)
        except CloudError as error:
            # The hook waits for the task all the same.
            self._log.warning("scale-in protection could not be set", busy=busy, error=str(error))
            return False
        self._log.info("protected from scale-in" if busy else "no longer protected from scale-in")
        return True

    def _released(self) -> None:
        try:
            self._group.release(self._node)
        except CloudError as error:
            self._log.warning("the group was not told that this machine may go", error=str(error))
