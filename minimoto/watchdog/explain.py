"""``--explain``: the newest decision with its inputs and its reason, and the decisions before it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from minimoto.core.fleet_memory import Memory
from minimoto.core.fleet_recall import load
from minimoto.core.readable import counted, duration_text
from minimoto.errors import NotFound, UsageError
from minimoto.watchdog.act import MEMORY
from minimoto.watchdog.patrol import NEWEST

if TYPE_CHECKING:
    from minimoto.wiring import Cloud

MOST_DECISIONS = 1000
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_WORDS = {
    "visible": "{} waiting",
    "in_flight": "{} in flight",
    "delayed": "{} delayed",
    "oldest": "the oldest for {:.0f} s",
    "seconds_per_task": "{:.1f} s a task",
    "boot_seconds": "{:.0f} s a boot",
    "slots_per_node": "slots a node: {}",
    "jobs": "jobs under way: {}",
    "spent_today": "${:.2f} spent today",
}


def seconds_of(text: str) -> float:
    """``90``, ``90s``, ``30m``, ``1h`` or ``2d`` in seconds.

    Raises:
        UsageError: it is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None:
        raise UsageError(f"--since {text}: a time such as 30m, 1h or 2d is expected")
    return float(match[1]) * _SECONDS[match[2]]


def newest(cloud: Cloud) -> dict[str, Any]:
    """The newest pass, as :meth:`minimoto.watchdog.patrol.Pass.document` wrote it, with the letters left for people.

    Raises:
        NotFound: there was no pass yet.
    """
    text = cloud.ledger.recall(NEWEST)
    if not text:
        raise NotFound("the watchdog has made no pass yet: run minimoto_watchdog.py, or wait for cron to do so")
    document: dict[str, Any] = json.loads(text)
    document["left_for_people"] = {id: why for id, (why, _) in _memory(cloud).dead_letters.items()}
    return document


def history(cloud: Cloud, seconds: float) -> list[dict[str, Any]]:
    """The decisions of the last seconds that changed something or whose rule was new, oldest first."""
    found = cloud.ledger.decisions(cloud.clock.now() - seconds, MOST_DECISIONS)
    return [json.loads(text) for _, text in reversed(found)]


def newest_lines(document: Mapping[str, Any], now: float) -> list[str]:
    """The newest decision for a person."""
    inputs = document["inputs"]
    lines = [
        f"decided: {_when(document['at'])}, {duration_text(now - document['at'])} ago",
        f"reason: {document['reason']}",
        f"seen: {_inputs(inputs)}",
    ]
    lines += [f"the group could not: {line}" for line in inputs.get("group_troubles", ())]
    lines += [f"did: {line}" for line in document["done"] or ["nothing"]]
    lines += [f"kept: {id} costs, and counts against max_nodes, until you end it" for id in inputs.get("kept", ())]
    lines += [f"problem: {line}" for line in document["problems"]]
    letters = document.get("left_for_people", {})
    if letters:
        lines.append(f"dead letters: {counted(len(letters), 'message')} left for you to look at")
        lines += [f"  {id}: {why}" for id, why in letters.items()]
    return lines


def history_lines(documents: list[dict[str, Any]]) -> list[str]:
    """Earlier decisions for a person, one line each and one for each thing done."""
    lines = []
    for document in documents:
        lines.append(f"{_when(document['at'])} {document['rule']}: {document['reason']}")
        lines += [f"    {line}" for line in document["done"]]
        lines += [f"    problem: {line}" for line in document["problems"]]
    return lines


def _memory(cloud: Cloud) -> Memory:
    try:
        return load(cloud.ledger.recall(MEMORY))
    except ValueError:
        # The next pass says so and begins anew; an explanation only lacks the letters.
        return Memory()


def _when(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _inputs(inputs: Mapping[str, Any]) -> str:
    parts = [_WORDS[name].format(inputs[name]) for name in _WORDS if name in inputs]
    nodes = inputs.get("nodes")
    if nodes is not None:
        parts.append("nodes: " + (", ".join(f"{number} {what}" for what, number in nodes.items()) or "none"))
    if "group" in inputs:
        parts.append(f"Auto Scaling group: {inputs['group']}")
    if "deadline" in inputs:
        parts.append(f"earliest deadline {_when(inputs['deadline'])}")
    if inputs.get("reports_known") is False:
        parts.append("heartbeats unknown")
    return ", ".join(parts) or "nothing"
