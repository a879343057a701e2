"""What a folder will take and cost: photos of it are tried on this computer, or what is known of the steps is used."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimoto.core.paces import Paces, pace
from minimoto.core.pipeline import parse_pipeline, plan
from minimoto.core.quote import Prices, StageWork
from minimoto.core.shards import task_count
from minimoto.errors import MinimotoError
from minimoto.steps import STEPS
from minimoto.steps.base import Context

if TYPE_CHECKING:
    from minimoto.client.submit import Prepared
    from minimoto.core.job import Stage
    from minimoto.wiring import Cloud

MOST_TRIED = 8
"""Photos that are tried at most: the folder's first, middle and last ones say enough."""


def works(prepared: Prepared, cloud: Cloud, tried: int, note: Callable[[str], None]) -> list[StageWork]:
    """What each stage of a request takes.

    Parameters:
        tried: photos to try here; 0 trusts what the nodes took lately, or what is known of the steps.
        note: told what could not be tried; one line.
    """
    stages = plan(parse_pipeline(prepared.request.pipeline), STEPS, cloud.config.task_seconds)
    count = len(prepared.photos)
    seen = measured(prepared, stages, tried, note) if tried else {}
    paces: Paces = _newest(cloud).get("paces", {})
    found = []
    for index, stage in enumerate(stages):
        tasks = 1 if stage.per == "folder" else task_count(count, stage.shard_size)
        learnt = pace(paces, stage.step, [cloud.config.service_type])
        each = seen.get(index, STEPS[stage.step].seconds_per_item if learnt is None else learnt)
        here = index in seen
        found.append(StageWork(stage.step, tasks, each * count / tasks, here, learnt is not None and not here))
    return found


def measured(
    prepared: Prepared, stages: Sequence[Stage], tried: int, note: Callable[[str], None]
) -> Mapping[int, float]:
    """Seconds an input takes on this computer, by stage; a first photo warms up and is not counted.

    A film's time does not grow with its photos alone, so only steps that work photo by photo are tried.
    """
    count = min(tried, MOST_TRIED, len(prepared.photos))
    chosen = [prepared.photos[i * (len(prepared.photos) - 1) // max(1, count - 1)].path for i in range(count)]
    found: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="minimoto-quote-") as folder:
        inputs = tuple(chosen)
        for index, stage in enumerate(stages):
            if stage.per == "folder" or not inputs:
                break
            try:
                _timed(stage, inputs[:1], prepared.attached, Path(folder, f"{index}-warm"))
                found[index], inputs = _timed(stage, inputs, prepared.attached, Path(folder, str(index)))
            except MinimotoError as error:
                note(f"{stage.step} cannot be tried here ({error}): what is known of it is used")
                break
    return found


def _timed(
    stage: Stage, inputs: tuple[Path, ...], attached: Mapping[str, Path], out: Path
) -> tuple[float, tuple[Path, ...]]:
    """Seconds an input took, and what was made."""
    out.mkdir()
    step = STEPS[stage.step]
    began = time.monotonic()
    made = step.run(Context(inputs, attached, out, "quote", lambda _: None), step.parse(stage.params))
    return (time.monotonic() - began) / len(inputs), made.outputs


def _newest(cloud: Cloud) -> dict[str, Any]:
    """The newest pass of the watchdog; empty before the first."""
    from minimoto.watchdog.patrol import NEWEST

    text = cloud.ledger.recall(NEWEST)
    return dict(json.loads(text)) if text else {}


def prices(cloud: Cloud) -> Prices:
    """What nodes cost and how fast they come, as far as the watchdog has seen any."""
    from minimoto.wiring import price_per_hour

    config, inputs = cloud.config, _newest(cloud).get("inputs", {})
    return Prices(
        per_hour=price_per_hour(config),
        boot=float(inputs.get("boot_seconds") or config.boot_seconds),
        slots=int(inputs.get("slots_per_node") or config.slots or 1),
        cooldown=config.cooldown,
        ready=int((inputs.get("nodes") or {}).get("idle", 0)),
    )
