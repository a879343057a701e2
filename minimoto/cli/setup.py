"""Makes a deployment: every resource that is missing, each tagged with its name; what stands and is right is kept."""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minimoto.aws.resources.deployment import Deployment
    from minimoto.config import Config

NAME = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")
"""A deployment's name becomes part of bucket names."""

LAST_WORDS = "minimoto_setup: mandatory output messages follow"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    where(parser)
    parser.add_argument("--service-type", metavar="TYPE", help="instance type of the service machines")
    parser.add_argument("--local", action="store_true", help="on the embedded AWS of this computer; no account needed")
    parser.add_argument(
        "--state", metavar="DIR", type=Path, default=Path(".minimoto"), help="of the embedded AWS (default: .minimoto)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and what it costs; change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask before making what costs money")
    parser.add_argument(
        "--point-in-time-recovery", action="store_true", help="keep 35 days of backups of the table (costs extra)"
    )


def where(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say which deployment is meant."""
    parser.add_argument("--name", help="the deployment's name; several live side by side (default: minimoto)")
    parser.add_argument("--region", help="AWS region")
    parser.add_argument("--profile", help="profile of ~/.aws (default: boto3's own chain)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from minimoto import console
    from minimoto.wiring import Cloud

    with console.answer(args.json) as answer:
        file, settings = _settings(args)
        keys = args.state.resolve() if settings.local else Path.home() / ".ssh"
        more = {"point_in_time_recovery": True} if args.point_in_time_recovery else {}
        deployment = Cloud(settings).deployment(keys, console.note, **more)
        answer.update(deployment=settings.name, region=settings.region)
        if args.dry_run:
            _show_plan(deployment, answer, quiet=args.json)
            return 0
        if not settings.local and not args.yes:
            _ask(deployment)
        _bring_models(settings)
        with ended_by_sigterm():
            _make(deployment, file, answer, quiet=args.json)
    return 0


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM do what Ctrl-C does: what was begun is undone, not abandoned."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _settings(args: argparse.Namespace) -> tuple[Path, Config]:
    """Where the settings are kept, and what they are: the file's, with those of the command line over them."""
    from minimoto import config
    from minimoto.clock import SystemClock
    from minimoto.errors import UsageError
    from minimoto.settings_check import check

    file = config.find(args.config)
    stands = config.load(args.config, required=False)
    given = {"name": args.name, "region": args.region, "profile": args.profile, "service_type": args.service_type}
    settings = replace(stands, **{key: value for key, value in given.items() if value is not None})
    if not NAME.fullmatch(settings.name):
        raise UsageError(
            f"{settings.name!r} cannot be a deployment's name: a letter, then letters, digits and hyphens, all small, "
            "30 at most, with no hyphen at the end"
        )
    if stands.queue_url and (stands.name, stands.region) != (settings.name, settings.region):
        raise UsageError(
            f"{file} is the record of deployment {stands.name} in {stands.region}: name another file with --config"
        )
    check(settings, file, SystemClock().now())
    if args.local:
        settings = _on_this_computer(args, settings, file)
    return file, settings


def _on_this_computer(args: argparse.Namespace, settings: Config, file: Path) -> Config:
    from minimoto.errors import UsageError
    from minimoto.local.daemon import ensure_started
    from minimoto.local.laptop import laptop_config

    if settings.queue_url and not settings.local:
        raise UsageError(f"{file} is the record of a deployment in AWS: name another file with --config")
    url = ensure_started(args.state)
    if file.exists():
        return replace(settings, endpoint_url=url)
    new = laptop_config(url, args.state.resolve())
    kind = args.service_type or new.service_type
    return replace(new, name=settings.name, region=settings.region, service_type=kind)


def _show_plan(deployment: Deployment, answer: dict[str, Any], *, quiet: bool) -> None:
    from minimoto import console

    planned, cost = deployment.plan(), deployment.estimate()
    counts = {
        action: sum(p.action == action for p in planned) for action in ("make", "keep", "repair", "remove", "differs")
    }
    answer["plan"] = [{"action": p.action, "what": p.what, "detail": p.detail} for p in planned]
    answer["cost"] = {
        "currency": "USD",
        "hourly": round(cost.hourly, 4),
        "monthly": round(cost.monthly, 2),
        "not_included": [*cost.unknown, *cost.caveats],
    }
    if quiet:
        return
    for line in planned:
        console.result(str(line))
    for text in cost.lines():
        console.result(text)
    if deployment.config.local:
        console.result("  on the embedded AWS of this computer it costs nothing")
    console.result("plan: " + ", ".join(f"{count} to {action}" for action, count in counts.items() if count))
    console.result("nothing was changed")


def _ask(deployment: Deployment) -> None:
    from minimoto import console
    from minimoto.errors import UsageError

    planned = deployment.plan()
    new = [p for p in planned if p.action == "make"]
    if not new:
        return
    for line in planned:
        console.note(str(line))
    for text in deployment.estimate().lines():
        console.note(text)
    if not sys.stdin.isatty():
        raise UsageError(
            f"{len(new)} resources would be made, which cost money: add --yes to make them, or --dry-run to look"
        )
    if input(f"Make these {len(new)} resources? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise UsageError("nothing was made")


def _bring_models(settings: Config) -> None:
    """Fetches what the image shall carry before anything is made: a model that cannot be had costs nothing yet. One
    that nobody asked for by name is then left out."""
    from minimoto import console
    from minimoto.baked_models import named, wished
    from minimoto.cli.models import Bar
    from minimoto.engines.registry import fetch
    from minimoto.errors import ModelMissing

    for name in named(settings):
        with Bar(name) as bar:
            fetch(name, report=bar)
    for name in wished(settings):
        try:
            with Bar(name) as bar:
                fetch(name, report=bar)
        except ModelMissing as error:
            console.note(f"setup goes on without a model for the image: {error}")


def _make(deployment: Deployment, file: Path, answer: dict[str, Any], *, quiet: bool) -> None:
    from minimoto import config, console

    before = file.read_bytes() if file.exists() else None
    stood = config.read_output(file)

    def restore() -> None:
        if before is None:
            file.unlink(missing_ok=True)
        elif file.read_bytes() != before:
            file.write_bytes(before)

    outcome = deployment.setup(lambda settings: config.save(settings, file, stood), restore)
    outputs = deployment.outputs()
    if before is None or config.dump(deployment.config, outputs).encode() != before:
        config.save(deployment.config, file, outputs)
    answer.update(
        made=outcome.made,
        kept=outcome.kept,
        repaired=outcome.repaired,
        drift=outcome.drift,
        removed=outcome.removed,
        config=str(file),
        **outputs,
    )
    if not outcome.changed:
        rest = f"; {len(outcome.drift)} differences are left as they are (see above)" if outcome.drift else ""
        console.note(f"nothing to do: deployment {deployment.config.name} stands{rest}")
    if not quiet:
        console.result(LAST_WORDS)
        for name, value in outputs.items():
            console.result(f"{name.upper()}={value}")
