"""Call a job off."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("job", metavar="JOB", help="its id, or the beginning of its id or name")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns 0 if the job is cancelled (now or before), 1 if it had ended otherwise."""
    from minimoto import config, console
    from minimoto.client.find import find_job, owner
    from minimoto.client.report import job_document
    from minimoto.client.submit import dispatcher
    from minimoto.core.events import CancelRequested
    from minimoto.core.job import JobState
    from minimoto.core.readable import state_text
    from minimoto.wiring import Cloud

    with console.answer(args.json) as answer:
        settings = config.load(args.config)
        cloud = Cloud(settings)
        before = find_job(cloud.jobs, args.job)
        after = dispatcher(cloud).apply(before, CancelRequested(owner(settings)))
        cancelled = after.state is JobState.CANCELLED
        answer.update(job_document(after))
        answer["cancelled"] = cancelled
        if not args.json:
            ended = before.state.final or not cancelled
            text = f"had already ended: {state_text(after.state)}" if ended else "is cancelled"
            console.result(f"{after.id} {text}")
    return 0 if cancelled else 1
