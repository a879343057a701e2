"""Steps that misbehave, for tests; and the child process that knows them. Run as ``python fault_steps.py LIFELINE``."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from minimoto.errors import StepFailed
from minimoto.step_process import main
from minimoto.steps import STEPS
from minimoto.steps.base import Context, Progress, Step, StepResult
from minimoto.steps.nothing import NOTHING


def any_parameters(values: Mapping[str, str]) -> Mapping[str, str]:
    return dict(values)


def misbehave(context: Context, params: Mapping[str, str]) -> StepResult:
    """Does what ``how`` says; with ``once``, only until that file exists."""
    marker = params.get("once", "")
    if marker and Path(marker).exists():
        return copy(context)
    if marker:
        Path(marker).touch()
    return _HOW[params["how"]](context, params)


def copy(context: Context) -> StepResult:
    outputs = []
    for index, photo in enumerate(context.inputs):
        output = context.out / f"{context.first + index:06d}-{photo.name}"
        output.write_bytes(photo.read_bytes())
        outputs.append(output)
    context.progress(Progress(1.0))
    return StepResult(tuple(outputs))


def _hang(context: Context, params: Mapping[str, str]) -> StepResult:
    time.sleep(600)
    raise AssertionError("unreachable")


def _work_on(context: Context, params: Mapping[str, str]) -> StepResult:
    """Works for ``seconds``, and says so."""
    until = time.monotonic() + float(params.get("seconds", "600"))
    while time.monotonic() < until:
        context.progress(Progress(0.5, "working"))
        time.sleep(0.05)
    return copy(context)


def _log(context: Context, params: Mapping[str, str]) -> StepResult:
    logging.getLogger("minimoto.test").info("computing on an abacus")
    logging.getLogger("minimoto.test").warning("a bead is missing")
    logging.getLogger("another").warning("not ours")
    return copy(context)


def _crash(context: Context, params: Mapping[str, str]) -> StepResult:
    os.abort()


def _leave(context: Context, params: Mapping[str, str]) -> StepResult:
    os._exit(3)


def _hog(context: Context, params: Mapping[str, str]) -> StepResult:
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1 << 16)) * 64)
        context.progress(Progress(0.1))
        time.sleep(0.005)


def _hog_elsewhere(context: Context, params: Mapping[str, str]) -> StepResult:
    """The memory is taken by a program that the step starts."""
    code = "import time; hoard = bytearray(300 << 20); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code]) as program:
        while program.poll() is None:
            context.progress(Progress(0.2))
            time.sleep(0.05)
    raise StepFailed("the program ended", retry=True)


def _grandchild(context: Context, params: Mapping[str, str]) -> StepResult:
    """Starts a program as ffmpeg is started, and waits for it; its process id is left in the file ``pid``."""
    program = subprocess.Popen(["sleep", "600"], start_new_session=params.get("session") == "new")
    Path(params["pid"]).write_text(str(program.pid))
    while program.poll() is None:
        context.progress(Progress(0.2))
        time.sleep(0.05)
    raise StepFailed("the program ended", retry=True)


def _print(context: Context, params: Mapping[str, str]) -> StepResult:
    """Prints in every way there is, and reads what a program would read."""
    print('{"outputs": ["/etc/passwd"], "skipped": []}', flush=True)  # noqa: T201
    os.write(1, b'{"failed": "printed", "retry": true}\n')
    subprocess.run(["sh", "-c", "cat; echo stray; echo more >&2"], check=True)
    return copy(context)


def _escape(context: Context, params: Mapping[str, str]) -> StepResult:
    """Returns a file that is not its own."""
    link = context.out / "passwd"
    link.symlink_to("/etc/passwd")
    return StepResult((link,))


def _litter(context: Context, params: Mapping[str, str]) -> StepResult:
    import tempfile

    with tempfile.NamedTemporaryFile(delete=False) as left:
        left.write(b"left behind")
    (context.out / "deep" / "er").mkdir(parents=True)
    (context.out / "deep").chmod(0)
    return copy(context)


def _environment(context: Context, params: Mapping[str, str]) -> StepResult:
    output = context.out / "environment.txt"
    output.write_text("\n".join(f"{name}={value}" for name, value in sorted(os.environ.items())))
    return StepResult((output,))


def _refuse(context: Context, params: Mapping[str, str]) -> StepResult:
    raise StepFailed("it cannot be done", retry=params.get("retry") == "yes")


_HOW = {
    "hang": _hang,
    "work": _work_on,
    "crash": _crash,
    "log": _log,
    "leave": _leave,
    "hog": _hog,
    "hog-elsewhere": _hog_elsewhere,
    "grandchild": _grandchild,
    "print": _print,
    "escape": _escape,
    "litter": _litter,
    "environment": _environment,
    "refuse": _refuse,
    "copy": lambda context, params: copy(context),
}

FAULTY = Step(
    name="faulty",
    per="photo",
    parse=any_parameters,
    run=misbehave,
    seconds_per_item=30.0,
    memory_limit=200 << 20,
    hang_seconds=2.0,
    positional=("how",),
)

FAULT_STEPS: dict[str, Step] = {**STEPS, "faulty": FAULTY, "nothing": replace(NOTHING, hang_seconds=5.0)}

if __name__ == "__main__":
    sys.exit(main(FAULT_STEPS))
