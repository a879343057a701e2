"""Where machines can be had: which market, type and zone to ask first, and what was learnt of each. Pure.

A pool is what EC2 calls one: the machines of a type in a zone. Each is wanted by what a task is expected to cost on it:

    price x seconds a task x (1 + interruptions an hour x hours that one loses)

so spot is asked before on-demand as long as it is cheaper, and a type that is twice as fast may cost twice as much.
What refused is left alone for a while, twice as long each time. How often spot machines of a pool were taken back is a
rate over the node-hours seen, forgotten by half every six hours, on top of what is known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

SPOT = "spot"
ON_DEMAND = "on-demand"

FIRST_PAUSE, LONGEST_PAUSE = 60.0, 960.0
"""Seconds for which a pool that refused is not asked again. Karpenter's, which does not double, is 180 s."""

FORGIVEN_SECONDS = 3600.0
"""A pool that has not refused for so long begins with the first pause again."""

USUAL_RATE = 0.0002
"""Interruptions of a spot machine an hour: the middle class of AWS's Spot Instance Advisor is 10 to 15 % a month."""

PRIOR_HOURS = 20.0
"""For how many node-hours of experience :data:`USUAL_RATE` counts."""

MOST_TOLD = 6
"""Refusals told in one line."""

HALF_LIFE = 6 * 3600.0

SPOT_SHARE = 0.4
"""Of the on-demand price, where the spot price is not known. AWS: "up to 90 percent" less; GPUs are seldom so cheap."""


@dataclass(frozen=True)
class Pool:
    """Machines of one type in one market and zone (empty: any).

    Parameters:
        price: US dollars an hour; ``None``: unknown.
    """

    market: str
    type: str
    zone: str = ""
    price: float | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.market} {self.type}" + (f" in {self.zone}" if self.zone else "")


def pools_of(market: str, types: Iterable[str], zones: Sequence[str] = ("",)) -> list[Pool]:
    """The pools that settings allow, in their order, without prices; where spot is wished for, on demand as well."""
    markets = (SPOT, ON_DEMAND) if market == SPOT else (ON_DEMAND,)
    return [Pool(each, type, zone) for each in markets for type in dict.fromkeys(types) for zone in zones]


@dataclass(frozen=True)
class Refusal:
    """A pool had nothing, and why (the provider's code). ``pause`` is seconds from ``at``."""

    at: float
    pause: float
    code: str

    @property
    def until(self) -> float:
        """When it may be asked again."""
        return self.at + self.pause


@dataclass(frozen=True)
class Experience:
    """What was seen of the pools, by their text; times are seconds since the epoch.

    Parameters:
        refusals: the newest of each pool.
        hours: of spot machines, decayed by :data:`HALF_LIFE` until ``at``.
        interruptions: of them, decayed likewise.
    """

    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    hours: Mapping[str, float] = field(default_factory=dict)
    interruptions: Mapping[str, float] = field(default_factory=dict)
    at: float | None = None

    def rate(self, pool: Pool) -> float:
        """Interruptions of one machine an hour."""
        if pool.market != SPOT:
            return 0.0
        seen, hours = self.interruptions.get(str(pool), 0.0), self.hours.get(str(pool), 0.0)
        return (seen + USUAL_RATE * PRIOR_HOURS) / (hours + PRIOR_HOURS)

    def refuses(self, pool: Pool, now: float) -> bool:
        """Whether it is left alone."""
        refusal = self.refusals.get(str(pool))
        return refusal is not None and now < refusal.until


def refused(experience: Experience, pools: Mapping[Pool, str], now: float) -> Experience:
    """The experience after pools refused; the values are the provider's codes."""
    new = dict(experience.refusals)
    for pool, code in pools.items():
        before = new.get(str(pool))
        recent = before is not None and now - before.until < FORGIVEN_SECONDS
        pause = min(LONGEST_PAUSE, 2 * before.pause) if before is not None and recent else FIRST_PAUSE
        new[str(pool)] = Refusal(now, pause, code)
    return replace(experience, refusals=new)


def served(experience: Experience, pools: Iterable[Pool]) -> Experience:
    """The experience after pools gave machines."""
    gone = {str(pool) for pool in pools}
    return replace(experience, refusals={name: r for name, r in experience.refusals.items() if name not in gone})


def lived(experience: Experience, running: Iterable[Pool], interrupted: Iterable[Pool], now: float) -> Experience:
    """The experience after a further look.

    Parameters:
        running: the pool of each machine that has run since the last look.
        interrupted: the pool of each spot machine that was taken back since then.
    """
    passed = max(0.0, now - experience.at) if experience.at is not None else 0.0
    kept = 0.5 ** (passed / HALF_LIFE)
    hours = {name: value * kept for name, value in experience.hours.items() if value * kept > 1e-3}
    taken = {name: value * kept for name, value in experience.interruptions.items() if value * kept > 1e-3}
    for pool in running:
        if pool.market == SPOT:
            hours[str(pool)] = hours.get(str(pool), 0.0) + passed / 3600
    for pool in interrupted:
        taken[str(pool)] = taken.get(str(pool), 0.0) + 1.0
    refusals = {name: r for name, r in experience.refusals.items() if now - r.until < FORGIVEN_SECONDS}
    return Experience(refusals, hours, taken, now)


def prices(pools: Sequence[Pool]) -> dict[Pool, float]:
    """US dollars an hour; where it is not known, what the type costs on demand, or the first one, and a share on spot.

    Where nothing is known a node on demand costs 1: proportions are right then, and nothing else.
    """
    known = {pool.type: pool.price for pool in pools if pool.market == ON_DEMAND and pool.price is not None}
    usual = known.get(pools[0].type, 1.0) if pools else 1.0

    def guessed(pool: Pool) -> float:
        return known.get(pool.type, usual) * (SPOT_SHARE if pool.market == SPOT else 1.0)

    return {pool: guessed(pool) if pool.price is None else pool.price for pool in pools}


def in_order(
    pools: Sequence[Pool],
    experience: Experience,
    now: float,
    *,
    seconds: Mapping[str, float] | None = None,
    lost: float = 0.0,
    urgent: bool = False,
) -> tuple[Pool, ...]:
    """The pools that may be asked, the best first; of equals the earlier.

    Parameters:
        seconds: of a task by type; only their proportions matter. A type that is not in it is as fast as the first.
        lost: hours of a machine that an interruption costs: a boot, and half a task.
        urgent: on-demand first: there would be no time to replace a machine that is taken back.
    """
    first = pools[0] if pools else None
    price = prices(pools)

    def cost(pool: Pool) -> tuple[bool, float]:
        pace = (seconds or {}).get(pool.type, (seconds or {}).get(first.type if first else "", 1.0))
        return urgent and pool.market == SPOT, price[pool] * pace * (1 + experience.rate(pool) * lost)

    return tuple(sorted((pool for pool in pools if not experience.refuses(pool, now)), key=cost))


def refusals_text(refused: Mapping[Pool, str]) -> str:
    """Who refused and with which code, for a person; zones are not told apart."""
    told = list(dict.fromkeys(f"{pool.market} {pool.type}: {code}" for pool, code in refused.items()))
    more = f" and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
    return ", ".join(told[:MOST_TOLD]) + more


def paused_text(pools: Sequence[Pool], experience: Experience, now: float) -> str:
    """What is left alone and for how long yet, for a person; empty: nothing is."""
    waiting = {pool: r for pool in pools if (r := experience.refusals.get(str(pool))) and now < r.until}
    if not waiting:
        return ""
    soonest = min(refusal.until for refusal in waiting.values()) - now
    told = refusals_text({pool: refusal.code for pool, refusal in waiting.items()})
    return f"nothing could be had ({told}): asked again in {soonest:.0f} s"
