"""What happened to a job and to its tasks, in the order of time."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minimoto.core.job import Entry, Job


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("job", metavar="JOB", help="its id, or the beginning of its id or name")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from minimoto import config, console
    from minimoto.client.find import find_job
    from minimoto.client.report import entry_document, history
    from minimoto.wiring import Cloud

    with console.answer(args.json) as answer:
        cloud = Cloud(config.load(args.config))
        job = find_job(cloud.jobs, args.job)
        entries = history(cloud, job)
        answer.update({"job": job.id, "state": job.state.value, "history": [entry_document(e) for e in entries]})
        if not args.json:
            console.table(["time", "what", "where", "detail"], [_row(job, entry) for entry in entries])
    return 0


def _row(job: Job, entry: Entry) -> list[str]:
    from datetime import datetime

    time = datetime.fromtimestamp(entry.at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return [time, entry.what.replace("_", " "), _where(job, entry), entry.detail]


def _where(job: Job, entry: Entry) -> str:
    parts = []
    if entry.stage is not None and entry.stage < len(job.stages):
        stage = job.stages[entry.stage]
        task = f" {entry.task + 1}/{stage.tasks}" if entry.task is not None and stage.tasks > 1 else ""
        parts.append(f"{stage.step}{task}")
    if entry.attempt is not None and entry.attempt > 1:
        parts.append(f"try {entry.attempt}")
    if entry.node:
        parts.append(f"on {entry.node}")
    return " ".join(parts)
