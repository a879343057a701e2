"""The fleet's size over time, and why: from the decisions that the ledger keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from minimoto.errors import NotFound, UsageError

if TYPE_CHECKING:
    from minimoto.wiring import Cloud

CAPACITY = ("busy", "idle", "booting", "suspect", "unable")
"""Conditions of a node that is, or may be, at work."""
KEPT_SECONDS = 30 * 86_400.0
"""How long the ledger keeps decisions."""
BEFORE = 3600.0
"""Seconds before an asked moment from which decisions are shown that led to it."""
_MOST = 5000
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Moment:
    """A decision that was kept.

    Parameters:
        nodes: as it was decided; ``None``: they could not be listed.
        moved: whether an Auto Scaling group had another size than at the decision before.
    """

    at: float
    nodes: int | None
    document: dict[str, Any]
    moved: bool = False

    @property
    def changed(self) -> bool:
        """Whether something was done about the fleet, by the watchdog or by its group."""
        return bool(self.document["done"]) or self.moved


def moments(cloud: Cloud, seconds: float) -> list[Moment]:
    """The decisions of the last seconds, oldest first."""
    found: list[Moment] = []
    for _, text in reversed(cloud.ledger.decisions(cloud.clock.now() - seconds, _MOST)):
        document = json.loads(text)
        nodes = size(document["inputs"])
        moved = bool(found) and "group" in document["inputs"] and found[-1].nodes != nodes
        found.append(Moment(document["at"], nodes, document, moved))
    return found


def size(inputs: Mapping[str, Any]) -> int | None:
    """Nodes that are, or may be, at work, by the inputs of a decision; ``None``: they could not be listed."""
    states = inputs.get("nodes")
    return None if states is None else sum(states.get(condition, 0) for condition in CAPACITY)


def at(found: Sequence[Moment], when: float) -> tuple[Moment, list[Moment]]:
    """What was decided last before a moment, and what changed the fleet in the hour before that.

    Raises:
        NotFound: nothing is kept from before it.
    """
    before = [moment for moment in found if moment.at <= when]
    if not before:
        raise NotFound(f"no decision is kept from before {text_of(when)}: they are kept for 30 days")
    last = before[-1]
    return last, [m for m in before[:-1] if m.changed and m.at >= last.at - BEFORE]


def moment_of(text: str, now: float) -> float:
    """``14:05``, ``14:05:30``, ``2026-11-26 14:05`` or ``2026-11-26T14:05`` in this computer's time zone.

    A time of day alone is the last one that has passed.

    Raises:
        UsageError: it is none of these, or in the future.
    """
    here = datetime.fromtimestamp(now, UTC).astimezone()
    if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text.strip()):
        parts = [int(part) for part in text.strip().split(":")]
        try:
            found = here.replace(hour=parts[0], minute=parts[1], second=(*parts, 0)[2], microsecond=0)
        except ValueError:
            raise UsageError(f"--at {text}: there is no such time of day") from None
        return (found if found <= here else found - timedelta(days=1)).timestamp()
    try:
        when = datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except ValueError:
        raise UsageError(f"--at {text}: a time such as 14:05 or 2026-11-26 14:05 is expected") from None
    if when > now:
        raise UsageError(f"--at {text}: that is yet to come")
    return when


def text_of(when: float) -> str:
    """A moment in this computer's time zone."""
    return datetime.fromtimestamp(when, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def bars(found: Sequence[Moment], start: float, end: float, width: int) -> str:
    """The fleet's size from ``start`` to ``end`` as ``width`` bars; a gap where it is not known."""
    if not found or end <= start:
        return ""
    sizes: list[int | None] = []
    for column in range(width):
        until = start + (end - start) * (column + 1) / width
        known = [moment.nodes for moment in found if moment.at <= until]
        sizes.append(known[-1] if known else None)
    most = max((size for size in sizes if size is not None), default=0)
    return "".join(" " if size is None else _BARS[round((len(_BARS) - 1) * size / max(1, most))] for size in sizes)
