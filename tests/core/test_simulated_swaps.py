"""Going back to spot over hours: after a drought, and on a market that gives and takes all the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import View
from minimoto.core.markets import LONGEST_PAUSE
from minimoto.core.simulate import WORKLOADS, outcome, production
from minimoto.core.simulation.events import Orders, Simulation
from minimoto.core.simulation.market import ON_DEMAND, spot
from minimoto.core.simulation.outcome import Outcome
from minimoto.core.simulation.rule import Production
from minimoto.core.simulation.trace import Trace
from minimoto.core.simulation.workload import HOUR, Workload
from minimoto.core.simulation.world import World
from minimoto.core.swaps import LASTING, LOST_PAUSE

LIMITS = Limits(min_nodes=0, max_nodes=100, task_seconds=60, cooldown=15)


@dataclass
class Told:
    """The rule of production; keeps when it had swaps begun."""

    rule: Production
    swaps: list[float] = field(default_factory=list)
    by_metrics: bool = False

    @property
    def name(self) -> str:
        return self.rule.name

    @property
    def every(self) -> float:
        return self.rule.every

    def step(self, view: View, now: float) -> Orders:
        orders = self.rule.step(view, now)
        self._swap = orders.swap
        return orders

    def launched(self, ids: Sequence[str], refusing: Sequence[str], now: float) -> None:
        self.swaps += [now] if ids and self._swap else []
        self.rule.launched(ids, refusing, now)


def dry(hours: float, *droughts: tuple[float, float], interruptions: float = 0.0, seed: int = 1) -> Workload:
    """The mix on a market with droughts."""
    mix = WORKLOADS["mix"](seed)
    jobs = tuple(job for job in mix.jobs if job.at < hours * HOUR)
    world = World(offers=(spot(interruptions, droughts), ON_DEMAND))
    return replace(mix, jobs=jobs, seconds=hours * HOUR, world=world)


def run(workload: Workload, target: float, seed: int = 1) -> tuple[Trace, Outcome, list[float]]:
    rule = Told(production("target", replace(LIMITS, target_seconds=target)))
    trace = Simulation(workload, rule, seed).run()
    return trace, outcome(workload, trace, target), rule.swaps


def alone(patch: pytest.MonkeyPatch) -> None:
    """From now on no node goes back to spot."""
    patch.setattr("minimoto.core.policies.target.back_to_spot", lambda *_: None)


@pytest.mark.parametrize("target", [900.0, 1800.0])
def test_after_a_drought_no_node_stays_on_demand(target: float) -> None:
    trace, told, swaps = run(WORKLOADS["drought"](1), target)
    dear = [machine.ended or 0.0 for machine in trace.machines if machine.offer is ON_DEMAND]
    # A refusal is remembered for so long; then a boot, looks, and the tasks that they hold.
    assert 8 * HOUR < max(dear) < 10 * HOUR + LONGEST_PAUSE + 600
    assert min(swaps) > 10 * HOUR
    assert (told.killed, told.missed, told.refused) == (0, 0, 0)
    assert told.swaps > 0


def test_which_saves_the_price_of_hours_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = WORKLOADS["drought"](1)
    _, told, _ = run(workload, 1800.0)
    alone(monkeypatch)
    _, before, none = run(workload, 1800.0)
    assert (before.swaps, none) == (0, [])
    assert told.hours_of["on-demand"] < 0.6 * before.hours_of["on-demand"]
    assert told.cost < 0.9 * before.cost


@settings(max_examples=3, deadline=None)
@given(st.integers(2, 8), st.integers(2, 8), st.sampled_from([900.0, 1800.0]), st.integers(0, 99))
def test_a_market_that_gives_and_takes_all_the_time_makes_no_ping_pong(
    there: int, gone: int, target: float, seed: int
) -> None:
    """Minutes with and without spot nodes in turn: swaps are lost, and each makes the next wait longer."""
    hours, turn = 5, 60.0 * (there + gone)
    starts = [60.0 * there + turn * n for n in range(int(hours * HOUR / turn) + 1)]
    workload = dry(hours, *((start, start + 60.0 * gone) for start in starts))
    _, told, swaps = run(workload, target, seed)
    assert (told.killed, len(told.finish)) == (0, len(workload.jobs))
    # Swaps that last begin no sooner than that after each other, and one of them undoes one that is lost.
    lasting = int(hours * HOUR / LASTING)
    assert len(swaps) <= 2 * lasting
    with pytest.MonkeyPatch.context() as patch:
        alone(patch)
        _, before, _ = run(workload, target, seed)
    assert told.cost <= 1.03 * before.cost


def test_nodes_that_are_taken_back_before_they_repay_are_tried_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten hours; of seven minutes there are spot nodes in four, and then all of them go at once."""
    monkeypatch.setattr("minimoto.core.simulation.events.TAKEN_BACK", 1.0)
    workload = dry(10, *((420.0 * n + 240.0, 420.0 * (n + 1)) for n in range(100)))
    _, told, swaps = run(workload, 1800.0)
    pauses = [later - sooner for sooner, later in pairwise(swaps)]
    assert 4 <= len(swaps) <= 10, "of more than eighty that might have been begun"
    assert max(pauses) > 8 * LOST_PAUSE
    alone(monkeypatch)
    _, before, _ = run(workload, 1800.0)
    assert told.cost <= 1.03 * before.cost
