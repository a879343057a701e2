"""minimoto's rule for the fleet's size against those of others, on simulated loads.

    python -m benchmarks.fleet [--workloads mix,bursts] [--tables bound,rivals,swaps] [--only Buildkite] [--hours 6]
        [--seed 1]

Three tables. The first: what a target costs against the least that any rule could pay (the clairvoyant's bound), and
what went wrong. The second: for every rule of others, at several of its settings, a setting of minimoto's own rule that
is both cheaper and quicker at the 95th percentile, or says that there is none. The third: what going back to spot
brings where spot nodes come and go in turns. Nothing is timed; the same seed prints the same. With ``--hours`` only
that much of each load, from its beginning: a row of a whole day takes minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import ceil

from benchmarks.measure import machine, versions
from minimoto.cli.simulate import quiet
from minimoto.core.fleet import Wish
from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import View
from minimoto.core.policies.target import Target
from minimoto.core.simulate import RULES, WORKLOADS, Outcome, Workload, production, simulate
from minimoto.core.simulation.clairvoyant import clairvoyant
from minimoto.core.simulation.events import Rule
from minimoto.core.simulation.market import ON_DEMAND, spot
from minimoto.core.simulation.rivals import Buildkite, CellProfiler, Keda, Runners, SkyPilot, TargetTracking
from minimoto.core.simulation.rule import Production
from minimoto.core.simulation.sessions import planned, unforeseen
from minimoto.core.simulation.world import World

BASE = Limits(min_nodes=0, max_nodes=500, task_seconds=60.0)
TARGETS_OF_BOUNDS = (900.0, 1800.0)
ONE_AT_A_TIME = ("small", "medium", "trickle")
"""Loads of which one node does nearly all."""
FEW = 100
"""Jobs up to which they are planned one by one."""
TARGETS = (60, 200, 250, 300, 350, 400, 500, 600, 750, 900, 1200, 1800, 2700, 3600, 14400, 43200)
COOLDOWNS = (15, 60, 120, 300, 600, 900)
SPARE = (1, 2, 3, 5, 10, 20)
SHARES = (0.5, 1.0)
TURNS = (2, 5, 10, 20, 40, 120)
"""Minutes with spot nodes, and as many without."""
WARM = (1, 2, 3, 4, 5, 8, 12, 16, 20, 30, 50)


def rivals() -> Iterator[tuple[str, Callable[[], Rule]]]:
    """Their rules, at their defaults and around them."""
    yield "minimoto's first rule", lambda: RULES["classic"](BASE)
    for each in (1, 5, 20):
        yield f"KEDA, {each} messages a node", lambda each=each: Keda(each=each)  # type: ignore[misc]
    for latency in (300.0, 900.0):
        yield f"AWS target tracking, {latency:.0f} s", lambda wait=latency: TargetTracking(latency=wait)  # type: ignore[misc]
    yield "Buildkite", Buildkite
    yield "GitHub runners", Runners
    for size in (5, 20):
        yield f"Distributed-CellProfiler, {size} nodes", lambda size=size: CellProfiler(size=size)  # type: ignore[misc]
    for threshold in (1, 5, 20):
        yield f"SkyPilot queue, {threshold}", lambda most=threshold: SkyPilot(threshold=most)  # type: ignore[misc]


def settings() -> Iterator[Limits]:
    """Settings of minimoto's rule, those that most often win first."""
    for target in TARGETS:
        yield replace(BASE, target_seconds=target, cooldown=15)
    for target in (60, 300, 600, 900):
        for cooldown in COOLDOWNS:
            yield replace(BASE, target_seconds=target, cooldown=cooldown)
    for target, cooldown in ((60, 15), (60, 300), (60, 600), (60, 900), (900, 15), (14400, 300), (43200, 300)):
        yield replace(BASE, target_seconds=target, cooldown=cooldown)
        for spare in SPARE:
            yield replace(BASE, target_seconds=target, cooldown=cooldown, spare_nodes=spare)
        for share in SHARES:
            yield replace(BASE, target_seconds=target, cooldown=cooldown, spare_share=share)
    for least in WARM:
        for target, cooldown in ((60, 15), (60, 600), (300, 15), (900, 15)):
            yield replace(BASE, target_seconds=target, cooldown=cooldown, min_nodes=least)
    for target in (600, 900, 1800, 3600):
        yield replace(BASE, target_seconds=target, cooldown=15, thrifty=True)


class Ours:
    """minimoto's rule on one workload; each setting is simulated once, when it is first needed."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self._workload, self._seed = workload, seed
        self._known: dict[Limits, Outcome] = {}

    def at(self, limits: Limits) -> Outcome:
        """What a setting comes to."""
        if limits not in self._known:
            rule = production("target", limits)
            self._known[limits] = simulate(self._workload, rule, limits.target_seconds, self._seed)
        return self._known[limits]

    def better_than(self, other: Outcome) -> Limits | None:
        """A setting that is no dearer and no slower, if there is one."""
        for limits in sorted(settings(), key=lambda one: one not in self._known):
            ours = self.at(limits)
            if ours.cost <= other.cost and ours.finish_at(0.95) <= other.finish_at(0.95):
                return limits
        return None


def load(name: str, seed: int, hours: float | None) -> Workload:
    """A load, or its beginning."""
    whole = WORKLOADS[name](seed)
    if hours is None:
        return whole
    jobs = tuple(job for job in whole.jobs if job.at < hours * 3600)
    return replace(whole, jobs=jobs, seconds=min(whole.seconds, hours * 3600))


def against_the_bound(seed: int, names: list[str], hours: float | None) -> None:
    """The first table."""
    notes = []
    print("| load | target | thrifty | cost | least | ratio | p95 | late | killed | flaps | swaps |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name in names:
        workload = load(name, seed, hours)
        for target in TARGETS_OF_BOUNDS:
            with quiet():
                least = clairvoyant(workload, target).least
            for thrifty in (False, True):
                limits = replace(BASE, target_seconds=target, cooldown=15, thrifty=thrifty)
                told = simulate(workload, production("target", limits), target, seed)
                print(
                    f"| {name} | {target:.0f} s | {'on' if thrifty else 'off'} | ${told.cost:.2f} | ${least:.2f} "
                    f"| {told.cost / least:.2f} | {told.finish_at(0.95):.0f} s | {told.missed} of {len(told.finish)} "
                    f"| {told.killed} | {told.flaps} | {told.swaps} |",
                    flush=True,
                )
        if name in ONE_AT_A_TIME:
            some = [f"${unforeseen(workload):.2f} if nodes are started at once"]
            some += [
                f"${unforeseen(workload, target):.2f} waiting within {target:.0f} s" for target in TARGETS_OF_BOUNDS
            ]
            notes.append(f"{name}: whoever does not know what comes pays at least {', '.join(some)}")
        if len(workload.jobs) <= FEW and all(job.count == 1 for job in workload.jobs):
            plans = ", ".join(f"${planned(workload, target):.2f} within {target:.0f} s" for target in TARGETS_OF_BOUNDS)
            notes.append(f"{name}: one node at a time, planned by who knows all jobs beforehand, costs {plans}")
    print("".join(f"\n{note}" for note in notes))


def against_others(seed: int, names: list[str], hours: float | None, only: list[str]) -> None:
    """The second table."""
    print("| load | rule | cost | p95 | killed | flaps | minimoto, cheaper and quicker | cost | p95 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in names:
        workload = load(name, seed, hours)
        ours = Ours(workload, seed)
        for title, make in rivals():
            if only and not any(part in title for part in only):
                continue
            told = simulate(workload, make(), 300.0, seed)
            row = (
                f"| {name} | {title} | ${told.cost:.2f} | {told.finish_at(0.95):.0f} s | {told.killed} | {told.flaps} "
            )
            better = ours.better_than(told)
            if better is None:
                print(row + "| none found | | |", flush=True)
                continue
            found = ours.at(better)
            print(f"{row}| {_named(better)} | ${found.cost:.2f} | {found.finish_at(0.95):.0f} s |", flush=True)


class Stays(Target):
    """The rule without a way back to spot but by going idle."""

    def wish(self, view: View, dead: Mapping[str, str], now: float) -> Wish:
        return replace(super().wish(view, dead, now), swap=None)


def on_odd_markets(seed: int, hours: float | None) -> None:
    """The third table: a day of mixed folders, half of its minutes without spot nodes."""
    print(
        "| minutes with and without spot | target | cost without swaps | with them | swaps | late without | with them |"
    )
    print("|---|---|---|---|---|---|---|")
    workload = load("mix", seed, hours)
    for minutes in TURNS:
        turn = 60.0 * minutes
        droughts = [(2 * turn * n, 2 * turn * n + turn) for n in range(ceil(1.2 * workload.seconds / (2 * turn)))]
        odd = replace(workload, world=World(offers=(spot(droughts=droughts), ON_DEMAND)))
        for target in TARGETS_OF_BOUNDS:
            limits = replace(BASE, target_seconds=target, cooldown=15)
            stays, told = (simulate(odd, Production("target", rule, limits), target, seed) for rule in (Stays, Target))
            print(
                f"| {minutes} | {target:.0f} s | ${stays.cost:.2f} | ${told.cost:.2f} | {told.swaps} "
                f"| {stays.missed} of {len(stays.finish)} | {told.missed} of {len(told.finish)} |",
                flush=True,
            )


def _named(limits: Limits) -> str:
    warm = f", min_nodes={limits.min_nodes}" if limits.min_nodes else ""
    spare = f", spare_nodes={limits.spare_nodes}" if limits.spare_nodes else ""
    share = f", spare_share={limits.spare_share:g}" if limits.spare_share else ""
    thrifty = ", thrifty" if limits.thrifty else ""
    return f"target_seconds={limits.target_seconds:.0f}, cooldown={limits.cooldown:.0f}{warm}{spare}{share}{thrifty}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--tables", default="bound,rivals,swaps")
    parser.add_argument("--only", action="append", default=[], help="part of a rule's name; of the second table")
    parser.add_argument("--hours", type=float, help="of each load only so much")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    names = given.workloads.split(",")
    part = f", the first {given.hours:g} hours" if given.hours else ""
    print(f"## The fleet's size, simulated (seed {given.seed}{part})\n\n{machine()}\n{versions('scipy')}\n")
    tables = given.tables.split(",")
    if "bound" in tables:
        against_the_bound(given.seed, names, given.hours)
        print()
    if "rivals" in tables:
        against_others(given.seed, names, given.hours, given.only)
        print()
    if "swaps" in tables:
        on_odd_markets(given.seed, given.hours)


if __name__ == "__main__":
    main()
