"""Where a command's words go: results to stdout; progress and notes to stderr.

On a terminal, bars and tables are drawn by rich (which heeds ``NO_COLOR``); elsewhere, and on a dumb terminal, the same
is said in few plain lines. rich is imported only when something is drawn.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from minimoto.core.job import Job, JobState
from minimoto.core.progress import JobProgress, StageProgress
from minimoto.core.readable import counted, duration_text, percent_text, printable, size_text, state_text
from minimoto.errors import MinimotoError

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress as RichProgress

ShowJob = Callable[[Job, JobProgress], None]
"""Called with a job and how far it has come."""


def note(text: str) -> None:
    """One line to stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def result(text: str) -> None:
    """One line to stdout."""
    print(printable(text), flush=True)


def document(value: Any) -> None:
    """One JSON document to stdout."""
    print(json.dumps(value, ensure_ascii=True, indent=2), flush=True)


@contextmanager
def answer(wanted: bool) -> Iterator[dict[str, Any]]:
    """A document to fill, printed to stdout at the end if ``wanted``, also when the command fails: with its error."""
    value: dict[str, Any] = {}
    try:
        yield value
    except MinimotoError as error:
        value["error"] = str(error)
        value["exit_status"] = error.exit_status
        raise
    finally:
        if wanted:
            document(value)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table to stdout; the last column takes what width is left."""
    clean = [[printable(cell) for cell in row] for row in rows]
    if _draws(sys.stdout):
        _rich_table(columns, clean)
        return
    widths = [max(len(row[i]) for row in (columns, *clean)) for i in range(len(columns))]
    for row in (columns, *clean):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def transfer(title: str, size: int, files: int) -> AbstractContextManager[Callable[[int], None]]:
    """A bar in bytes while files move; gives the function to call, from any thread, with bytes moved since the last.

    Parameters:
        title: such as ``upload``.
        size: bytes in all.
        files: how many files they are.
    """
    text = f"{title} {counted(files, 'file')}, {size_text(size)}"
    return _bar(text, size) if _draws(sys.stderr) else _line(text)


def stages() -> AbstractContextManager[ShowJob]:
    """A live view of a job's stages; gives the function to call whenever they were looked at."""
    return _live_stages() if _draws(sys.stderr) else _plain_stages()


def stage_text(stage: StageProgress) -> str:
    """How far a stage has come, in words."""
    if stage.state == "waiting":
        return "waiting"
    took = "" if stage.seconds is None else f", {duration_text(stage.seconds)}"
    if stage.state == "done":
        return f"{counted(stage.items, 'photo')}{took}"
    text = f"{stage.done} of {counted(stage.items, 'photo')}{took}"
    if stage.workers > 1:
        text += f", {stage.workers} workers"
    # "photo 3 of 12" has just been said.
    return f"{text}, {printable(stage.note)}" if stage.note and not _COUNT.match(stage.note) else text


def summary_text(job: Job, progress: JobProgress) -> str:
    """How far a job has come, in words: ``63 %, about 2 min left``."""
    if job.state is not JobState.BEING_PROCESSED:
        return state_text(job.state)
    left = "" if progress.eta is None else f", about {duration_text(progress.eta)} left"
    return percent_text(progress.fraction) + left


_COUNT = re.compile(r"photo \d+ of \d+$")


def _draws(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}


def _rich(stream: TextIO) -> RichConsole:
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        drawn.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    _rich(sys.stdout).print(drawn)


_STYLES = {"done": "green", "failed": "bold red", "cancelled": "yellow", "being processed": "cyan"}


@contextmanager
def _bar(text: str, size: int) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_rich(sys.stderr)) as progress:
        # A bar of nothing at all would pulse for ever.
        task = progress.add_task(text, total=max(size, 1), completed=0 if size else 1)
        yield lambda moved: progress.advance(task, moved)


@contextmanager
def _line(text: str) -> Iterator[Callable[[int], None]]:
    note(text)
    yield lambda moved: None


@contextmanager
def _live_stages() -> Iterator[ShowJob]:
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=_rich(sys.stderr)) as progress:
        yield _StageBars(progress)


class _StageBars:
    """One bar a stage and one for the job; none ever moves back, though a try that died is begun anew."""

    def __init__(self, progress: RichProgress) -> None:
        self._progress = progress
        self._furthest: dict[int, float] = {}

    def __call__(self, job: Job, progress: JobProgress) -> None:
        rows = [(stage.step, stage.fraction, stage_text(stage)) for stage in progress.stages]
        rows.append((job.name, progress.fraction, summary_text(job, progress)))
        for number, (name, fraction, text) in enumerate(rows):
            if number not in self._furthest:
                self._furthest[number] = 0.0
                self._progress.add_task(printable(name), total=1.0, text="")
            self._furthest[number] = max(fraction, self._furthest[number])
            self._progress.update(self._progress.tasks[number].id, completed=self._furthest[number], text=text)


@contextmanager
def _plain_stages() -> Iterator[ShowJob]:
    yield _StageLines()


class _StageLines:
    """A line when a stage begins, at each quarter of it, and when it ends."""

    def __init__(self) -> None:
        self._said: dict[int, str] = {}

    def __call__(self, job: Job, progress: JobProgress) -> None:
        if job.state is JobState.READY_TO_PROCESS and not self._said:
            self._say(-1, "waiting", f"{job.name}: {state_text(job.state)}")
        for number, stage in enumerate(progress.stages):
            if stage.state == "done":
                self._say(number, "done", f"{stage.step}: done, {stage_text(stage)}")
            elif stage.state == "running":
                quarter = int(stage.fraction * 4)
                left = "" if progress.eta is None else f" (job: {summary_text(job, progress)})"
                self._say(number, f"{quarter}", f"{stage.step}: {stage_text(stage)}{left}")

    def _say(self, number: int, what: str, text: str) -> None:
        if self._said.get(number, "") < what:
            self._said[number] = what
            note(text)
