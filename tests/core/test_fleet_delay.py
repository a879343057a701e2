"""The fleet neither swings nor kills work, however late the queue's counts are, with jobs to read or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import View
from minimoto.core.simulate import production, simulate
from minimoto.core.simulation.events import Orders
from minimoto.core.simulation.rule import Production
from minimoto.core.simulation.workload import Workload, folder
from minimoto.core.simulation.world import World

LIMITS = Limits(min_nodes=0, max_nodes=30, target_seconds=300.0, task_seconds=30.0, cooldown=120.0)


@dataclass
class Blind:
    """The rule where the jobs cannot be read: the queue's counts are all that it has."""

    rule: Production

    @property
    def name(self) -> str:
        return self.rule.name

    @property
    def every(self) -> float:
        return self.rule.every

    @property
    def by_metrics(self) -> bool:
        return self.rule.by_metrics

    def step(self, view: View, now: float) -> Orders:
        return self.rule.step(replace(view, jobs=None), now)

    def launched(self, ids: Sequence[str], refusing: Sequence[str], now: float) -> None:
        self.rule.launched(ids, refusing, now)


folders = st.lists(st.tuples(st.integers(1, 60), st.floats(5, 60), st.floats(0, 3000)), min_size=1, max_size=5)


@settings(max_examples=30, deadline=None)
@given(folders, st.floats(0, 100), st.booleans(), st.integers(0, 9))
def test_late_counts_make_no_flapping(
    sent: list[tuple[int, float, float]], late: float, blind: bool, seed: int
) -> None:
    chance = Random(seed)
    jobs = tuple(folder(tasks * 5, seconds / 5, at, chance) for tasks, seconds, at in sorted(sent, key=lambda s: s[2]))
    workload = Workload("late", jobs, 3000.0, World(counts_late=late))
    rule = production("target", LIMITS)
    came = simulate(workload, Blind(rule) if blind else rule, 300.0, seed)
    assert len(came.finish) == len(jobs)
    assert (came.killed, came.flaps) == (0, 0)
    assert came.largest <= max(1, sum(tasks for tasks, *_ in sent))
