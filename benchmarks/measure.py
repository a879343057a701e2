"""Timing two ways of doing the same work, in turn, and saying on what they ran."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Contender:
    """One way of doing the work.

    Parameters:
        name: as printed.
        run: does the work once and returns its figure (seconds, or whatever ``unit`` says).
    """

    name: str
    run: Callable[[], float]


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """A run that does ``work`` and returns the seconds it took."""

    def run() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return run


def machine() -> str:
    """The machine, in one line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({cpu}), {memory:.0f} GiB, {platform.system()} {platform.release()}"


def versions(*packages: str) -> str:
    """Python's version and those of the packages."""
    named = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return f"Python {platform.python_version()}, {named}"


def in_turn(
    contenders: Sequence[Contender], runs: int = 5, warm: int = 1, note: Callable[[str], None] | None = None
) -> list[list[float]]:
    """Runs all contenders one after the other, ``runs`` times after ``warm`` uncounted ones: A B A B ….

    Returns:
        The figures of each contender, run by run.
    """
    figures: list[list[float]] = [[] for _ in contenders]
    for turn in range(-warm, runs):
        for contender, kept in zip(contenders, figures, strict=True):
            figure = contender.run()
            if turn >= 0:
                kept.append(figure)
            if note:
                note(f"{'warm-up' if turn < 0 else f'run {turn + 1}'}: {contender.name} {figure:.4g}")
    return figures


def report(
    title: str,
    contenders: Sequence[Contender],
    figures: Sequence[Sequence[float]],
    unit: str,
    packages: Sequence[str],
    *,
    more_is_better: bool = False,
) -> float:
    """Prints medians, spreads and the ratio of the last contender (ours) to the first (the peer).

    Returns:
        How many times better ours is, by the median of the pairwise ratios.
    """
    print(f"## {title}\n\n{machine()}\n{versions(*packages)}\n")
    print(f"| way | median {unit} | min | max |\n|---|---|---|---|")
    for contender, kept in zip(contenders, figures, strict=True):
        print(f"| {contender.name} | {statistics.median(kept):.4g} | {min(kept):.4g} | {max(kept):.4g} |")
    pairs = list(zip(figures[0], figures[-1], strict=True))
    ratio = statistics.median(ours / peer if more_is_better else peer / ours for peer, ours in pairs)
    print(f"\n{contenders[-1].name} is {ratio:.2f}x as fast as {contenders[0].name} (median of {len(pairs)} pairs)\n")
    sys.stdout.flush()
    return ratio
