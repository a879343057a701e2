"""What every resource of a deployment has in common: found by tag, made if missing, compared, repaired, removed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minimoto.aws.resources.context import RUN_TAG, Context
from minimoto.config import Config

MOST_TOLD = 80
"""Characters of a difference that are worth telling."""


@dataclass(frozen=True)
class Found:
    """A resource that exists.

    Parameters:
        id: what AWS calls it: an id, a name, a URL or an ARN.
        name: what people call it; the id where there is nothing better.
        details: what AWS said about it when it was found.
    """

    id: str
    name: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """One property of a resource that setup looks after.

    Parameters:
        current, wanted: comparable values; ``None`` where there is nothing.
        write: gives the property a value (``None`` takes it away); without it, a difference is only reported.
        advice: what a person can do about a difference that setup does not repair.
    """

    name: str
    current: Any
    wanted: Any
    write: Callable[[Any], None] | None = None
    advice: str = ""

    @property
    def differs(self) -> bool:
        return bool(self.current != self.wanted)

    def __str__(self) -> str:
        if isinstance(self.current, Mapping) and isinstance(self.wanted, Mapping):
            line = f"{self.name}: {', '.join(_differing(self.current, self.wanted))}"
        else:
            line = f"{self.name} is {_short(self.current)}, not {_short(self.wanted)}"
        return f"{line}; {self.advice}" if self.advice else line


class Resource(ABC):
    """One thing that setup makes.

    Parameters:
        key: how other resources refer to it.
        kind: how people call it.
        role: its tag ``minimoto:role``.
    """

    key: str
    kind: str
    role: str

    def wanted(self, ctx: Context) -> bool:
        """Whether the settings ask for it; what they do not ask for is not made."""
        return True

    def left_over(self, ctx: Context) -> Sequence[Found]:
        """What earlier settings asked for and these do not; setup retires it in the end."""
        return ()

    def retire(self, ctx: Context, found: Found) -> None:
        """Removes what is left over, without ending what is at work."""
        self.remove(ctx, found)

    @abstractmethod
    def find_all(self, ctx: Context) -> Sequence[Found]:
        """Everything of this kind that carries the deployment's tags."""

    @abstractmethod
    def make(self, ctx: Context) -> Found:
        """Makes it, complete."""

    @abstractmethod
    def remove(self, ctx: Context, found: Found) -> None:
        """Removes it, and waits where the next removal needs that; nothing if it is gone already."""

    def find(self, ctx: Context) -> Found | None:
        """The one that the deployment uses, or ``None``."""
        return next(iter(self.find_all(ctx)), None)

    def find_made(self, ctx: Context) -> Sequence[Found]:
        """What this very run made, also where AWS's answer to its making was lost."""
        return [found for found in self.find_all(ctx) if found.tags.get(RUN_TAG) == ctx.token]

    def settings(self, ctx: Context, found: Found) -> Sequence[Setting]:
        """Its properties, as they are and as they should be."""
        return ()

    def drift(self, ctx: Context, found: Found) -> list[Setting]:
        """The properties that are not as they should be."""
        return [setting for setting in self.settings(ctx, found) if setting.differs]

    def settle(self, ctx: Context, found: Found) -> None:
        """Waits, at the end of setup, for what AWS does meanwhile."""
        return

    def record(self, ctx: Context, found: Found) -> Config:
        """The settings with its id in them."""
        return ctx.config

    def label(self, found: Found | None = None) -> str:
        """What messages call it."""
        return f"{self.kind} {found.name or found.id}" if found else self.kind


def _differing(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """What of two documents is not the same: short values as they are, long ones by their name alone."""
    for key in (*wanted, *(key for key in current if key not in wanted)):
        seen, needed = current.get(key), wanted.get(key)
        if seen != needed:
            told = f" is {_short(seen)}, not {_short(needed)}"
            yield f"{key}{told}" if len(told) <= MOST_TOLD else f"{key} differs"


def _short(value: Any) -> str:
    text = "missing" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
