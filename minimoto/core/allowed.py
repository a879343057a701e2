"""Which values a setting may have. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True)
class Allowed:
    """Numbers, bounds included unless said otherwise, or some words.

    Parameters:
        above: a number that is too small itself.
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    words: tuple[str, ...] = ()

    def expected(self, value: object) -> str:
        """What is expected instead of a value; empty: it is allowed."""
        if self.words:
            return "" if value in self.words else " or ".join(self.words)
        if not isinstance(value, int | float):
            return ""
        if not isfinite(value):
            return "a number"
        if self.least is not None and value < self.least:
            return f"{self.least:g} or more"
        if self.above is not None and value <= self.above:
            return f"more than {self.above:g}"
        return f"{self.most:g} at most" if self.most is not None and value > self.most else ""
