"""What the fleet was, and why: minimoto fleet history answers "why 7 nodes at 14:05?"."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minimoto.watchdog.fleet_history import Moment

WIDTH = 72


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    history = actions.add_parser("history", help="the fleet's size over time, and every decision that changed it")
    history.add_argument("--since", default="1h", metavar="TIME", help="of the last 30m, 1h (default), 2d, ...")
    history.add_argument("--at", metavar="TIME", help="why it was as it was at 14:05, or at 2026-11-26 14:05")
    history.add_argument("--json", action="store_true", help="one JSON document on stdout")
    # Also behind the action, where one would write it; left out there, what stands before the action holds.
    history.add_argument(
        "--config", metavar="FILE", default=argparse.SUPPRESS, help="settings (default: configure.ini)"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from minimoto import config, console
    from minimoto.watchdog import explain
    from minimoto.watchdog import fleet_history as kept
    from minimoto.wiring import Cloud

    cloud = Cloud(config.load(args.config))
    now = cloud.clock.now()
    with console.answer(args.json) as answer:
        if args.at:
            when = kept.moment_of(args.at, now)
            last, before = kept.at(kept.moments(cloud, min(now - when, kept.KEPT_SECONDS) + 2 * kept.BEFORE), when)
            answer |= {"at": when, "nodes": last.nodes, "decided": last.document,
                       "before": [moment.document for moment in before]}  # fmt: skip
            if not args.json:
                _tell_at(when, last, before)
            return 0
        seconds = explain.seconds_of(args.since)
        found = kept.moments(cloud, seconds)
        answer |= {"sizes": [{"at": m.at, "nodes": m.nodes} for m in found],
                   "changes": [m.document for m in found if m.changed]}  # fmt: skip
        if not args.json:
            _tell(found, now - seconds, now, args.since)
    return 0


def _tell(found: list[Moment], start: float, now: float, since: str) -> None:
    from minimoto.watchdog import fleet_history as kept

    if not found:
        print(f"no decision in the last {since}")
        return
    most = max((moment.nodes or 0 for moment in found), default=0)
    print(f"nodes in the last {since}, {most} at most:")
    print(kept.bars(found, start, now, WIDTH))
    print(f"{kept.text_of(start)}{kept.text_of(now):>{WIDTH - 19}}\n")
    changes = [moment for moment in found if moment.changed]
    for moment in changes:
        _tell_moment(moment)
    if not changes:
        print(f"nothing changed; newest: {found[-1].document['reason']}")


def _tell_at(when: float, last: Moment, before: list[Moment]) -> None:
    from minimoto.watchdog import explain, fleet_history

    nodes = "an unknown number of nodes" if last.nodes is None else f"{last.nodes} node{'s' * (last.nodes != 1)}"
    print(f"{fleet_history.text_of(when)}: {nodes}")
    for line in explain.newest_lines(last.document, when):
        print(f"  {line}")
    if before:
        print("what changed in the hour before:")
    for moment in before:
        _tell_moment(moment)


def _tell_moment(moment: Moment) -> None:
    from minimoto.watchdog import fleet_history

    document: dict[str, Any] = moment.document
    print(f"{fleet_history.text_of(moment.at)}  {document['reason']}")
    for line in document["done"]:
        print(f"{'':19}  {line}")
