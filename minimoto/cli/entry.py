"""How every command starts and ends: arguments, one line for an error, an exit status, a line in ``minimoto.log``."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from minimoto import __version__
from minimoto.errors import MinimotoError

COMMANDS = {
    "submit": ("minimoto.cli.submit", "send a folder of photos"),
    "status": ("minimoto.cli.status", "how far a job has come"),
    "list": ("minimoto.cli.list", "the newest jobs"),
    "cancel": ("minimoto.cli.cancel", "call a job off"),
    "fetch": ("minimoto.cli.fetch", "download a job's results"),
    "history": ("minimoto.cli.history", "what happened to a job"),
    "setup": ("minimoto.cli.setup", "make a deployment in AWS"),
    "watchdog": ("minimoto.cli.watchdog", "size the fleet; --status shows it"),
    "fleet": ("minimoto.cli.fleet", "why the fleet was as large as it was"),
    "simulate": ("minimoto.cli.simulate", "try rules for the fleet's size on simulated loads"),
    "service": ("minimoto.cli.service", "work on tasks (started by cron on the nodes)"),
    "cleanup": ("minimoto.cli.cleanup", "delete a deployment"),
    "models": ("minimoto.cli.models", "the networks' weights: list, fetch, verify"),
    "styles": ("minimoto.cli.styles", "the style pictures that come with minimoto"),
    "local": ("minimoto.cli.local", "the embedded AWS of this computer"),
    "completion": ("minimoto.cli.completion", "print shell completion"),
}
"""Every command: its module, and one line about it."""

EXTRAS = {
    "h5py": "models",
    "matplotlib": "simulate",
    "moto": "local",
    "prometheus_client": "metrics",
    "scipy": "simulate",
    "torch": "torch",
}
"""Packages that a plain installation does not bring, by what brings them."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command ``minimoto``."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((a for a in arguments if not a.startswith("-")), None)

    def run() -> int:
        parser = build_parser(only=command if command in COMMANDS else None)
        return _parse_and_run(parser, arguments, "minimoto")

    return _with_packages(run, "minimoto", arguments)


def script(command: str) -> int:
    """A top-level script, such as ``minimoto_client.py``: one command, its own name."""
    name = Path(sys.argv[0]).name

    def run() -> int:
        module = importlib.import_module(COMMANDS[command][0])
        parser = argparse.ArgumentParser(prog=name, description=module.__doc__)
        _common(parser)
        module.configure(parser)
        parser.set_defaults(run=module.run)
        return _parse_and_run(parser, sys.argv[1:], name)

    return _with_packages(run, name, sys.argv[1:])


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of ``minimoto``; with ``only``, the modules of the other commands are not imported."""
    parser = argparse.ArgumentParser(prog="minimoto", description="Folders of photos become films, on a fleet.")
    parser.add_argument("--version", action="version", version=f"minimoto {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module_name, help) in COMMANDS.items():
        sub = commands.add_parser(name, help=help)
        if only in (None, name):
            module = importlib.import_module(module_name)
            sub.description = module.__doc__
            _common(sub)
            module.configure(sub)
            sub.set_defaults(run=module.run)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="settings (default: configure.ini)")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")


def _with_packages(run: Callable[[], int], name: str, arguments: Sequence[str]) -> int:
    """Runs a command; where a package that it needs is missing, says how to install it: most often it is the wrong
    Python that was asked."""
    try:
        return run()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", __name__.partition(".")[0]) or "--debug" in arguments:
            raise
        ours = Path(__file__).parents[2]
        what = str(ours) if (ours / "pyproject.toml").exists() else "minimoto"
        what += f"[{EXTRAS[package]}]" if package in EXTRAS else ""
        install = shlex.join([sys.executable, "-m", "pip", "install", what])
        print(f"{name}: this Python lacks the package {package}; run: {install}", file=sys.stderr)
        return 1


def _parse_and_run(parser: argparse.ArgumentParser, arguments: Sequence[str], name: str) -> int:
    args = parser.parse_args(arguments)
    try:
        status, outcome = int(args.run(args)), ""
    except MinimotoError as error:
        if args.debug:
            raise
        outcome, status = str(error), error.exit_status
        print(f"{name}: {outcome}", file=sys.stderr)
    except KeyboardInterrupt:
        outcome, status = "interrupted", 130
        print(f"{name}: interrupted", file=sys.stderr)
    except BrokenPipeError:
        # Whoever read our output has gone (as in "| head"): not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        outcome, status = "", 0
    except OSError as error:
        # A full disk, a folder that may not be written: nothing that minimoto itself could put right.
        if args.debug:
            raise
        outcome, status = ": ".join(filter(None, (str(error.filename or ""), error.strerror or str(error)))), 1
        print(f"{name}: {outcome}", file=sys.stderr)
    _log(args, name, arguments, outcome or ("ok" if status == 0 else f"exit status {status}"))
    return status


def _log(args: argparse.Namespace, name: str, arguments: Sequence[str], outcome: str) -> None:
    from minimoto import config

    try:
        file = Path(config.load(args.config, required=False).log_file).expanduser()
        file.parent.mkdir(parents=True, exist_ok=True)
        when = datetime.now(UTC).isoformat(timespec="seconds")
        with file.open("a", encoding="utf-8") as log:
            log.write(f"{when} {name} {' '.join(arguments)} -> {outcome}\n")
    except (OSError, MinimotoError):
        # The log is a service to the user: a full or read-only home must not fail the command.
        return
