"""The newest jobs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minimoto.core.job import Job


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("--all", action="store_true", help="those of every owner")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="how many at most (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from minimoto import config, console
    from minimoto.client.find import owner
    from minimoto.client.report import job_document
    from minimoto.errors import UsageError
    from minimoto.wiring import Cloud

    with console.answer(args.json) as answer:
        if args.limit < 1:
            raise UsageError(f"--limit {args.limit}: at least 1")
        settings = config.load(args.config)
        cloud = Cloud(settings)
        jobs = cloud.jobs.recent(args.limit, "" if args.all else owner(settings))
        answer["jobs"] = [job_document(job) for job in jobs]
        if not args.json:
            _tell(jobs, cloud.clock.now(), everybody=args.all, owner=owner(settings))
    return 0


def _tell(jobs: list[Job], now: float, *, everybody: bool, owner: str) -> None:
    from minimoto import console
    from minimoto.core.readable import duration_text, state_text

    if not jobs:
        console.note("no jobs" if everybody else f"no jobs of {owner}; --all shows those of everybody")
        return
    columns = ["job", "state", "photos", "age", *(["owner"] if everybody else []), "pipeline"]
    rows = [
        [
            job.id,
            state_text(job.state),
            str(job.photos or "-"),
            duration_text(now - job.created),
            *([job.owner] if everybody else []),
            job.pipeline,
        ]
        for job in jobs
    ]
    console.table(columns, rows)
