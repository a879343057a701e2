"""``nothing``: an empty step for measuring overhead. It reads nothing and makes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from minimoto.steps.base import Context, Progress, Step, StepResult
from minimoto.steps.parameters import Parameters


def parse(values: Mapping[str, str]) -> None:
    """Accept no parameter at all."""
    Parameters(values, ())


def run(context: Context, params: None) -> StepResult:
    """Report that all is done; there are no outputs."""
    context.progress(Progress(1.0))
    return StepResult(())


NOTHING = Step(
    name="nothing",
    per="photo",
    parse=parse,
    run=run,
    seconds_per_item=0.001,
    memory_limit=256 * 2**20,
    hang_seconds=30.0,
    reads_inputs=False,
)
