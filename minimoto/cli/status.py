"""How far a job has come."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minimoto.client.report import Cost
    from minimoto.core.job import Job
    from minimoto.core.progress import JobProgress
    from minimoto.wiring import Cloud


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("job", metavar="JOB", help="its id, or the beginning of its id or name")
    parser.add_argument("--wait", action="store_true", help="until it is done: exit 0 done, 1 failed, 130 Ctrl-C")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from minimoto import config, console
    from minimoto.cli.waiting import tell_skipped, wait_and_fetch
    from minimoto.client.find import find_job
    from minimoto.client.report import cost, job_document, skipped
    from minimoto.client.watch import look
    from minimoto.wiring import Cloud

    with console.answer(args.json) as answer:
        cloud = Cloud(config.load(args.config))
        job = find_job(cloud.jobs, args.job)
        if args.wait:
            return wait_and_fetch(cloud, job, answer, quiet=args.json)
        progress, left_out, paid = look(cloud, job), skipped(cloud, job), cost(cloud, job)
        answer.update(job_document(job, progress, left_out))
        answer |= {"node_seconds": round(paid.seconds, 1), "cost": paid.dollars}
        if not args.json:
            _tell(cloud, job, progress, paid)
            tell_skipped(left_out)
    return 0


def _tell(cloud: Cloud, job: Job, progress: JobProgress, paid: Cost) -> None:
    from minimoto import console
    from minimoto.client.submit import output
    from minimoto.client.watch import remaining_text
    from minimoto.core.readable import counted

    lines = [("job", job.id), ("state", console.summary_text(job, progress)), ("owner", job.owner)]
    lines += [("photos", counted(job.photos, "photo") if job.photos else "not known yet"), ("pipeline", job.pipeline)]
    lines += [(f"  {stage.step}", console.stage_text(stage)) for stage in progress.stages]
    if job.deadline is not None:
        lines.append(("deadline", remaining_text(job.deadline, cloud.clock.now())))
    if job.limit and job.running is not None:
        lines.append(("held back", job.limit))
    if job.error:
        lines.append(("reason", job.error))
    if paid.seconds:
        of = "" if job.budget is None else f" (its budget: ${job.budget:.2f})"
        lines.append(("cost", paid.text(job.photos) + of))
    lines.append(("output", str(output(job))))
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        console.result(f"{name:<{width}}  {text}")
