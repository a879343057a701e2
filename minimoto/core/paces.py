"""How long a step takes an input on a type of machine, learnt from what services report. Pure.

Paces are ``step -> type -> seconds an input``, running means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from minimoto.core.fleet_view import JobView

Paces = Mapping[str, Mapping[str, float]]

LEARNING_RATE = 0.5


def learnt(paces: Paces, seen: Paces) -> dict[str, dict[str, float]]:
    """The paces after a further look."""
    new = {step: dict(types) for step, types in paces.items()}
    for step, types in seen.items():
        for type, seconds in types.items():
            before = new.setdefault(step, {}).get(type, seconds)
            new[step][type] = (1 - LEARNING_RATE) * before + LEARNING_RATE * seconds
    return new


def pace(paces: Paces, step: str, types: Sequence[str]) -> float | None:
    """Seconds an input on machines of these types, on average; of all types that are known where none of them is."""
    known = paces.get(step, {})
    here = [known[type] for type in types if type in known]
    return fmean(here or known.values()) if known else None


def by_type(paces: Paces, jobs: Iterable[JobView]) -> dict[str, float]:
    """Seconds that the running stages' inputs take one slot of a type; one unknown for any of them is left out."""
    left: dict[str, float] = {}
    for job in jobs:
        if paces.get(job.step):
            left[job.step] = left.get(job.step, 0.0) + job.inputs_left
    types = set.intersection(*(set(paces[step]) for step in left)) if left else set()
    return {type: sum(inputs * paces[step][type] for step, inputs in left.items()) for type in sorted(types)}
