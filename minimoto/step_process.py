"""The child process in which steps run: JSON lines in, JSON lines out. Started by :mod:`minimoto.sandbox`.

A request: ``{"step", "params", "inputs", "attachments", "out", "name", "first"}``. Answers: ``{"ready": true}`` once;
then for each request any number of ``{"progress", "note"}`` and of ``{"log", "text"}``, for the service's log, and one
``{"outputs", "skipped"}`` or ``{"failed", "retry"}``. Models stay loaded between requests.

What a step prints goes to standard error, and what it starts reads nothing: the pipes of the protocol are moved away
before any step is imported. However the service dies, this process dies with it, and all that it started.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import IO, Any

from minimoto.errors import MinimotoError, StepFailed
from minimoto.steps.base import Context, Progress, Step, StepResult

PROGRESS_EVERY = 0.1
"""Seconds between two reports of progress at least."""

_PR_SET_PDEATHSIG = 1


def main(steps: Mapping[str, Step] | None = None) -> int:
    """Serves requests until the pipe is closed. The first argument is the file descriptor of the lifeline."""
    # When the machine shuts down everybody is told; the service decides what becomes of the step. Not SIG_IGN, which
    # the programs that a step starts would inherit.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    die_with_parent(int(sys.argv[1]))
    # A crash is reported; a core file of some gigabytes would only fill the node's disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    requests, answers = take_pipes()
    if steps is None:
        from minimoto.steps import STEPS

        steps = STEPS
    channel = Channel(answers)
    _log_to(channel)
    channel.say({"ready": True})
    for line in requests:
        channel.say(answer(json.loads(line), steps, channel))
    return 0


def die_with_parent(lifeline: int) -> None:
    """Sees to it that neither this process nor what it starts outlives the service, even one that is SIGKILLed.

    A fork of this process, made while it is still small, waits for the end of the lifeline, a pipe whose other end
    only the service holds, and then kills the process group. (A parent-death signal, where there is one, reaches this
    process alone, not its children; it covers the case that the guard itself was killed.)
    """
    if os.fork() == 0:
        _guard(lifeline)
    os.close(lifeline)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The kernel, when it must choose, shall choose the step rather than the service.
        try:
            Path("/proc/self/oom_score_adj").write_text("900")
        except OSError:
            return


def _guard(lifeline: int) -> None:
    os.dup2(lifeline, 0)
    # Held open, the pipes of the protocol would hide the end of the step from the service.
    os.closerange(1, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 65_536 else 65_536)
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def take_pipes() -> tuple[IO[bytes], FileIO]:
    """The pipes of the protocol, out of the reach of prints, and of programs that are started."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = FileIO(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


class Channel:
    """Writes answers, one JSON line each; safe for several threads."""

    def __init__(self, answers: FileIO) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        self._last = 0.0

    def say(self, document: dict[str, Any]) -> None:
        """Writes one line, whole."""
        data = json.dumps(document).encode() + b"\n"
        with self._lock:
            while data:
                data = data[self._answers.write(data) :]

    def progress(self, progress: Progress) -> None:
        """Reports progress, unless it was reported just now."""
        now = time.monotonic()
        if now - self._last >= PROGRESS_EVERY:
            self._last = now
            self.say({"progress": min(1.0, max(0.0, float(progress.done))), "note": str(progress.note)[:200]})


class _ToChannel(logging.Handler):
    def __init__(self, channel: Channel) -> None:
        super().__init__(logging.INFO)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Says one record, which an engine logged."""
        level = "warning" if record.levelno >= logging.WARNING else "info"
        self._channel.say({"log": level, "text": record.getMessage()[:500]})


def _log_to(channel: Channel) -> None:
    """Sends what the engines log, such as which device they chose, to the service's log."""
    log = logging.getLogger("minimoto")
    log.setLevel(logging.INFO)
    log.addHandler(_ToChannel(channel))
    log.propagate = False


def answer(request: Mapping[str, Any], steps: Mapping[str, Step], channel: Channel) -> dict[str, Any]:
    """Runs one step; whatever it raises becomes an answer."""
    try:
        result = run(request, steps, channel)
    except StepFailed as error:
        return {"failed": str(error), "retry": error.retry}
    except MinimotoError as error:
        # Such as a missing ffmpeg: another node may have it.
        return {"failed": str(error), "retry": True}
    except MemoryError:
        return {"failed": "not enough memory", "retry": True}
    except Exception as error:
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", "retry": True}
    return {
        "outputs": [str(path) for path in result.outputs],
        "skipped": [[skip.name, skip.reason] for skip in result.skipped],
    }


def run(request: Mapping[str, Any], steps: Mapping[str, Step], channel: Channel) -> StepResult:
    """Runs the step of a request.

    Raises:
        StepFailed: this version of minimoto has no such step, its parameters are wrong, or it failed.
    """
    step = steps.get(request["step"])
    if step is None:
        raise StepFailed(f"there is no step {request['step']!r} on this node", retry=True)
    try:
        params = step.parse(request["params"])
    except MinimotoError as error:
        raise StepFailed(str(error), retry=False) from error
    context = Context(
        inputs=tuple(Path(path) for path in request["inputs"]),
        attachments={name: Path(path) for name, path in request["attachments"].items()},
        out=Path(request["out"]),
        name=request["name"],
        progress=channel.progress,
        first=request["first"],
    )
    return step.run(context, params)


if __name__ == "__main__":
    sys.exit(main())
