"""The embedded AWS of this computer: the same programs, no account, machines that are processes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minimoto.local.daemon import Daemon


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    start = _action(actions, "start", "start it, unless it runs")
    start.add_argument("--port", type=int, default=0, help="on 127.0.0.1 (default: the one before, or a free one)")
    start.add_argument("--boot-seconds", type=float, default=1.0, metavar="S", help="a new machine is pending so long")
    start.add_argument(
        "--write-config",
        metavar="FILE",
        type=Path,
        help="write the settings of a deployment on it: a new file for one laptop, or its address into an old one",
    )
    _action(actions, "stop", "stop it and its machines; all that it holds is forgotten")
    _action(actions, "status", "where it answers, and its machines")
    _action(actions, "reset", "forget everything, go on running")
    interrupt = _action(actions, "interrupt", "send a machine the notice of a spot interruption")
    interrupt.add_argument("instance", metavar="ID", help="instance id")
    interrupt.add_argument("--seconds", type=float, default=120.0, help="until it is terminated (default: 120)")
    logs = _action(actions, "logs", "what a machine printed, or the embedded AWS itself")
    logs.add_argument("instance", metavar="ID", nargs="?", help="instance id (default: the embedded AWS)")
    logs.add_argument("--lines", type=int, default=200, metavar="N", help="the last N lines (default: 200)")


def _action(actions: Any, name: str, help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=help, description=help)
    parser.add_argument("--state", metavar="DIR", type=Path, default=Path(".minimoto"), help="default: .minimoto")
    if name in ("start", "status"):
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    actions = {"start": _start, "stop": _stop, "status": _status, "reset": _reset, "interrupt": _interrupt}
    return {**actions, "logs": _logs}[args.action](args)


def _start(args: argparse.Namespace) -> int:
    from minimoto import console
    from minimoto.local import daemon
    from minimoto.local.laptop import write_config
    from minimoto.local.settings import LocalSettings

    with console.answer(args.json) as answer:
        url = daemon.ensure_started(args.state, LocalSettings(port=args.port, boot_seconds=args.boot_seconds))
        answer.update(url=url, state=str(args.state.resolve()))
        if args.write_config:
            write_config(args.write_config, url, args.state.resolve())
            answer["config"] = str(args.write_config)
        if not args.json:
            console.result(f"the embedded AWS answers at {url}")
            if args.write_config:
                console.result(f"settings: {args.write_config}; next: minimoto setup --config {args.write_config}")
            else:
                console.result(f"in configure.ini: [INIT] endpoint_url = {url}   (or: --write-config configure.ini)")
    return 0


def _stop(args: argparse.Namespace) -> int:
    from minimoto import console
    from minimoto.local import daemon

    stopped = daemon.stop(args.state)
    console.result("stopped; what it held is forgotten" if stopped else f"no embedded AWS ran in {args.state}")
    return 0


def _status(args: argparse.Namespace) -> int:
    from minimoto import console
    from minimoto.local import daemon

    with console.answer(args.json) as answer:
        found = daemon.require(args.state)
        status = found.ask("status")
        answer.update(status, state=str(args.state.resolve()))
        if not args.json:
            _tell(found, status, args.state.resolve())
    return 0


def _tell(found: Daemon, status: dict[str, Any], state: Path) -> None:
    from minimoto import console

    console.result(f"url     {found.url}")
    console.result(f"pid     {found.process.pid}")
    console.result(f"state   {state}")
    console.result("memory  what it holds is forgotten when it stops")
    if not status["instances"]:
        console.result("no machines")
        return
    rows = []
    for machine in status["instances"]:
        state_name = "impaired" if machine["impaired"] and machine["state"] == "running" else machine["state"]
        pid = str(machine["pid"] or "-")
        cpu = "-" if machine["cpu"] is None else f"{machine['cpu']:.0f}%"
        rows.append([machine["id"], machine["role"], machine["deployment"], state_name, pid, cpu])
    console.table(["instance", "role", "deployment", "state", "pid", "cpu"], rows)


def _reset(args: argparse.Namespace) -> int:
    from minimoto import console
    from minimoto.local import daemon

    daemon.require(args.state).ask("reset", {})
    console.result("everything is forgotten")
    return 0


def _interrupt(args: argparse.Namespace) -> int:
    from minimoto import console
    from minimoto.local import daemon

    daemon.require(args.state).ask("interrupt", {"instance": args.instance, "seconds": args.seconds})
    console.result(f"{args.instance} has its notice; it is terminated in {args.seconds:g} s")
    return 0


def _logs(args: argparse.Namespace) -> int:
    from collections import deque

    from minimoto import console
    from minimoto.errors import NotFound
    from minimoto.local.daemon import LOG

    # Only a name of a folder: no path leads out of the state folder.
    name = Path(args.instance).name if args.instance else ""
    file = args.state / "nodes" / name / "node.log" if name else args.state / LOG
    try:
        with file.open(encoding="utf-8", errors="replace") as log:
            for line in deque(log, maxlen=max(1, args.lines)):
                console.result(line.rstrip("\n"))
    except OSError:
        raise NotFound(f"there is no log {file}; see minimoto local status; --state names another folder") from None
    return 0
