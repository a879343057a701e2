"""A service with a hook: it dies where ``MINIMOTO_FAULT_KILL_AT`` says. Run as ``python fault_service.py CONFIG``.

Only this entry reads that variable. ``MINIMOTO_FAULT_ONCE`` names a file; while it exists, nothing is killed any more.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from fault_steps import FAULT_STEPS

from minimoto import config
from minimoto.interruption import Stop
from minimoto.service import Setting, serve
from minimoto.wiring import Cloud


def kill_at(name: str) -> None:
    once = Path(os.environ.get("MINIMOTO_FAULT_ONCE", ""))
    if name == os.environ.get("MINIMOTO_FAULT_KILL_AT") and not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    setting = Setting(
        signals=True, steps=FAULT_STEPS, step_module="fault_steps", checkpoint=kill_at, debug=True, poll=1.0
    )
    return serve(Cloud(config.load(sys.argv[1])), Stop(), setting) or 0


if __name__ == "__main__":
    sys.exit(main())
