"""What a run of setup has done, so that it can be undone, newest first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from minimoto.aws.calls import translate
from minimoto.errors import MinimotoError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One change, and what takes it back."""

    what: str
    undo: Callable[[], bool]


@dataclass
class Journal:
    """Steps in the order in which they were begun; each is noted before it is tried."""

    steps: list[Step] = field(default_factory=list)

    def note(self, what: str, undo: Callable[[], bool]) -> None:
        """Notes a change that is about to be made; ``undo`` says whether there was anything to take back."""
        self.steps.append(Step(what, undo))

    def roll_back(self, say: Say) -> list[str]:
        """Takes every step back, newest first; returns one line for each that could not be."""
        failures = []
        while self.steps:
            step = self.steps.pop()
            try:
                if step.undo():
                    say(f"undone   {step.what}")
            except Exception as error:
                known = error if isinstance(error, MinimotoError | OSError) else translate(error, step.what)
                failures.append(f"{step.what} could not be removed: {known or repr(error)}")
                say(failures[-1])
        return failures


@contextmanager
def unhurried(say: Say) -> Iterator[None]:
    """Lets neither Ctrl-C nor SIGTERM end what must be finished."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def wait(number: int, frame: Any) -> None:
        say("still undoing what was made; please wait")

    before = {number: signal.signal(number, wait) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
