"""Reads a deployment's own jobs as a load for the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minimoto.core.fleet_recall import load
from minimoto.core.simulation.history import Past, from_history
from minimoto.core.simulation.market import ON_DEMAND, spot
from minimoto.core.simulation.workload import Workload
from minimoto.core.simulation.world import World
from minimoto.errors import InvalidInput
from minimoto.watchdog.act import MEMORY
from minimoto.watchdog.observe import expected_seconds

if TYPE_CHECKING:
    from minimoto.core.job import Job
    from minimoto.wiring import Cloud

NEWEST = 1000
"""Jobs that are read at most: a request for the records of each of their stages."""


def read(cloud: Cloud, least: int, newest: int = NEWEST) -> Workload:
    """The newest jobs that have ended, in a world like the deployment's.

    Parameters:
        least: how many there must be.

    Raises:
        InvalidInput: there are fewer.
    """
    ended = [job for job in cloud.jobs.recent(newest) if job.state.final and job.stages[0].started is not None]
    name = f"history of {cloud.config.name}"
    workload = from_history([_past(cloud, job) for job in ended], name, _world(cloud))
    if len(workload.jobs) < least:
        raise InvalidInput(
            f"{name}: {len(workload.jobs)} jobs that have ended and whose tasks are known, {least} are needed; "
            "--workload and --trace simulate other loads"
        )
    return workload


def _past(cloud: Cloud, job: Job) -> Past:
    numbers = range(len(job.stages))
    seconds = [[task.seconds for task in cloud.jobs.tasks(job.id, n) if task.seconds > 0] for n in numbers]
    return Past(job, seconds, [expected_seconds(job, n) for n in numbers])


def _world(cloud: Cloud) -> World:
    """Boots as the watchdog has learnt them, prices and markets as they are set."""
    from minimoto.wiring import price_per_hour

    usual, config = World(), cloud.config
    learnt = load(cloud.ledger.recall(MEMORY)).boot_seconds
    scale = learnt / usual.boot[1] if learnt else 1.0
    return World(
        boot=(usual.boot[0] * scale, usual.boot[1] * scale, usual.boot[2] * scale),
        slots=config.slots or usual.slots,
        price=price_per_hour(config) or usual.price,
        offers=(spot(), ON_DEMAND) if config.market == "spot" else (ON_DEMAND,),
        visibility=config.lease,
        heartbeat=config.heartbeat,
    )
