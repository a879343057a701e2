"""The simulated cloud: what can be had, whose turn it is, and how late what is measured is seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.core.fleet_limits import Limits
from minimoto.core.fleet_view import View
from minimoto.core.simulate import RULES, WORKLOADS, production, simulate
from minimoto.core.simulation.events import Orders, Simulation
from minimoto.core.simulation.look import BUSY_CPU, IDLE_CPU
from minimoto.core.simulation.market import ON_DEMAND, had, spot
from minimoto.core.simulation.queue import NOISY, Queue
from minimoto.core.simulation.trace import Running, Task
from minimoto.core.simulation.workload import Job, Stage, Workload, folder
from minimoto.core.simulation.world import World

LIMITS = Limits(min_nodes=0, max_nodes=100, task_seconds=60)
AT_ONCE = World(boot=(0.0, 0.0, 0.0), minimum=0.0)


@dataclass
class Watching:
    """Starts nodes at once, and keeps what it sees."""

    size: int
    every: float = 10.0
    by_metrics: bool = False
    name: str = "watching"
    seen: list[tuple[float, View]] = field(default_factory=list)

    def step(self, view: View, now: float) -> Orders:
        self.seen.append((now, view))
        return Orders(launch=self.size if now == 0 else 0)

    def launched(self, ids: Sequence[str], refusing: Sequence[str], now: float) -> None:
        pass


def test_spot_is_asked_for_first_then_what_else_there_is() -> None:
    here, there = spot(droughts=((100.0, 200.0),)), spot(droughts=((150.0, 300.0),), name="spot g6.xlarge", share=0.4)
    offers = (here, there, ON_DEMAND)
    assert [list(had(offers, 3, at)) for at in (0.0, 100.0, 150.0, 200.0)] == [
        [(here, 3)], [(there, 3)], [(ON_DEMAND, 3)], [(here, 3)],
    ]  # fmt: skip
    assert list(had((here,), 3, 100.0)) == []


def test_in_a_drought_the_fleet_goes_on_on_demand_and_pays_for_it() -> None:
    chance = Random(1)
    jobs = tuple(folder(50, 12.0, at, chance) for at in range(0, 10_000, 500))
    alone = spot(interruptions=0.5, droughts=((3000.0, 7000.0),))
    told = {
        name: simulate(Workload(name, jobs, 10_000.0, World(offers=offers)), production("target", LIMITS), 900.0)
        for name, offers in {"alone": (alone,), "both": (alone, ON_DEMAND), "dear": (ON_DEMAND,)}.items()
    }
    assert told["alone"].missed > 0 == told["both"].missed
    assert told["both"].refused == 0 < told["alone"].refused
    assert told["both"].interrupted > 0 == told["dear"].interrupted
    assert told["both"].hours_of.keys() == {"spot", "on-demand"}
    assert told["alone"].cost < told["both"].cost < told["dear"].cost
    price = World().price
    assert told["both"].cost == pytest.approx(
        price * (0.35 * told["both"].hours_of["spot"] + told["both"].hours_of["on-demand"])
    )


def test_the_clairvoyant_knows_the_drought() -> None:
    pytest.importorskip("scipy")
    from minimoto.core.simulation.clairvoyant import clairvoyant

    jobs = (Job(0.0, (100.0,) * 36), Job(20_000.0, (100.0,) * 36))
    offers = {"spot": (spot(),), "dry": (spot(droughts=((15_000.0, 40_000.0),)), ON_DEMAND), "dear": (ON_DEMAND,)}
    least = {
        name: clairvoyant(Workload(name, jobs, 20_000.0, World(offers=them)), 1800.0, seconds=2.0).least
        for name, them in offers.items()
    }
    hour = World().price
    # An hour and a boot for each of the two, the second on demand.
    assert least["spot"] < least["dry"] < least["dear"]
    assert least["dry"] - least["spot"] == pytest.approx(0.65 * hour * (1 + 100 / 3600), rel=0.15)


def queue_of(*owners: str) -> Queue:
    queue = Queue()
    for number, owner in enumerate(owners):
        queue.send(Task(Running(f"{number}", Job(0.0, (1.0,), owner), 1), 1.0), float(number))
    return queue


def served(queue: Queue, count: int) -> str:
    return "".join(queue.receive().job.job.owner for _ in range(count))


def test_one_owner_is_served_in_the_order_of_arrival() -> None:
    queue = queue_of("a", "a", "a")
    assert [queue.receive().job.id for _ in range(3)] == ["0", "1", "2"]
    assert (queue.visible, queue.in_flight) == (0, 3)


def test_who_has_much_in_flight_waits_for_the_others() -> None:
    assert served(queue_of(*"aaaabab"), 7) == "ababaaa"


def test_many_quiet_owners_are_served_in_the_order_of_arrival() -> None:
    owners = "abcdefghijklmnopqrst"
    queue = queue_of(*owners, *"tsr")
    assert served(queue, 23) == owners + "tsr"


@given(st.lists(st.tuples(st.sampled_from("abcdefghijklmnop"), st.integers(0, 3)), min_size=1, max_size=150))
def test_whose_turn_it_is_follows_from_what_waits_and_what_is_in_flight(doings: list[tuple[str, int]]) -> None:
    queue, waiting, flying = Queue(), list[tuple[int, str]](), list[Task]()
    for number, (owner, doing) in enumerate(doings):
        if doing == 0 and flying:
            queue.gone(flying.pop(number % len(flying)))
        elif doing == 1 and waiting:
            flights = Counter(task.job.job.owner for task in flying)
            least = NOISY * len(flying)
            ranks = {one: flights[one[1]] if flights[one[1]] > least else 0 for one in waiting}
            expected = min(waiting, key=lambda one: (ranks[one], one[0]))
            waiting.remove(expected)
            flying.append(queue.receive())
            assert (int(flying[-1].job.id), flying[-1].job.job.owner) == expected
        else:
            queue.send(Task(Running(f"{number}", Job(0.0, (1.0,), owner), 1), 1.0), float(number))
            waiting.append((number, owner))
        assert (queue.visible, queue.in_flight) == (len(waiting), len(flying))


def test_what_was_in_flight_counts_until_it_is_gone() -> None:
    queue = queue_of("a", "b", "a", "b")
    first = queue.receive()
    queue.gone(first)
    assert served(queue, 3) == "bab"


def test_a_huge_folder_does_not_starve_small_ones() -> None:
    chance = Random(2)
    huge = folder(3000, 12.0, 0.0, chance, "huge")
    small = [folder(5, 6.0, 1800.0 + 30 * n, chance, f"small-{n}") for n in range(10)]
    for fair in (True, False):
        jobs = [huge, *small] if fair else [replace(job, owner="all") for job in (huge, *small)]
        workload = Workload("huge", tuple(jobs), 3600.0)
        done = sorted((j.finished or 0.0) - j.job.at for j in Simulation(workload, Watching(8), 1).run().jobs)
        assert (done[9] < 200) == fair
        # The huge one hardly waits for them.
        assert done[10] < 1.05 * huge.work / 8 + 300


def test_the_messages_of_a_dead_node_stay_in_flight_until_they_are_seen_again() -> None:
    workload = Workload("one", (Job(0.0, (5000.0,)),), 10.0, World(crashes=12.0, counts_late=0.0))
    rule = Watching(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minimoto.core.simulation.events.PATIENCE", 3000.0)
        trace = Simulation(workload, rule, seed=1).run()
    crashed = trace.machines[0].crashed
    assert crashed is not None
    flights = {round(now): (view.visible, view.in_flight) for now, view in rule.seen}
    assert flights[round(crashed + 60, -1)] == (0, 1)
    assert flights[round(crashed + 150, -1)] == (1, 0)


def test_metrics_are_as_late_as_cloudwatch_has_them() -> None:
    """Jobs come at 100 s; SQS's counts are exact here, its metric of that minute can be read at 180 s."""
    world = World(boots=(1e6,), counts_late=0.0)
    workload = Workload("late", (Job(100.0, (50.0,) * 3),), 600.0, world)
    seen = {}
    for by_metrics in (False, True):
        rule = Watching(1, by_metrics=by_metrics)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("minimoto.core.simulation.events.PATIENCE", 0.0)
            Simulation(workload, rule, 0).run()
        seen[by_metrics] = {now: (view.visible, view.oldest) for now, view in rule.seen}
    assert [seen[False][at] for at in (90.0, 110.0, 170.0, 180.0, 230.0, 240.0)] == [
        (0, None), (3, None), (3, None), (3, 20.0), (3, 20.0), (3, 80.0),
    ]  # fmt: skip
    assert [seen[True][at][0] for at in (90.0, 110.0, 170.0, 180.0)] == [0, 0, 0, 3]


def test_cpu_is_an_average_of_five_minutes_that_have_passed() -> None:
    workload = Workload("cpu", (Job(0.0, (150.0,)),), 1200.0, AT_ONCE)
    rule = Watching(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minimoto.core.simulation.events.PATIENCE", 0.0)
        Simulation(workload, rule, 0).run()
    cpu = {now: view.nodes[0].cpu for now, view in rule.seen if view.nodes}
    assert cpu[350.0] is None
    assert cpu[360.0] == pytest.approx((BUSY_CPU + IDLE_CPU) / 2)
    assert cpu[650.0] == cpu[360.0]
    assert cpu[660.0] == IDLE_CPU


def test_rules_that_read_metrics_are_slower_for_it() -> None:
    workload = WORKLOADS["bursts"](1)
    told = [
        simulate(replace(workload, world=replace(workload.world, metrics_late=late)), RULES["tracking"](LIMITS), 300.0)
        for late in (0.0, 600.0)
    ]
    assert told[0].finish_at(0.95) + 300 < told[1].finish_at(0.95)


def test_a_stage_begins_when_the_one_before_is_done() -> None:
    job = Job(0.0, (10.0, 20.0, 30.0), later=(Stage((40.0,), 40.0), Stage((5.0, 5.0))))
    assert (job.count, job.work) == (6, 110.0)
    rule = Watching(3)
    (done,) = Simulation(Workload("staged", (job,), 0.0, AT_ONCE), rule, 0).run().jobs
    assert done.finished == 30.0 + 40.0 + 5.0
    views = {now: view.jobs[0] for now, view in rule.seen if view.jobs}
    assert [(views[at].tasks_left, views[at].stages_after, views[at].seconds_left) for at in (0.0, 50.0)] == [
        (3, 2, 0.0), (1, 1, 40.0),
    ]  # fmt: skip
