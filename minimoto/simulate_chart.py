"""A simulated day as a picture: what waited, how many nodes there were, and how long people waited."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from minimoto.core.simulation.outcome import Outcome
from minimoto.core.simulation.trace import Trace
from minimoto.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = (".png", ".html")
Runs = Mapping[str, tuple[Trace, Outcome]]


def write(path: Path, title: str, runs: Runs, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Writes the chart: a PNG, or one HTML page without anything from elsewhere.

    Parameters:
        runs: by rule.
        head, rows: the table that a page shows below.

    Raises:
        UsageError: neither .png nor .html.
        ConfigError: matplotlib is not installed.
    """
    if path.suffix not in KINDS:
        raise UsageError(f"--chart {path}: a name that ends in {' or '.join(KINDS)} is expected")
    figure = _figure(title, runs)
    if path.suffix == ".png":
        figure.savefig(path, dpi=110)
        return
    drawn = StringIO()
    figure.savefig(drawn, format="svg")
    path.write_text(_page(title, drawn.getvalue(), head, rows), "utf-8")


def _figure(title: str, runs: Runs) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("charts need matplotlib: pip install 'minimoto[simulate]'") from None
    figure = Figure(figsize=(11, 2.2 + 2.2 * len(runs)), layout="constrained")
    panels = figure.subplots(len(runs) + 1, 1)
    longest = max(trace.sizes[-1][0] for trace, _ in runs.values()) / 3600
    for panel, (name, (trace, told)) in zip(panels, runs.items(), strict=False):
        hours = [at / 3600 for at, _, _ in trace.sizes]
        panel.fill_between(hours, [nodes for _, nodes, _ in trace.sizes], step="post", color="#4878a8", alpha=0.8)
        panel.set_ylabel("nodes", color="#4878a8")
        panel.set_xlim(0, longest)
        waiting = panel.twinx()
        waiting.plot(hours, [tasks for _, _, tasks in trace.sizes], color="#c05a3c", linewidth=0.8)
        waiting.set_ylabel("tasks waiting", color="#c05a3c")
        panel.set_title(
            f"{name}: ${told.cost:.2f}, 95 % done within {told.finish_at(0.95):.0f} s", fontsize=10, loc="left"
        )
    for name, (_, told) in runs.items():
        shares = [100 * (rank + 1) / len(told.finish) for rank in range(len(told.finish))]
        panels[-1].plot([seconds / 60 for seconds in told.finish], shares, label=name, linewidth=1.2)
    panels[-1].set_xlabel("minutes from submission until done")
    panels[-1].set_ylabel("% of jobs")
    panels[-1].legend(fontsize=8)
    figure.suptitle(title)
    return figure


def _page(title: str, svg: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cells(kind: str, row: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in row) + "</tr>"

    body = "\n".join([cells("th", head), *(cells("td", row) for row in rows)])
    picture = svg[svg.index("<svg") :]
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }}
svg {{ width: 100%; height: auto }}
table {{ border-collapse: collapse }} td, th {{ padding: .3em .8em; border-bottom: 1px solid #ddd; text-align: right }}
td:first-child, th:first-child {{ text-align: left }}
</style>
<h1>{html.escape(title)}</h1>
{picture}
<table>
{body}
</table>
"""
