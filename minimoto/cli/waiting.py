"""Waiting for a job in front of a person: shared by ``submit --wait`` and ``status --wait``."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimoto.core.job import Job, JobState
from minimoto.core.readable import state_text
from minimoto.errors import JobFailed, MinimotoError, TimedOut

if TYPE_CHECKING:
    from minimoto.core.task import Skipped
    from minimoto.wiring import Cloud

MOST_SKIPPED = 20
"""Photos left out that are listed one by one."""


def wait_and_fetch(
    cloud: Cloud,
    job: Job,
    answer: dict[str, Any],
    *,
    out: Path | None = None,
    deadline: float | None = None,
    quiet: bool = False,
) -> int:
    """Waits with a live view, tells of photos left out, fetches the result if asked to; returns the exit status.

    Parameters:
        answer: the JSON document, brought up to date.
        out: where the result shall go, if anywhere.
        deadline: seconds since the epoch.
        quiet: whether stdout is left to the document.

    Raises:
        JobFailed, TimedOut: as they say.
    """
    from minimoto import console
    from minimoto.client.report import job_document, skipped
    from minimoto.client.watch import look, wait

    try:
        with console.stages() as show:
            job = wait(cloud, job.id, show, deadline=deadline, note=console.note)
    except KeyboardInterrupt:
        answer["error"] = "interrupted"
        console.note(f"stopped waiting; the job goes on. {come_back(job)}")
        return 130
    except TimedOut as error:
        raise TimedOut(f"{error}. {come_back(job)}") from error
    left_out = skipped(cloud, job)
    answer.update(job_document(job, look(cloud, job), left_out))
    tell_skipped(left_out)
    if job.state is not JobState.PROCESSING_SUCCESSFUL:
        raise JobFailed(f"{job.id}: {state_text(job.state)}: {job.error}")
    if out is not None:
        try:
            fetch_to(cloud, job, out, answer, quiet=quiet)
        except (MinimotoError, OSError, KeyboardInterrupt):
            console.note(f"the job is done; its result can be had with: minimoto fetch {job.id} --out DIR")
            raise
    return 0


def fetch_to(
    cloud: Cloud, job: Job, out: Path, answer: dict[str, Any], *, force: bool = False, quiet: bool = False
) -> None:
    """Fetches the results and prints the local paths."""
    from minimoto import console
    from minimoto.client.fetch import fetch

    try:
        files = fetch(cloud, job, out, console.transfer, force=force)
    except KeyboardInterrupt:
        end_soon()
        raise
    answer["fetched"] = [str(file) for file in files]
    if not quiet:
        for file in files:
            console.result(str(file))


def end_soon() -> None:
    """After Ctrl-C: a transfer that hangs in the network must not keep this process alive for minutes."""
    from minimoto.client.parallel import hanging

    if hanging():
        timer = threading.Timer(1.0, os._exit, [130])
        timer.daemon = True
        timer.start()


def tell_skipped(left_out: tuple[Skipped, ...]) -> None:
    """Names photos that could not be used, with the reasons, on stderr."""
    from minimoto import console

    for each in left_out[:MOST_SKIPPED]:
        console.note(f"left out: {each.name}: {each.reason}")
    if len(left_out) > MOST_SKIPPED:
        console.note(f"left out: {len(left_out) - MOST_SKIPPED} more; --json lists them all")


def come_back(job: Job) -> str:
    """How to find the job again."""
    return f"Come back with: minimoto status {job.id} --wait, or: minimoto fetch {job.id}"
