"""A deployment's own jobs as a load: ``minimoto simulate --history``, and ``--tune`` without a load."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from minimoto.cli.entry import main
from minimoto.core.events import CancelRequested, TaskDone
from minimoto.core.fleet_memory import Memory
from minimoto.core.fleet_recall import dump
from minimoto.core.job import Job
from minimoto.core.simulation.workload import Stage, from_csv
from minimoto.core.task import TaskKey, TaskResult
from minimoto.memory import FakeClock, MemoryCloud, memory_cloud
from minimoto.memory.cloud import SETTINGS
from minimoto.simulate_history import read
from minimoto.steps import STEPS
from minimoto.watchdog.act import MEMORY
from tests.submitting import dispatcher, submit

Told = tuple[int, str, str]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_800_000_000.0)


@pytest.fixture
def cloud(clock: FakeClock) -> MemoryCloud:
    return memory_cloud(replace(SETTINGS, market="on-demand", price_per_hour=2.0, slots=2), clock)


@pytest.fixture
def command(
    cloud: MemoryCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Told]:
    settings = tmp_path / "configure.ini"
    settings.write_text("[QUEUE]\n", "utf-8")
    monkeypatch.setattr("minimoto.wiring.Cloud", lambda _: cloud)

    def run(*arguments: str) -> Told:
        status = main(["simulate", "--config", str(settings), *arguments])
        out = capsys.readouterr()
        return status, out.out, out.err

    return run


def work(cloud: MemoryCloud, seconds: Sequence[Sequence[float]], forget: bool = False, **settings: float) -> Job:
    """A job of five photos, each of whose tasks took so long; with ``forget`` no record of them is left."""
    photos = {f"{n}.jpg": b"." for n in range(5)}
    pipeline = " | ".join(["fit:96x64", "video"][: len(seconds)])
    job = submit(cloud, pipeline, photos, STEPS, task_seconds=2 * STEPS["fit"].seconds_per_item, **settings)
    for stage, times in enumerate(seconds):
        assert job.stages[stage].tasks == len(times)
        for number, took in enumerate(times):
            key, now = TaskKey(job.id, stage, number), cloud.clock.now()
            if not forget:
                cloud.jobs.claim(key, "i-1/0/x", now, 60.0)
                cloud.jobs.finish(key, "i-1/0/x", now + took, took, TaskResult())
            job = dispatcher(cloud).apply(job, TaskDone(stage, number, 5))
    assert job.state.final
    return job


def test_jobs_come_again_when_they_came_with_the_times_that_they_took(cloud: MemoryCloud, clock: FakeClock) -> None:
    work(cloud, [(3.0, 4.0, 5.0), (20.0,)])
    clock.advance(100.0)
    work(cloud, [(6.0, 6.0, 6.0)], deadline=clock.now() + 500.0)
    cloud.ledger.remember(MEMORY, dump(Memory(boot_seconds=50.0)))
    workload = read(cloud, 2)
    first, second = workload.jobs
    assert (first.at, first.tasks, first.owner, first.deadline) == (0.0, (3.0, 4.0, 5.0), "ana@laptop", None)
    assert first.expected == pytest.approx(STEPS["fit"].seconds_per_item * 5 / 3)
    assert first.later == (Stage((20.0,), STEPS["video"].seconds_per_item * 15),)
    assert (second.at, second.tasks, second.deadline, second.later) == (100.0, (6.0,) * 3, 600.0, ())
    world = workload.world
    assert (world.slots, world.price, world.boot) == (2, 2.0, (30.0, 50.0, 85.0))
    assert [offer.market for offer in world.offers] == ["on-demand"]


def test_times_that_are_not_kept_any_more_are_those_of_the_same_step(cloud: MemoryCloud, clock: FakeClock) -> None:
    work(cloud, [(3.0, 4.0, 5.0)])
    clock.advance(10.0)
    work(cloud, [(1.0, 1.0, 1.0)], forget=True)
    clock.advance(10.0)
    # Of films nothing is known.
    work(cloud, [(1.0, 1.0, 1.0), (1.0,)], forget=True)
    assert [job.tasks for job in read(cloud, 1).jobs] == [(3.0, 4.0, 5.0), (4.0, 4.0, 4.0)]


def test_what_was_cancelled_counts_as_far_as_it_came(cloud: MemoryCloud) -> None:
    photos = {"1.jpg": b"."}
    job = submit(cloud, "fit:96x64 | video", photos, STEPS)
    cloud.jobs.claim(TaskKey(job.id, 0, 0), "i-1/0/x", 0.0, 60.0)
    cloud.jobs.finish(TaskKey(job.id, 0, 0), "i-1/0/x", 9.0, 9.0, TaskResult())
    dispatcher(cloud).apply(job, CancelRequested())
    submit(cloud, "fit:96x64", photos, STEPS)
    assert [(job.tasks, job.later) for job in read(cloud, 1).jobs] == [((9.0,), ())]


def test_a_plain_simulation_of_the_history(cloud: MemoryCloud, clock: FakeClock, command: Callable[..., Told]) -> None:
    for _ in range(3):
        work(cloud, [(3.0, 4.0, 5.0), (20.0,)])
        clock.advance(600.0)
    status, out, _ = command("--history", "--min-nodes", "0")
    assert status == 0
    assert out.startswith("history of memory: 3 jobs, 12 tasks, 0.0 hours of work")
    assert json.loads(command("--history", "--newest", "2", "--json")[1])["jobs"] == 2


def test_settings_are_proposed_for_the_history(
    cloud: MemoryCloud, clock: FakeClock, command: Callable[..., Told]
) -> None:
    for _ in range(10):
        work(cloud, [(30.0, 30.0, 30.0)])
        clock.advance(900.0)
    status, out, _ = command("--tune", "--cooldown", "600", "--target", "900")
    assert status == 0
    assert out.startswith("history of memory: 10 jobs, 30 tasks")
    assert "[FLEET]\n" in out


def test_too_little_history_is_said_in_a_line(cloud: MemoryCloud, command: Callable[..., Told]) -> None:
    work(cloud, [(3.0, 4.0, 5.0)])
    status, out, err = command("--tune")
    assert status != 0
    assert out == ""
    assert err == (
        "minimoto: history of memory: 1 jobs that have ended and whose tasks are known, 10 are needed; "
        "--workload and --trace simulate other loads\n"
    )
    assert "--newest 0: at least 1" in command("--history", "--newest", "0")[2]


def test_a_load_is_exported_and_read_again(
    cloud: MemoryCloud, clock: FakeClock, command: Callable[..., Told], tmp_path: Path
) -> None:
    work(cloud, [(3.0, 4.0, 5.0), (20.0,)], deadline=clock.now() + 500.0)
    clock.advance(60.5)
    work(cloud, [(6.0, 6.0, 6.0)])
    file = tmp_path / "mine.csv"
    status, out, _ = command("--history", "--export", str(file))
    assert status == 0
    assert file.read_text("utf-8").splitlines() == [
        "at,tasks,seconds,owner,deadline,job",
        "0.000,3,4.000,ana@laptop,500.000,1",
        "0.000,1,20.000,ana@laptop,500.000,1",
        "60.500,3,6.000,ana@laptop,,2",
    ]
    again = from_csv(file.read_text("utf-8").splitlines(), "mine.csv")
    assert [job.count for job in again.jobs] == [4, 3]
    assert again.jobs[0].later == (Stage((20.0,)),)
    assert out.partition(":")[2].splitlines()[0] == command("--trace", str(file))[1].partition(":")[2].splitlines()[0]
    status, _, err = command("--history", "--export", str(tmp_path / "nowhere" / "mine.csv"))
    assert status != 0
    assert err.count("\n") == 1
