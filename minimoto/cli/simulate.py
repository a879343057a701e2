"""Tries rules for the fleet's size on a simulated load: what people would wait, and what it would cost. Rents nothing.

The rule named target is the very one that the watchdog runs. Loads are made up (--workload), what this deployment has
done (--history), or your own (--trace FILE.csv: columns at, tasks, seconds, and owner, deadline and job if you like;
times in seconds).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minimoto.core.fleet_limits import Limits
    from minimoto.core.simulation.outcome import Outcome
    from minimoto.core.simulation.workload import Workload

TUNED_OF = 10
"""Jobs of which a history consists at least, for settings to be proposed for it."""
_HEAD = (
    "rule",
    "cost",
    "p50",
    "p95",
    "p99",
    "longest",
    "late",
    "node-hours",
    "nodes at most",
    "taken back",
    "killed",
    "flaps",
    "swaps",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    load = parser.add_mutually_exclusive_group()
    load.add_argument("--workload", help="mix (default), bursts, daily, giant, trickle, drought, …; "
                      "list: says what each is")  # fmt: skip
    load.add_argument("--history", action="store_true",
                      help="this deployment's own jobs (default with --tune)")  # fmt: skip
    load.add_argument("--trace", metavar="FILE", type=Path, help="your own load, CSV")
    parser.add_argument("--newest", type=int, metavar="N", help="of the history, so many jobs at most (default: 1000)")
    parser.add_argument("--export", metavar="FILE", type=Path, help="the load as CSV, for --trace")
    parser.add_argument("--rules", default="target", metavar="RULE[,RULE…]",
                        help="target (default), classic, keda, tracking, buildkite, runners, cellprofiler, skypilot; "
                        "all")  # fmt: skip
    parser.add_argument("--target", type=float, metavar="SECONDS", help="target_seconds instead of the settings'")
    parser.add_argument("--min-nodes", type=int, metavar="N", help="min_nodes instead of the settings'")
    parser.add_argument("--max-nodes", type=int, metavar="N", help="max_nodes instead of the settings'")
    parser.add_argument("--cooldown", type=float, metavar="SECONDS", help="cooldown instead of the settings'")
    parser.add_argument("--spare-nodes", type=int, metavar="N", help="spare_nodes instead of the settings'")
    parser.add_argument("--spare-share", type=float, metavar="SHARE", help="spare_share instead of the settings'")
    parser.add_argument("--thrifty", choices=("on", "off"), help="thrifty instead of the settings'")
    parser.add_argument("--slots", type=int, metavar="N", help="workers on a node (default: 1)")
    parser.add_argument("--price", type=float, metavar="DOLLARS", help="of a node an hour (default: 1.006)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of loads and of chance (default: 1)")
    parser.add_argument("--bound", action="store_true", help="what it costs at least, by one who knows all beforehand")
    parser.add_argument("--tune", action="store_true", help="propose settings for this load")
    parser.add_argument("--chart", metavar="FILE", type=Path, help="a picture of it: .png or .html")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from minimoto import console
    from minimoto.core.simulation.workload import to_csv

    if args.workload == "list":
        return _list(args.json)
    workload, limits = _workload(args), _limits(args)
    with console.answer(args.json) as answer:
        answer |= {"workload": workload.name, "jobs": len(workload.jobs), "tasks": workload.tasks,
                   "work_hours": workload.work / 3600, "target_seconds": limits.target_seconds}  # fmt: skip
        if not args.json:
            print(
                f"{workload.name}: {len(workload.jobs)} jobs, {workload.tasks} tasks, {workload.work / 3600:.1f} hours "
                f"of work; to be done within {limits.target_seconds:.0f} s\n"
            )
        if args.export:
            args.export.write_text(to_csv(workload), "utf-8")
        if args.tune:
            _tune(args, workload, limits, answer)
        else:
            _compare(args, workload, limits, answer)
        if args.bound:
            _bound(args, workload, limits, answer)
    return 0


def _list(as_json: bool) -> int:
    from minimoto import console
    from minimoto.core.simulate import WORKLOADS

    made = {name: make(1) for name, make in WORKLOADS.items()}
    with console.answer(as_json) as answer:
        answer["workloads"] = [{"name": n, "jobs": len(w.jobs), "tasks": w.tasks} for n, w in made.items()]
        if not as_json:
            console.table(
                ["workload", "what", "jobs", "tasks"],
                [[n, _what(n), str(len(w.jobs)), str(w.tasks)] for n, w in made.items()],
            )
    return 0


def _what(name: str) -> str:
    from minimoto.core.simulation import workload as loads

    if name in loads.CLASSES:
        photos, megabytes = loads.CLASSES[name]
        return f"six hours of folders of {photos} photos of {megabytes:.0f} MB"
    return (loads.WORKLOADS[name].__doc__ or "").rstrip(".")


def _workload(args: argparse.Namespace) -> Workload:
    from minimoto.core.simulate import WORKLOADS
    from minimoto.core.simulation.workload import from_csv
    from minimoto.errors import InvalidInput, UsageError

    if args.history or (args.tune and not (args.trace or args.workload)):
        workload = _history(args)
    elif args.trace:
        try:
            workload = from_csv(args.trace.read_text("utf-8").splitlines(), args.trace.name)
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{args.trace}: no text in UTF-8 ({error})") from error
    elif (args.workload or "mix") in WORKLOADS:
        workload = WORKLOADS[args.workload or "mix"](args.seed)
    else:
        raise UsageError(f"--workload {args.workload}: there are {', '.join(WORKLOADS)}")
    for name in ("slots", "price"):
        value = getattr(args, name)
        if value is not None and not 0 < value < 1e6:
            raise UsageError(f"--{name} {value}: more than 0 is expected")
    changes = {name: getattr(args, name) for name in ("slots", "price") if getattr(args, name) is not None}
    return replace(workload, world=replace(workload.world, **changes))


def _history(args: argparse.Namespace) -> Workload:
    from minimoto import config, simulate_history
    from minimoto.errors import UsageError
    from minimoto.wiring import Cloud

    newest = simulate_history.NEWEST if args.newest is None else args.newest
    if newest < 1:
        raise UsageError(f"--newest {newest}: at least 1")
    return simulate_history.read(Cloud(config.load(args.config)), TUNED_OF if args.tune else 1, newest)


def _limits(args: argparse.Namespace) -> Limits:
    from minimoto import config
    from minimoto.watchdog.observe import limits_of

    settings = config.load(args.config, required=bool(args.config))
    given: dict[str, Any] = {
        "target_seconds": args.target,
        "min_nodes": args.min_nodes,
        "max_nodes": args.max_nodes,
        "cooldown": args.cooldown,
        "spare_nodes": args.spare_nodes,
        "spare_share": args.spare_share,
        "thrifty": None if args.thrifty is None else args.thrifty == "on",
    }
    return replace(limits_of(settings), **{name: value for name, value in given.items() if value is not None})


def _compare(args: argparse.Namespace, workload: Workload, limits: Limits, answer: dict[str, Any]) -> None:
    from minimoto import console, simulate_chart
    from minimoto.core.simulate import RULES, Simulation, outcome
    from minimoto.errors import UsageError

    names = list(RULES) if args.rules == "all" else [name.strip() for name in args.rules.split(",")]
    strange = [name for name in names if name not in RULES]
    if strange:
        raise UsageError(f"--rules {strange[0]}: there are {', '.join(RULES)}, and all")
    runs = {}
    for name in names:
        trace = Simulation(workload, RULES[name](limits), args.seed).run()
        runs[name] = (trace, outcome(workload, trace, limits.target_seconds))
    answer["rules"] = {name: _document(told) for name, (_, told) in runs.items()}
    rows = [_row(name, told) for name, (_, told) in runs.items()]
    if not args.json:
        console.table(list(_HEAD), rows)
    if args.chart:
        title = f"{workload.name}: {len(workload.jobs)} jobs, {workload.tasks} tasks"
        simulate_chart.write(args.chart, title, runs, _HEAD, rows)
        answer["chart"] = str(args.chart)


def _tune(args: argparse.Namespace, workload: Workload, limits: Limits, answer: dict[str, Any]) -> None:
    from minimoto import console
    from minimoto.core.simulate import production, simulate
    from minimoto.core.simulation.tune import TUNED, tune

    begun, best = tune(
        lambda tried: simulate(workload, production("target", tried), tried.target_seconds, args.seed), limits
    )
    chosen = {name: getattr(best.limits, name) for name in TUNED}
    answer |= {"now": _document(begun.outcome), "proposed": _document(best.outcome), "settings": chosen}
    if args.json:
        return
    console.table(list(_HEAD), [_row("as it is", begun.outcome), _row("proposed", best.outcome)])
    if best is begun:
        print("\nNothing that was tried is better than the settings as they are.")
        return
    late = "" if best.keeps() else "  (still more than one job in a hundred late: a longer target, or more max_nodes)"
    print(f"\n[FLEET]{late}")
    for name, value in chosen.items():
        print(f"{name} = {'on' if value is True else 'off' if value is False else value}")


def _bound(args: argparse.Namespace, workload: Workload, limits: Limits, answer: dict[str, Any]) -> None:
    from minimoto.core.simulation.clairvoyant import clairvoyant
    from minimoto.errors import ConfigError, InvalidInput

    try:
        with quiet():
            bound = clairvoyant(workload, limits.target_seconds)
    except ImportError:
        raise ConfigError("--bound needs scipy: pip install 'minimoto[simulate]'") from None
    except ValueError as error:
        raise InvalidInput(str(error)) from error
    answer["clairvoyant"] = {"least": bound.least}
    if not args.json:
        print(f"\nwhoever knew all beforehand would pay ${bound.least:.2f} at least")


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps from stdout what is written there by the solver itself, which prints about its heuristics unasked."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _row(name: str, told: Outcome) -> list[str]:
    return [
        name, f"${told.cost:.2f}", *(f"{told.finish_at(share):.0f} s" for share in (0.5, 0.95, 0.99, 1.0)),
        str(told.missed), f"{told.hours:.1f}",
        *(str(count) for count in (told.largest, told.interrupted, told.killed, told.flaps, told.swaps)),
    ]  # fmt: skip


def _document(told: Outcome) -> dict[str, Any]:
    shares: Sequence[tuple[str, float]] = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("longest", 1.0))
    return {
        "cost": told.cost,
        "finish": {name: told.finish_at(share) for name, share in shares},
        "wait": {name: told.wait_at(share) for name, share in shares},
        "late": told.missed,
        "node_hours": told.hours,
        "node_hours_of": dict(told.hours_of),
        "nodes_at_most": told.largest,
        "killed": told.killed,
        "flaps": told.flaps,
        "swaps": told.swaps,
        "refused": told.refused,
        "interrupted": told.interrupted,
        "crashed": told.crashed,
    }
