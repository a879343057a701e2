"""``--watch``: a live table of the fleet. It only looks; the watchdog under cron acts."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minimoto.core.fleet_memory import Memory, complete
from minimoto.core.fleet_recall import load
from minimoto.core.fleet_view import GONE, Node, View
from minimoto.core.job import JobState
from minimoto.core.readable import counted, duration_text, printable
from minimoto.watchdog.act import MEMORY
from minimoto.watchdog.fleet_history import Moment, bars, moments
from minimoto.watchdog.observe import Observation, observe
from minimoto.watchdog.patrol import NEWEST
from minimoto.watchdog.problems import Problems
from minimoto.watchdog.status import percent

if TYPE_CHECKING:
    from rich.console import RenderableType

    from minimoto.wiring import Cloud

PAST, PAST_BARS = 3600.0, 60
"""Seconds of the fleet's size that are drawn, and in how many bars."""
PAST_EVERY = 30.0
"""Seconds between two looks at them: they are more to read than anything else."""
_COLOURS = {"busy": "green", "idle": "cyan", "booting": "yellow", "draining": "magenta", "suspect": "yellow"}


@dataclass(frozen=True)
class Picture:
    """What one refresh shows."""

    view: View
    seen: Observation
    memory: Memory
    newest: dict[str, Any]
    problems: tuple[str, ...]
    now: float


def look(cloud: Cloud) -> Picture:
    """Observes and recalls, without changing anything."""
    problems = Problems()
    seen = observe(cloud, problems)
    text = problems.attempt(lambda: cloud.ledger.recall(NEWEST), "")
    now = cloud.clock.now()
    try:
        memory = load(problems.attempt(lambda: cloud.ledger.recall(MEMORY), ""))
    except ValueError as error:
        problems.note(str(error))
        memory = Memory()
    view = complete(memory, seen.view, now)
    return Picture(view, seen, memory, json.loads(text) if text else {}, tuple(problems.lines), now)


def watch(cloud: Cloud, every: float, stop: threading.Event) -> None:
    """Draws until ``stop`` is set, on the whole screen of the terminal."""
    from rich.console import Console
    from rich.live import Live

    past, read_at = last_hour(cloud), cloud.clock.monotonic()
    first = draw(look(cloud), cloud.config.name, past)
    with Live(first, console=Console(), screen=True, auto_refresh=False) as live:
        while not stop.wait(every):
            if cloud.clock.monotonic() - read_at >= PAST_EVERY:
                past, read_at = last_hour(cloud), cloud.clock.monotonic()
            live.update(draw(look(cloud), cloud.config.name, past), refresh=True)


def last_hour(cloud: Cloud) -> str:
    """The fleet's size in the last hour, as bars; empty where nothing is kept or can be read."""
    now = cloud.clock.now()
    none: list[Moment] = []
    found = Problems().attempt(lambda: moments(cloud, PAST), none)
    return bars(found, now - PAST, now, PAST_BARS)


def draw(picture: Picture, name: str, past: str = "") -> RenderableType:
    """The picture as rich draws it; ``past`` is :func:`last_hour`'s."""
    from rich.console import Group
    from rich.text import Text

    lines = [Text.assemble((f"minimoto {name}", "bold"), f"   {_queue(picture.view)}   {_jobs(picture.seen)}")]
    notes = [Text(f"last hour  {past}", "cyan")] if past.strip() else []
    notes.append(Text(f"last decision {_decision(picture)}"))
    if picture.view.group:
        notes.append(Text(f"Auto Scaling group: {picture.view.group.text}", "cyan"))
        notes += [Text(f"the group could not: {printable(line)}", "yellow") for line in picture.view.group.troubles]
    if picture.memory.scale_to is not None:
        notes.append(Text(f"size set by hand: {picture.memory.scale_to} (--scale_to=auto ends that)", "yellow"))
    if picture.memory.dead_letters:
        letters = counted(len(picture.memory.dead_letters), "dead letter")
        notes.append(Text(f"{letters} to look at: --explain", "yellow"))
    notes += [Text(printable(line), "red") for line in picture.problems]
    return Group(*lines, _table(picture), *notes, Text("Ctrl-C ends this view, not the watchdog", "dim"))


def _table(picture: Picture) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if picture.view.nodes is None:
        return Text("the machines could not be listed", "red")
    table = Table(box=box.SIMPLE_HEAD, expand=True)
    for column in ("node", "condition", "CPU", "heartbeat", "slots", "age", "machine"):
        table.add_column(column, justify="right" if column in ("CPU", "heartbeat", "slots", "age") else "left")
    table.add_column("works on", ratio=1, no_wrap=True, overflow="ellipsis")
    for node in picture.view.nodes:
        if node.state not in GONE:
            table.add_row(*_row(node, picture))
    return table


def _row(node: Node, picture: Picture) -> list[RenderableType]:
    from rich.text import Text

    tasks = [r.task for r in picture.seen.reports or () if r.node == node.id and r.task]
    doing = ", ".join(tasks) or node.symptom or node.unable or picture.memory.draining.get(node.id, "")
    return [
        node.id,
        Text(node.condition, _COLOURS.get(node.condition, "red")),
        percent(node.cpu),
        "-" if node.heartbeat is None else f"{node.heartbeat:.0f} s",
        f"{node.busy}/{node.slots}",
        duration_text(picture.now - node.launched),
        f"{node.type} {node.market}".strip(),
        Text(printable(doing)),
    ]


def _queue(view: View) -> str:
    if view.visible is None:
        return "queue: unknown"
    oldest = f", the oldest for {duration_text(view.oldest)}" if view.oldest else ""
    return f"queue: {view.visible} waiting{oldest}, {view.in_flight} in flight, {view.delayed or 0} delayed"


def _jobs(seen: Observation) -> str:
    if seen.jobs is None:
        return "jobs: unknown"
    uploading = sum(job.state is JobState.NOT_READY_TO_PROCESS for job in seen.jobs)
    return f"jobs: {len(seen.jobs) - uploading} under way, {uploading} uploading"


def _decision(picture: Picture) -> str:
    if not picture.newest:
        return "none yet"
    ago = duration_text(picture.now - picture.newest["at"])
    return printable(f"{ago} ago: {picture.newest['reason']}")
