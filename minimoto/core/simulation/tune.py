"""Settings proposed for a load: the cheapest that keep what was promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from minimoto.core.fleet_limits import Limits
from minimoto.core.simulation.outcome import Outcome

COOLDOWNS = (0.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
WARM = (0, 1, 2, 3, 5, 8, 12, 20)
SPARE = (0, 1, 2, 3, 5, 8)
SHARES = (0.0, 0.5, 1.0)
TUNED = ("min_nodes", "spare_nodes", "spare_share", "cooldown", "thrifty")
"""The settings that are tried."""
MISSES = 0.01
"""Of the jobs, that may be late: tasks differ, and so do boots."""


@dataclass(frozen=True)
class Proposal:
    """Settings, and what they came to."""

    limits: Limits
    outcome: Outcome

    def keeps(self) -> bool:
        """Whether few enough jobs were late."""
        return self.outcome.missed <= MISSES * len(self.outcome.finish)


def tune(run: Callable[[Limits], Outcome], now: Limits) -> tuple[Proposal, Proposal]:
    """What the settings come to, and what better ones would.

    One setting after the other is tried with the others as they are best so far, until none gets better (coordinate
    descent): cheaper if few are late, fewer late otherwise.
    """
    begun = best = Proposal(now, run(now))
    while True:
        before = best
        for limits in _beside(best.limits, now):
            tried = Proposal(limits, run(limits))
            if _rank(tried) < _rank(best):
                best = tried
        if best is before:
            return begun, best


def _rank(proposal: Proposal) -> tuple[bool, int, float]:
    keeps = proposal.keeps()
    return not keeps, 0 if keeps else proposal.outcome.missed, proposal.outcome.cost


def _beside(limits: Limits, now: Limits) -> Iterator[Limits]:
    """The same with one setting changed; bounds that are the user's stay as they are."""
    for cooldown in COOLDOWNS:
        if cooldown != limits.cooldown:
            yield replace(limits, cooldown=cooldown)
    for least in WARM:
        if least != limits.min_nodes and least <= now.max_nodes:
            yield replace(limits, min_nodes=least)
    for spare in SPARE:
        if spare != limits.spare_nodes and spare <= now.max_nodes:
            yield replace(limits, spare_nodes=spare)
    for share in SHARES:
        if share != limits.spare_share:
            yield replace(limits, spare_share=share)
    yield replace(limits, thrifty=not limits.thrifty)
