"""A step of known duration and a service that knows it, for runs whose work must not depend on this computer's speed.

Run as ``python -m benchmarks.resting`` it is a node's service; with a file descriptor it is the child process of one.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping

from minimoto.steps.base import Context, Progress, Step, StepResult
from minimoto.steps.parameters import Parameters

LOOK = 0.05


def parse(values: Mapping[str, str]) -> float:
    """``seconds``, from 0 on."""
    return float(Parameters(values, ("seconds",)).text("seconds", "1"))


def run(context: Context, seconds: float) -> StepResult:
    """Rests, and says so."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        context.progress(Progress(1.0 - left / seconds, "resting"))
        time.sleep(min(LOOK, left))
    return StepResult(())


REST = Step(
    name="rest",
    per="photo",
    parse=parse,
    run=run,
    seconds_per_item=30.0,
    memory_limit=512 << 20,
    hang_seconds=300.0,
    positional=("seconds",),
    reads_inputs=False,
)
STEPS: dict[str, Step] = {"rest": REST}


def serve() -> int:
    """One service of a node, as ``minimoto_service.py`` runs it but for its steps."""
    from minimoto import config
    from minimoto.interruption import Stop
    from minimoto.service import Setting, serve
    from minimoto.wiring import Cloud

    settings = config.load(os.environ["MINIMOTO_CONFIG"])
    setting = Setting(signals=True, steps=STEPS, step_module="benchmarks.resting", poll=1.0)
    return serve(Cloud(settings), Stop(), setting) or 0


def main() -> int:
    """The child process where a lifeline is given, else the service."""
    if len(sys.argv) == 1:
        return serve()
    from minimoto.step_process import main as serve_steps

    return serve_steps(STEPS)


if __name__ == "__main__":
    sys.exit(main())
