"""Deletes a deployment: everything that carries its tags, and nothing else; also after a setup that was cut short."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from minimoto.cli.setup import ended_by_sigterm, where

if TYPE_CHECKING:
    from minimoto.config import Config

MOST_COUNTED = 1000
"""Objects of a bucket that are counted."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    where(parser)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--yes", action="store_true", help="delete the results too, without asking")
    choice.add_argument("--keep-results", action="store_true", help="keep the output bucket and what is in it")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from minimoto import config, console
    from minimoto.core.readable import counted
    from minimoto.wiring import Cloud

    with console.answer(args.json) as answer:
        file = config.find(args.config)
        stands = config.load(args.config, required=False)
        given = {"name": args.name, "region": args.region, "profile": args.profile}
        settings = replace(stands, **{key: value for key, value in given.items() if value is not None})
        answer.update(deployment=settings.name, region=settings.region)
        recorded = file.exists() and (stands.name, stands.region) == (settings.name, settings.region)
        keys = Path(stands.key_file).expanduser().parent if stands.key_file else Path.home() / ".ssh"
        deployment = Cloud(settings).deployment(keys, console.note)
        survey = deployment.survey()
        keep = args.keep_results
        if survey.results and not args.yes and not keep:
            keep = _keep(survey.results)
        with ended_by_sigterm():
            removal = deployment.remove(keep_results=keep)
        answer.update(removed=removal.removed, kept=removal.kept, problems=removal.problems)
        if removal.problems:
            console.note(f"{len(removal.problems)} things could not be deleted; run this again when that is mended:")
            for problem in removal.problems:
                console.note(f"  {problem}")
            return 1
        if recorded:
            _forget(deployment.forget_key(stands), file, kept=bool(removal.kept))
        if not args.json:
            done = f"deleted {counted(len(removal.removed), 'resource')}" if removal.removed else "nothing to delete"
            rest = f"; kept: {', '.join(removal.kept)}" if removal.kept else ""
            console.result(f"{done} of deployment {settings.name} in {settings.region}{rest}")
    return 0


def _keep(results: Sequence[tuple[str, int]]) -> bool:
    """Asks what shall become of results; ``False``: they are deleted.

    Raises:
        UsageError: nobody can be asked, or the answer is not to delete anything.
    """
    from minimoto.errors import UsageError

    what = ", ".join(f"s3://{name} holds {_many(count)}" for name, count in results)
    if not sys.stdin.isatty():
        raise UsageError(f"{what}: add --yes to delete them too, or --keep-results; nothing was deleted")
    answer = input(f"{what}. Delete them [d], keep them [k], or stop [S]? ").strip().lower()
    if answer not in {"d", "k"}:
        raise UsageError("nothing was deleted")
    return answer == "k"


def _many(count: int) -> str:
    from minimoto.core.readable import counted

    return counted(count, "object") if count < MOST_COUNTED else f"{MOST_COUNTED} objects or more"


def _forget(stands: Config, file: Path, *, kept: bool) -> None:
    """Takes the ids of what is gone out of the settings; a file without anything else in it goes too.

    One of the embedded AWS stays: without it the next command would be meant for AWS itself.
    """
    from minimoto import config, console
    from minimoto.config import Config

    bare = config.without_ids(stands)
    if kept:
        bare = replace(bare, bucket_output=stands.bucket_output)
    untouched = replace(Config(), name=bare.name, region=bare.region, profile=bare.profile)
    if not kept and bare == untouched:
        file.unlink(missing_ok=True)
        console.note(f"deleted  {file}")
    elif bare != stands or config.read_output(file):
        config.save(bare, file)
        console.note(f"kept     {file}, without the ids of what is gone")
