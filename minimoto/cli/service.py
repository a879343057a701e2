"""Works on tasks, in the first free slot of this node, until the queue is quiet. Cron starts it (service.cron)."""

from __future__ import annotations

import argparse

from minimoto import config
from minimoto.interruption import Stop


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "--slots", type=_positive, metavar="N", help="workers on this node (default: one a GPU, else one)"
    )
    parser.add_argument("--quiet", type=float, metavar="SECONDS", help="end when the queue has been empty for so long")
    parser.add_argument("--data-dir", metavar="FOLDER", help="for locks and working files")


def run(args: argparse.Namespace) -> int:
    """Runs one service; returns its exit status."""
    from minimoto.service import Setting, serve
    from minimoto.wiring import Cloud

    settings = config.load(args.config, slots=args.slots, quiet=args.quiet, data_dir=args.data_dir)
    status = serve(Cloud(settings), Stop(), Setting(signals=True, debug=args.debug))
    if status is None:
        # Cron comes twelve times a minute: a start without a free slot is worth no line in the log of commands.
        raise SystemExit(0)
    return status


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
