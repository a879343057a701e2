"""Watching a job until it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from minimoto.core.job import Job
from minimoto.core.progress import JobProgress, job_progress
from minimoto.core.readable import duration_text
from minimoto.errors import CloudError, TimedOut
from minimoto.steps import STEPS

if TYPE_CHECKING:
    from minimoto.wiring import Cloud

FIRST_INTERVAL = 0.25
GROWTH = 1.15
LONGEST_INTERVAL = 3.0
"""Seconds between two looks: a short job is seen at once, a long one costs few calls."""

MOST_UNREACHABLE = 600.0
"""A connection may be lost for so many seconds (a closed laptop, a train) before the wait is given up."""


def look(cloud: Cloud, job: Job) -> JobProgress:
    """How far a job has come."""
    tasks = cloud.jobs.tasks(job.id, job.stage) if job.running is not None else []
    # A step that this version does not know (the job was made by a newer one) weighs like any other.
    seconds = [STEPS[s.step].seconds_per_item if s.step in STEPS else 1.0 for s in job.stages]
    return job_progress(job, tasks, cloud.clock.now(), seconds)


def wait(
    cloud: Cloud,
    job: str,
    show: Callable[[Job, JobProgress], None],
    *,
    deadline: float | None = None,
    note: Callable[[str], None],
) -> Job:
    """Waits until the job has ended, and returns it as it then is.

    Parameters:
        show: called after each look.
        deadline: seconds since the epoch, or ``None`` to wait for as long as it takes.
        note: told, once, that the connection is lost; and what keeps the fleet from giving the job more machines.

    Raises:
        TimedOut: the deadline passed first; the job goes on.
        CloudError: a call was refused, or the connection was lost for too long.
    """
    interval = FIRST_INTERVAL
    lost: float | None = None
    limit = ""
    while True:
        try:
            document = cloud.jobs.get(job)
            show(document, look(cloud, document))
            lost = None
            if document.limit != limit:
                limit = document.limit
                note(f"held back: {limit}" if limit else "no longer held back")
            if document.state.final:
                return document
        except CloudError as error:
            now = cloud.clock.monotonic()
            if error.code or (lost is not None and now - lost > MOST_UNREACHABLE):
                raise
            if lost is None:
                note(f"{error}; the job goes on, and so does this wait")
                lost = now
        left = float("inf") if deadline is None else deadline - cloud.clock.now()
        if left <= 0:
            raise TimedOut(f"{job}: the deadline has passed; the job goes on")
        cloud.clock.sleep(min(interval, left))
        interval = min(interval * GROWTH, LONGEST_INTERVAL)


def remaining_text(deadline: float, now: float) -> str:
    """How far away a deadline is, in words."""
    return f"in {duration_text(deadline - now)}" if deadline > now else f"{duration_text(now - deadline)} ago"
