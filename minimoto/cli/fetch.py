"""Download a job's results."""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("job", metavar="JOB", help="its id, or the beginning of its id or name")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder (default: this one; for several files, one named after the job)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite files with other content")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from minimoto import config, console
    from minimoto.cli.waiting import fetch_to
    from minimoto.client.find import find_job
    from minimoto.client.report import job_document
    from minimoto.wiring import Cloud

    with console.answer(args.json) as answer:
        cloud = Cloud(config.load(args.config))
        job = find_job(cloud.jobs, args.job)
        answer.update(job_document(job))
        out = args.out or (Path(job.id) if len(job.results) > 1 else Path())
        fetch_to(cloud, job, out, answer, force=args.force, quiet=args.json)
    return 0
