"""What is submitted, and when: the loads that rules are measured on, or a trace of one's own."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import StringIO
from random import Random

from minimoto.core.simulation.market import ON_DEMAND, spot
from minimoto.core.simulation.world import World
from minimoto.errors import InvalidInput

HOUR, DAY = 3600.0, 86_400.0

MB_SECONDS = 6.0
"""Seconds that a task takes for a megabyte of photos. The classes of the seeds are named by photos and their size."""
CLASSES = {"small": (5, 1.0), "medium": (15, 2.0), "large": (55, 2.0), "xlarge": (125, 2.0)}
"""Photos of a folder, and megabytes of each."""
MIX = {"small": 4, "medium": 3, "large": 2, "xlarge": 1}
"""How often each class comes."""
PHOTOS_A_TASK = 5
_SPREAD = 0.25
"""Deviation of the logarithm of a task's time: photos are unequal."""


@dataclass(frozen=True)
class Stage:
    """One step of a job: seconds that each of its tasks takes a slot, and is expected to (see :class:`Job`)."""

    tasks: tuple[float, ...]
    expected: float = 0.0


@dataclass(frozen=True)
class Job:
    """One submitted folder.

    Parameters:
        at: when, seconds from the start.
        tasks: seconds that each of the tasks of its first stage takes a slot.
        owner: who submitted it.
        deadline: by when it shall be done, seconds from the start; ``None``: within the target time.
        expected: seconds that each of those is expected to take, by what is learnt of the step; 0: nothing is known.
        later: the stages after it, each of which begins when the one before is done.
    """

    at: float
    tasks: tuple[float, ...]
    owner: str = ""
    deadline: float | None = None
    expected: float = 0.0
    later: tuple[Stage, ...] = ()

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """All of them."""
        return (Stage(self.tasks, self.expected), *self.later)

    @property
    def count(self) -> int:
        """Tasks of all stages."""
        return sum(len(stage.tasks) for stage in self.stages)

    @property
    def work(self) -> float:
        """Seconds of one slot."""
        return sum(sum(stage.tasks) for stage in self.stages)


@dataclass(frozen=True)
class Workload:
    """Jobs in the order of their arrival, and the world that they come into.

    Parameters:
        seconds: until when they may come; the simulation goes on until all are done.
    """

    name: str
    jobs: tuple[Job, ...]
    seconds: float
    world: World = field(default_factory=World)

    @property
    def work(self) -> float:
        """Seconds of one slot."""
        return sum(job.work for job in self.jobs)

    @property
    def tasks(self) -> int:
        """How many there are."""
        return sum(job.count for job in self.jobs)


def job_of_class(name: str, at: float, chance: Random, owner: str = "") -> Job:
    """A folder of one of the :data:`CLASSES`."""
    photos, megabytes = CLASSES[name]
    return folder(photos, megabytes * MB_SECONDS, at, chance, owner)


def folder(photos: int, seconds: float, at: float, chance: Random, owner: str = "") -> Job:
    """A folder of ``photos``, each about ``seconds`` of work, cut into tasks."""
    shards = -(-photos // PHOTOS_A_TASK)
    counts = [photos // shards + (shard < photos % shards) for shard in range(shards)]
    times = tuple(count * seconds * chance.lognormvariate(0.0, _SPREAD) for count in counts)
    return Job(at, times, owner, expected=photos * seconds / shards)


def poisson(rate: Callable[[float], float], most: float, seconds: float, chance: Random) -> Iterable[float]:
    """Times of arrivals at ``rate`` an hour, never more than ``most`` (by thinning; Lewis and Shedler 1979)."""
    at = 0.0
    while (at := at + chance.expovariate(most / HOUR)) < seconds:
        if chance.random() * most < rate(at):
            yield at


def _mixed(chance: Random) -> str:
    return chance.choices(list(MIX), list(MIX.values()))[0]


def of_class(name: str, seed: int) -> Workload:
    """Six hours of one class of folders, 12 an hour of small ones and fewer of larger ones: the same work an hour."""
    chance = Random(seed)
    rate = 12.0 * CLASSES["medium"][0] * CLASSES["medium"][1] / (CLASSES[name][0] * CLASSES[name][1])
    arrivals = poisson(lambda at: rate, rate, 6 * HOUR, chance)
    return Workload(name, tuple(job_of_class(name, at, chance) for at in arrivals), 6 * HOUR)


def mix(seed: int) -> Workload:
    """A day of all classes, 40 folders an hour, four small ones to three, two and one of the larger."""
    chance = Random(seed)
    arrivals = poisson(lambda at: 40.0, 40.0, DAY, chance)
    return Workload("mix", tuple(job_of_class(_mixed(chance), at, chance) for at in arrivals), DAY)


def bursts(seed: int) -> Workload:
    """Every two hours or so, forty folders within five minutes; nothing between."""
    chance = Random(seed)
    starts = [HOUR * (2 * burst + chance.random()) for burst in range(6)]
    times = sorted(start + 300 * chance.random() for start in starts for _ in range(40))
    return Workload("bursts", tuple(job_of_class(_mixed(chance), at, chance) for at in times), 12 * HOUR)


def daily(seed: int) -> Workload:
    """A day of 100 folders an hour at two in the afternoon, and of hardly any at two in the night."""
    chance = Random(seed)

    def rate(at: float) -> float:
        return 50.0 - 48.0 * math.cos(2 * math.pi * (at / DAY - 2 / 24))

    arrivals = poisson(rate, 98.0, DAY, chance)
    return Workload("daily", tuple(job_of_class(_mixed(chance), at, chance) for at in arrivals), DAY)


def giant(seed: int) -> Workload:
    """One folder of 20,000 photos, and ten small folders an hour of other people."""
    chance = Random(seed)
    others = [job_of_class("small", at, chance, f"owner-{n}") for n, at in enumerate(
        poisson(lambda at: 10.0, 10.0, 4 * HOUR, chance))]  # fmt: skip
    one = folder(20_000, 2 * MB_SECONDS, 600.0, chance, "giant")
    return Workload("giant", tuple(sorted([*others, one], key=lambda job: job.at)), 4 * HOUR)


def trickle(seed: int) -> Workload:
    """Two small folders an hour for a day."""
    chance = Random(seed)
    arrivals = poisson(lambda at: 2.0, 2.0, DAY, chance)
    return Workload("trickle", tuple(job_of_class("small", at, chance) for at in arrivals), DAY)


def drought(seed: int) -> Workload:
    """The mix on spot nodes, often taken back, of which there are none for two hours; then nodes on demand."""
    world = World(offers=(spot(interruptions=0.2, droughts=((8 * HOUR, 10 * HOUR),)), ON_DEMAND))
    return replace(mix(seed), name="drought", world=world)


def crashing(seed: int) -> Workload:
    """The mix on nodes that crash once in two hours."""
    return replace(mix(seed), name="crashing", world=World(crashes=0.5))


WORKLOADS: dict[str, Callable[[int], Workload]] = {
    **{name: (lambda seed, name=name: of_class(name, seed)) for name in CLASSES},  # type: ignore[misc]
    "mix": mix,
    "bursts": bursts,
    "daily": daily,
    "giant": giant,
    "trickle": trickle,
    "drought": drought,
    "crashing": crashing,
}


def from_csv(lines: Iterable[str], name: str) -> Workload:
    """A trace: columns ``at`` (seconds from its start), ``tasks``, ``seconds`` (a task), and ``owner``, ``deadline``.

    Lines that follow each other and name the same ``job`` are the stages of one.

    Raises:
        InvalidInput: a column is missing, or a value is no number or out of bounds; the line is named.
    """
    jobs: list[Job] = []
    before = ""
    reader = csv.DictReader(lines)
    missing = {"at", "tasks", "seconds"} - set(reader.fieldnames or ())
    if missing:
        raise InvalidInput(f"{name}: no column {', '.join(sorted(missing))}; at, tasks and seconds are needed")
    for row in reader:
        try:
            at, count, seconds = float(row["at"]), int(row["tasks"]), float(row["seconds"])
            deadline = float(row["deadline"]) if row.get("deadline") else None
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"{name}, line {reader.line_num}: {error}") from error
        if not (math.isfinite(at) and at >= 0 and count > 0 and math.isfinite(seconds) and seconds > 0):
            raise InvalidInput(f"{name}, line {reader.line_num}: at from 0 on, tasks from 1 on, seconds above 0")
        if row.get("job") and row["job"] == before:
            jobs[-1] = replace(jobs[-1], later=(*jobs[-1].later, Stage((seconds,) * count)))
        else:
            jobs.append(Job(at, (seconds,) * count, row.get("owner") or "", deadline))
        before = row.get("job") or ""
    if not jobs:
        raise InvalidInput(f"{name}: no jobs in it")
    jobs.sort(key=lambda job: job.at)
    return Workload(name, tuple(jobs), jobs[-1].at)


def to_csv(workload: Workload) -> str:
    """The workload as a trace for :func:`from_csv`; of a stage's tasks only their number and their mean are kept."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["at", "tasks", "seconds", "owner", "deadline", "job"])
    for number, job in enumerate(workload.jobs):
        deadline = "" if job.deadline is None else f"{job.deadline:.3f}"
        for stage in job.stages:
            each = sum(stage.tasks) / len(stage.tasks)
            writer.writerow([f"{job.at:.3f}", len(stage.tasks), f"{each:.3f}", job.owner, deadline, number + 1])
    return text.getvalue()
