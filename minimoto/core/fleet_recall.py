"""The watchdog's memory as text, as the ledger keeps it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from minimoto.core.fleet_memory import Memory, PendingLaunch, Strike
from minimoto.core.markets import Experience, Pool, Refusal
from minimoto.core.swaps import swaps_of


def dump(memory: Memory) -> str:
    """The memory as JSON."""
    return json.dumps(asdict(memory), separators=(",", ":"), sort_keys=True)


def load(text: str) -> Memory:
    """Reads :func:`dump`'s text; an empty one is a fresh memory.

    Raises:
        ValueError: the text is not such a memory.
    """
    if not text:
        return Memory()
    try:
        document: dict[str, Any] = json.loads(text)
        pending = document.get("pending")
        return Memory(
            **{
                **document,
                "pending": _pending(pending) if pending else None,
                "spot": {id: Pool(**pool) for id, pool in document.get("spot", {}).items()},
                "parting": tuple(document.get("parting", ())),
                "markets": _markets(document.get("markets", {})),
                "swaps": swaps_of(document.get("swaps", {})),
                "reported": tuple(document.get("reported", ())),
                "kept": tuple(document.get("kept", ())),
                "strikes": {id: Strike(**strike) for id, strike in document.get("strikes", {}).items()},
                "dead_letters": {
                    id: (str(why), float(at)) for id, (why, at) in document.get("dead_letters", {}).items()
                },
            }
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a watchdog's memory: {error}") from error


def _pending(document: Mapping[str, Any]) -> PendingLaunch:
    pools = tuple(Pool(**pool) for pool in document.get("pools", ()))
    return PendingLaunch(**{**document, "pools": pools, "instead_of": tuple(document.get("instead_of", ()))})


def _markets(document: Mapping[str, Any]) -> Experience:
    refusals = {name: Refusal(**refusal) for name, refusal in document.get("refusals", {}).items()}
    return Experience(**{**document, "refusals": refusals})
