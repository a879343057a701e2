"""Sizes the fleet to its queue, replaces broken machines, repairs stuck jobs: one pass, as cron starts it."""

from __future__ import annotations

import argparse
import sys
import threading
from typing import TYPE_CHECKING, Any

from minimoto.errors import MinimotoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from minimoto.config import Config
    from minimoto.errors import CloudError
    from minimoto.watchdog.patrol import Pass, Resize, Watchdog
    from minimoto.watchdog.prometheus import Exporter
    from minimoto.wiring import Cloud

WATCH_SECONDS = 2.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--status", action="store_true", help="print the machines, their utilisation and the queue")
    what.add_argument("--watch", action="store_true", help="show the fleet live until Ctrl-C")
    what.add_argument("--explain", action="store_true", help="say what was decided last, why, and on what grounds")
    what.add_argument(
        "--scale_to",
        "--scale-to",
        metavar="N",
        help="set the number of nodes by hand, kept until --scale_to=auto (at most max_nodes)",
    )
    what.add_argument(
        "--loop",
        nargs="?",
        type=float,
        const=0.0,
        metavar="SECONDS",
        help="pass after pass, each so many seconds after the last began (default: watchdog_every)",
    )
    parser.add_argument("--since", metavar="TIME", help="with --explain: every decision of the last 30m, 1h, 2d, ...")
    parser.add_argument("--keep-failed", action="store_true", default=None,
        help="nodes that took themselves out are replaced, but stay to be looked at")  # fmt: skip
    parser.add_argument("--policy", help="target or classic, instead of configure.ini's (asg: only from there)")
    parser.add_argument("--json", action="store_true", help="JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from minimoto.errors import UsageError
    from minimoto.wiring import Cloud

    if args.since and not args.explain:
        raise UsageError("--since belongs to --explain")
    if args.loop is not None and args.loop < 0:
        raise UsageError(f"--loop {args.loop:g}: seconds, not less than 0")
    settings = _settings(args)
    cloud = Cloud(settings)
    if args.status:
        return _status(cloud, args.json)
    if args.watch:
        return _watch(cloud)
    if args.explain:
        return _explain(cloud, args.since, args.json)
    if args.loop is not None:
        return _loop(cloud, args.loop or None, args.json, _renewed(settings, args))
    return _pass(cloud, _resize(args.scale_to, settings), args.json)


def _settings(args: argparse.Namespace) -> Config:
    """The settings, with those of the command line over them.

    Raises:
        ConfigError: they cannot be a fleet's.
        UsageError: the command line asks for what only setup can bring about.
    """
    from minimoto import config
    from minimoto.core.policies import choose
    from minimoto.errors import UsageError
    from minimoto.watchdog.observe import limits_of

    settings = config.load(args.config, policy=args.policy, keep_failed=args.keep_failed)
    if args.policy and config.load(args.config).grouped is not settings.grouped:
        raise UsageError(
            f"--policy {args.policy}: setup makes and removes Auto Scaling groups: set [FLEET] policy, then run setup"
        )
    if args.keep_failed and settings.grouped and not config.load(args.config).keep_failed:
        raise UsageError(
            "--keep-failed: setup lets a watchdog take machines out of its Auto Scaling group:"
            " set [FLEET] keep_failed = on, then run setup"
        )
    choose(settings.policy, limits_of(settings))
    return settings


def _status(cloud: Cloud, as_json: bool) -> int:
    from minimoto import console
    from minimoto.watchdog.problems import Problems
    from minimoto.watchdog.status import fleet_status, status_document, status_lines

    problems = Problems()
    status = fleet_status(cloud, problems)
    if as_json:
        console.document({**status_document(status), "problems": problems.lines})
    else:
        for line in status_lines(status):
            console.result(line)
    _complain(problems.lines)
    return 1 if problems.lines else 0


def _watch(cloud: Cloud) -> int:
    from minimoto.errors import UsageError
    from minimoto.watchdog.watch import watch

    if not sys.stdout.isatty():
        raise UsageError("--watch draws on a terminal; --status and --status --json print")
    try:
        watch(cloud, WATCH_SECONDS, threading.Event())
    except KeyboardInterrupt:
        # The way this view is meant to be left.
        return 0
    return 0


def _explain(cloud: Cloud, since: str | None, as_json: bool) -> int:
    from minimoto import console
    from minimoto.watchdog import explain

    now = cloud.clock.now()
    if since is not None:
        documents = explain.history(cloud, explain.seconds_of(since))
        if as_json:
            console.document(documents)
            return 0
        for line in explain.history_lines(documents) or [f"no decision in the last {since}"]:
            console.result(line)
        return 0
    newest = explain.newest(cloud)
    if as_json:
        console.document(newest)
    else:
        for line in explain.newest_lines(newest, now):
            console.result(line)
    return 0


def _pass(cloud: Cloud, resize: Resize | None, as_json: bool) -> int:
    watchdog = _watchdog(cloud)
    done = watchdog.run_pass(resize)
    if done is None and resize is not None:
        done = _wait_for_turn(cloud, watchdog, resize)
    _tell(done, as_json)
    return 0


def _wait_for_turn(cloud: Cloud, watchdog: Watchdog, resize: Resize) -> Pass:
    """A size set by hand waits for the pass that is under way; cron's next pass may well come first."""
    from minimoto.errors import TimedOut
    from minimoto.watchdog.patrol import LEAST_LEASE

    patience = max(LEAST_LEASE, 2 * cloud.config.watchdog_every)
    deadline = cloud.clock.monotonic() + patience
    while cloud.clock.monotonic() < deadline:
        cloud.clock.sleep(0.5)
        done = watchdog.run_pass(resize)
        if done is not None:
            return done
    raise TimedOut(f"another watchdog has been at it for {patience:.0f} s: the size was not set; try again")


def _loop(
    cloud: Cloud, every: float | None, as_json: bool, renewed: Callable[[], Watchdog | None] = lambda: None
) -> int:
    import signal

    from minimoto.stop_event import StopEvent

    stop = StopEvent()
    for number in (signal.SIGTERM, signal.SIGINT):
        # The pass under way is finished first, so that its lease is given back.
        signal.signal(number, lambda *_: stop.set())
    exporter = _exporter(cloud.config)

    def tell(done: Pass | CloudError | None) -> None:
        _tell(done, as_json)
        if exporter is not None and done is not None and not isinstance(done, Exception):
            exporter.tell(done)

    _watchdog(cloud).loop(every, stop, tell, renewed)
    return 0


def _renewed(settings: Config, args: argparse.Namespace) -> Callable[[], Watchdog | None]:
    """Asked before each pass: a watchdog with the settings that setup has brought meanwhile, if they are others."""
    from minimoto import console
    from minimoto.wiring import Cloud

    known, wrong = settings, ""

    def renewed() -> Watchdog | None:
        nonlocal known, wrong
        try:
            now, wrong_now = _settings(args), ""
        except MinimotoError as error:
            now, wrong_now = known, f"{error}: the settings from before are kept"
        if wrong_now not in ("", wrong):
            _complain([wrong_now])
        wrong = wrong_now
        if now == known:
            return None
        known = now
        console.note("the settings have changed: the watchdog goes on with the new ones")
        return _watchdog(Cloud(now))

    return renewed


def _exporter(settings: Config) -> Exporter | None:
    from minimoto.watchdog.prometheus import Exporter, address

    if not settings.metrics:
        return None
    exporter = Exporter()
    exporter.serve(*address(settings.metrics))
    return exporter


def _watchdog(cloud: Cloud) -> Watchdog:
    from minimoto.watchdog.patrol import Watchdog
    from minimoto.wiring import price_per_hour

    return Watchdog(cloud, price_per_hour(cloud.config))


def _resize(text: str | None, settings: Config) -> Resize | None:
    from minimoto import console
    from minimoto.core.readable import counted
    from minimoto.errors import UsageError
    from minimoto.watchdog.patrol import Resize

    if text is None:
        return None
    if text == "auto":
        return Resize(None)
    if not text.isdecimal():
        raise UsageError(f"--scale_to={text}: a number of nodes, or auto, is expected")
    if int(text) > settings.max_nodes:
        most = counted(settings.max_nodes, "node")
        console.note(f"--scale_to={text}: {most} at most ([FLEET] max_nodes), so {settings.max_nodes}")
    return Resize(min(int(text), settings.max_nodes))


def _tell(done: Pass | CloudError | None, as_json: bool) -> None:
    from minimoto import console
    from minimoto.errors import CloudError

    if done is None:
        console.note("another watchdog is at it; nothing was done")
        return
    if isinstance(done, CloudError):
        _complain([str(done)])
        return
    if as_json:
        console.document(done.document())
    else:
        for line in (done.decision.reason, *done.done):
            console.result(line)
    _complain(done.problems)


def _complain(lines: Any) -> None:
    from minimoto import console

    for line in lines:
        console.note(f"problem: {line}")
