"""Calls that fail without ending the pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from minimoto.errors import CloudError, Conflict, LeaseLost, NotFound

T = TypeVar("T")

REFUSED = (CloudError, NotFound, Conflict, LeaseLost)
"""What a port may raise although minimoto is set up rightly."""


class Problems:
    """What AWS refused in this pass, one line each. What depends on it is held; the rest goes on."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def attempt(self, call: Callable[[], T], instead: T) -> T:
        """The call's result, or ``instead`` when AWS refuses or fails it."""
        try:
            return call()
        except REFUSED as error:
            self.note(str(error))
            return instead

    def did(self, call: Callable[[], object]) -> bool:
        """Makes the call; ``False`` when AWS refused or failed it."""
        try:
            call()
        except REFUSED as error:
            self.note(str(error))
            return False
        return True

    def note(self, line: str) -> None:
        """Adds a line, unless it was said."""
        text = " ".join(line.split())
        if text not in self.lines:
            self.lines.append(text)
