"""The simulated fleet: against queueing theory, against what no rule can pass, and its own bookkeeping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import factorial
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import View
from minimoto.core.simulate import RULES, WORKLOADS, outcome, production, simulate
from minimoto.core.simulation.events import Orders, Simulation
from minimoto.core.simulation.market import ON_DEMAND, spot
from minimoto.core.simulation.outcome import flaps, percentile
from minimoto.core.simulation.sessions import planned, unforeseen
from minimoto.core.simulation.trace import Trace
from minimoto.core.simulation.tune import tune
from minimoto.core.simulation.workload import Job, Workload, from_csv
from minimoto.core.simulation.world import World
from minimoto.errors import InvalidInput

LIMITS = Limits(min_nodes=0, max_nodes=100, task_seconds=60)
AT_ONCE = World(boot=(0.0, 0.0, 0.0), minimum=0.0)


@dataclass
class Kept:
    """Starts some nodes at once, and leaves it at that."""

    size: int
    name: str = "kept"
    every: float = 1e9
    by_metrics: bool = False

    def step(self, view: View, now: float) -> Orders:
        return Orders(launch=self.size if now == 0 else 0)

    def launched(self, ids: Sequence[str], refusing: Sequence[str], now: float) -> None:
        pass


def few_jobs(seed: int, world: World | None = None) -> Workload:
    chance = Random(seed)
    times = sorted(chance.uniform(0, 2000) for _ in range(chance.randint(1, 15)))
    jobs = tuple(Job(at, tuple(chance.uniform(1, 200) for _ in range(chance.randint(1, 6)))) for at in times)
    return Workload("few", jobs, 2000.0, world or World())


def erlang_c(servers: int, load: float) -> float:
    """The chance that a job has to wait (Erlang 1917)."""
    last = load**servers / factorial(servers) * servers / (servers - load)
    return last / (sum(load**n / factorial(n) for n in range(servers)) + last)


@pytest.mark.parametrize(("servers", "use"), [(1, 0.5), (3, 0.5)])
def test_waiting_times_are_those_of_queueing_theory(servers: int, use: float) -> None:
    """M/M/c: exponential times between arrivals and of service, mean 1 s; the mean wait within 2 %."""
    chance, at, jobs = Random(5), 10.0, []
    for _ in range(100_000):
        at += chance.expovariate(servers * use)
        jobs.append(Job(at, (chance.expovariate(1.0),)))
    told = simulate(Workload("mmc", tuple(jobs), at, AT_ONCE), Kept(servers), 60.0)
    expected = erlang_c(servers, servers * use) / (servers - servers * use)
    assert sum(told.wait) / len(told.wait) == pytest.approx(expected, rel=0.02)


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    workload = replace(few_jobs(3), world=World(crashes=2.0))
    runs = [simulate(workload, production("target", LIMITS), 300.0, seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(sorted(RULES)), st.sampled_from([0.0, 4.0]), st.integers(1, 3))
def test_all_is_done_whatever_the_rule_and_the_weather(seed: int, rule: str, bad: float, slots: int) -> None:
    workload = few_jobs(seed, World(crashes=bad, offers=(spot(bad), ON_DEMAND), slots=slots))
    trace = Simulation(workload, RULES[rule](LIMITS), seed).run()
    told = outcome(workload, trace, 300.0)
    assert len(told.finish) == len(workload.jobs)
    assert all(job.left == 0 for job in trace.jobs)
    for job in trace.jobs:
        assert job.started is not None
        assert job.finished is not None
        assert job.finished - job.job.at >= max(job.job.tasks) - 1e-6
    # Whoever did the work was paid for it.
    assert told.hours * 3600 * slots >= workload.work - 1e-6
    if rule in ("target", "classic"):
        assert told.killed == 0


def test_the_rule_of_production_makes_no_busy_node_end_and_does_not_flap() -> None:
    for name in ("medium", "bursts", "trickle"):
        told = simulate(WORKLOADS[name](1), production("target", LIMITS), 300.0)
        assert (told.killed, told.flaps) == (0, 0)
        assert told.finish_at(0.95) <= 300.0


@pytest.mark.parametrize("name", ["small", "trickle"])
def test_counts_of_a_job_that_has_just_ended_start_no_node(name: str) -> None:
    """Idle nodes go after 15 s, when the queue's counts may still show what they have done."""
    told = simulate(
        WORKLOADS[name](1), production("target", replace(LIMITS, target_seconds=900, cooldown=15)), 900.0, 1
    )
    assert told.flaps == 0


def test_in_a_drought_of_spot_nodes_work_goes_on_afterwards() -> None:
    workload = few_jobs(1, World(offers=(spot(droughts=((0.0, 4000.0),)),)))
    told = simulate(workload, production("target", LIMITS), 300.0)
    assert told.refused > 0
    assert min(told.finish) > 2000.0


def test_what_dies_with_its_node_is_done_again() -> None:
    workload = Workload("one", (Job(0.0, (500.0,)),), 10.0, World(crashes=12.0))
    told = simulate(workload, production("target", LIMITS), 300.0, seed=1)
    assert told.crashed > 0
    assert len(told.finish) == 1


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32))
def test_nobody_is_cheaper_than_the_clairvoyant(seed: int) -> None:
    pytest.importorskip("scipy")
    from minimoto.core.simulation.clairvoyant import clairvoyant

    workload = few_jobs(seed, World(minimum=0.0, boot=(60.0, 60.0, 60.0)))
    for rule in ("target", "keda", "buildkite"):
        told = simulate(workload, RULES[rule](LIMITS), 900.0)
        bound = clairvoyant(workload, told.finish[-1] + 1.0, seconds=1.0)
        assert bound.least <= told.cost * 1.001
        assert bound.found >= workload.work / 3600 * workload.world.price * 0.999


def test_a_flap_is_what_was_undone_while_the_load_was_the_same() -> None:
    def of(*changes: tuple[float, int, int, int]) -> int:
        return flaps(Trace((), (), changes, (), 0, 0, 0, 0))

    assert of((0, 2, 1, 9), (300, -1, 1, 5)) == 1
    assert of((0, 2, 1, 9), (300, -1, 1, 0)) == 0
    assert of((0, 2, 1, 9), (700, -1, 1, 5)) == 0
    assert of((0, -2, 1, 0), (300, 1, 1, 0)) == 1
    assert of((0, -2, 1, 0), (300, 1, 2, 4)) == 0


def test_percentiles_are_the_nearest_rank() -> None:
    assert [percentile([1, 2, 3, 4], share) for share in (0.0, 0.25, 0.5, 0.95, 1.0)] == [1, 1, 2, 4, 4]
    assert percentile([], 0.5) == 0.0


def test_tuning_never_proposes_what_is_worse() -> None:
    workload = few_jobs(9)
    begun, best = tune(
        lambda limits: simulate(workload, production("target", limits), limits.target_seconds),
        replace(LIMITS, cooldown=600.0, target_seconds=900.0),
    )
    assert best.keeps()
    assert best.outcome.cost < begun.outcome.cost
    assert best.limits.max_nodes == begun.limits.max_nodes


def test_a_trace_of_ones_own() -> None:
    lines = ["at,tasks,seconds,owner,deadline", "60,2,30,me,400", "0,1,5,,"]
    workload = from_csv(lines, "mine.csv")
    assert workload.jobs == (Job(0.0, (5.0,)), Job(60.0, (30.0, 30.0), "me", 400.0))
    told = simulate(workload, production("target", LIMITS), 300.0)
    assert told.missed == 0


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "no column at, seconds, tasks"),
        (["at,tasks", "1,2"], "no column seconds"),
        (["at,tasks,seconds"], "no jobs"),
        (["at,tasks,seconds", "1,2,3", "1,x,3"], "line 3"),
        (["at,tasks,seconds", "1,0,3"], "line 2"),
        (["at,tasks,seconds", "-1,1,3"], "line 2"),
        (["at,tasks,seconds", "nan,1,3"], "line 2"),
        (["at,tasks,seconds", "1,1"], "line 2"),
    ],
)
def test_a_wrong_trace_is_named(lines: list[str], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        from_csv(lines, "mine.csv")


def test_jobs_that_come_one_by_one_are_planned_onto_nodes() -> None:
    world = World(boot=(60.0, 90.0, 120.0), price=3600.0, minimum=0.0)

    def cost(target: float, *jobs: Job) -> float:
        return planned(Workload("few", jobs, 0.0, world), target)

    # A dollar a second. Two that wait for each other share a boot, two that cannot do not.
    near, far = (Job(0.0, (30.0,)), Job(300.0, (20.0, 10.0))), (Job(0.0, (30.0,)), Job(2000.0, (30.0,)))
    assert cost(900.0, *near) == pytest.approx(90 + 60)
    assert cost(300.0, *near) == pytest.approx(90 + 60)
    assert cost(250.0, *near) == pytest.approx(90 + 30 + 80)
    assert cost(900.0, *far) == pytest.approx(2 * (90 + 30))
    assert cost(100.0, Job(0.0, (300.0,))) == float("inf")


def test_without_foresight_jobs_share_a_boot_only_if_they_happen_to() -> None:
    world = World(boot=(60.0, 90.0, 120.0), price=3600.0, minimum=0.0)

    def cost(wait: float | None, *starts: float) -> float:
        return unforeseen(Workload("few", tuple(Job(at, (30.0,)) for at in starts), 0.0, world), wait)

    # A dollar a second: a boot is 90, a job 30. The second comes while the first is done, or 100 s after its end.
    assert cost(None, 0.0) == 120
    assert cost(None, 0.0, 100.0) == 90 + 60
    assert cost(None, 0.0, 150.0) == 90 + 30 + 30 + 30 + 30, "kept for half a minute each time"
    assert cost(None, 0.0, 180.0) == cost(None, 0.0, 5000.0) == 2 * 120, "another boot is no dearer"
    assert cost(300.0, 0.0, 220.0) == 90 + 60


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_foresight_is_worth_something(seed: int) -> None:
    """Jobs of which one node does all in time cost nobody more who plans them than who starts nodes at once."""
    workload = few_jobs(seed, World(minimum=0.0))
    short = replace(workload, jobs=tuple(Job(job.at, job.tasks[:1]) for job in workload.jobs))
    target = 110.0 + 15 * 200.0
    assert planned(short, target) <= unforeseen(short) + 1e-9
    alone = replace(short, jobs=short.jobs[:1])
    assert planned(alone, target) == pytest.approx(unforeseen(alone, target)) == pytest.approx(unforeseen(alone))


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32))
@example(1283288560)
@example(18689552)
def test_no_plan_is_cheaper_than_the_bound(seed: int) -> None:
    pytest.importorskip("scipy")
    from minimoto.core.simulation.clairvoyant import clairvoyant

    workload = few_jobs(seed, World(minimum=0.0))
    target = 3000.0
    assert clairvoyant(workload, target, seconds=1.0).least <= planned(workload, target) * (1 + 1e-6)
