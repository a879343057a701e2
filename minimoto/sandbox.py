"""Runs steps in a child process, so that a crash, a hang or too much memory ends the step and not the service.

The child stays warm: it is started once and serves one step after another, until it must be killed.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimoto.errors import StepFailed
from minimoto.process_tree import how_it_ended, kill_tree, resident

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

MODULE = "minimoto.step_process"
LOOK_EVERY = 0.2
"""Seconds between two looks at memory, silence and reasons to stop."""

START_SECONDS = 120.0
"""A child that is not ready by then hangs: its disk may be read for the first time."""

MOST_LINE = 64 * 2**20


@dataclass(frozen=True)
class Request:
    """What a step is asked to do; paths as text. See :class:`minimoto.steps.base.Context`."""

    step: str
    params: Mapping[str, str]
    inputs: tuple[str, ...]
    attachments: Mapping[str, str]
    out: str
    name: str
    first: int = 0


@dataclass(frozen=True)
class Limits:
    """What a step may take: bytes of its process tree, and seconds without progress."""

    memory: int
    hang: float


@dataclass(frozen=True)
class Answer:
    """The files that a step made, and the inputs it left out with the reasons."""

    outputs: tuple[Path, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    lifeline: int
    selector: selectors.BaseSelector
    ready: bool = False
    answers: bytearray = field(default_factory=bytearray)
    errors: bytearray = field(default_factory=bytearray)


class Sandbox:
    """One child process, started when it is needed.

    Parameters:
        folder: for the child's temporary files; emptied by the caller between steps.
        module: what the child runs.
        environ: added to its environment. Credentials of ours are never in it: steps read what strangers sent.
    """

    def __init__(
        self,
        folder: Path,
        log: FilteringBoundLogger,
        *,
        module: str = MODULE,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._log = log
        self._module = module
        self._environ = dict(environ or {})
        self._child: _Child | None = None
        self._said: deque[str] = deque(maxlen=20)

    def start(self) -> None:
        """Starts the child if there is none; does not wait until it is ready."""
        if self._child is None:
            self._child = self._spawn()

    def run(
        self,
        request: Request,
        limits: Limits,
        check: Callable[[], None],
        progress: Callable[[float, str], None],
    ) -> Answer:
        """Runs one step.

        Parameters:
            check: raises to stop the step; called several times a second.
            progress: called with 0..1 and a note for a person.

        Raises:
            StepFailed: the step says so, or it crashed, hung or took too much memory.
            Exception: what ``check`` raised. The child and all that it started are dead by then.
        """
        try:
            self._recycle(limits.memory)
            self.start()
            assert self._child is not None
            return self._converse(self._child, request, limits, check, progress)
        except StepFailed:
            raise
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Kills the child and all that it started."""
        child, self._child = self._child, None
        if child is None:
            return
        kill_tree(child.process)
        os.close(child.lifeline)
        child.selector.close()
        for pipe in (child.process.stdin, child.process.stdout, child.process.stderr):
            with suppress(OSError):  # stdin may hold what nobody will read
                pipe and pipe.close()

    def _spawn(self) -> _Child:
        self._said.clear()
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environ |= {"TMPDIR": str(self._folder), "PYTHONUNBUFFERED": "1", **self._environ}
        # Found from wherever the service was started.
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        read, write = os.pipe()
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", self._module, str(read)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[read],
                start_new_session=True,
                env=environ,
            )
        except OSError as error:
            os.close(write)
            raise StepFailed(f"no process could be started: {error.strerror}", retry=True) from error
        finally:
            os.close(read)
        selector = selectors.DefaultSelector()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ)
        return _Child(process, write, selector)

    def _recycle(self, memory: int) -> None:
        """A child that kept much of its memory from the step before must not be killed for it in the next."""
        if self._child is not None and self._child.ready and resident(self._child.process.pid, tree=False) > memory / 2:
            self._log.debug("step process replaced: it has kept much memory")
            self.close()

    def _converse(
        self,
        child: _Child,
        request: Request,
        limits: Limits,
        check: Callable[[], None],
        progress: Callable[[float, str], None],
    ) -> Answer:
        stdin = child.process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(asdict(request)).encode() + b"\n")
            stdin.flush()
        except OSError:
            raise self._crashed(child) from None
        alive = looked = time.monotonic()
        while True:
            for document in self._read(child):
                alive = time.monotonic()
                if "progress" in document:
                    progress(document["progress"], document["note"])
                elif "log" in document:
                    say = self._log.warning if document["log"] == "warning" else self._log.info
                    say("step says", text=document["text"])
                elif "ready" not in document:
                    return _answer(document)
            now = time.monotonic()
            if now - looked >= LOOK_EVERY:
                looked = now
                check()
                self._judge(child, limits, now - alive)

    def _judge(self, child: _Child, limits: Limits, silent: float) -> None:
        used = resident(child.process.pid, tree=True)
        if used > limits.memory:
            self.close()
            raise StepFailed(f"killed: {_mib(used)} of memory, over its limit of {_mib(limits.memory)}", retry=True)
        patience = limits.hang if child.ready else max(limits.hang, START_SECONDS)
        if silent > patience:
            self.close()
            raise StepFailed(f"killed: no progress for {patience:g} s", retry=True)

    def _read(self, child: _Child) -> Iterator[dict[str, Any]]:
        """What the child says within one look, as documents."""
        for key, _ in child.selector.select(LOOK_EVERY):
            data = os.read(key.fd, 2**16)
            if key.fileobj is child.process.stderr:
                self._hear(child, data)
                continue
            if not data:
                raise self._crashed(child)
            child.answers += data
            if len(child.answers) > MOST_LINE:
                self.close()
                raise StepFailed("killed: it said more than it may", retry=False)
        *lines, rest = child.answers.split(b"\n")
        child.answers = bytearray(rest)
        for line in lines:
            document = json.loads(line)
            child.ready = child.ready or "ready" in document
            yield document

    def _hear(self, child: _Child, data: bytes) -> None:
        if not data and child.process.stderr is not None:
            child.selector.unregister(child.process.stderr)
        child.errors += data
        *lines, rest = child.errors.split(b"\n")
        child.errors = bytearray(rest[-4096:])
        for line in lines:
            text = line[:500].decode("utf-8", "replace").rstrip()
            self._said.append(text)
            self._log.debug("step says", text=text)

    def _crashed(self, child: _Child) -> StepFailed:
        with suppress(OSError):  # nothing more to read
            assert child.process.stderr is not None
            self._hear(child, os.read(child.process.stderr.fileno(), 2**16) + b"\n")
        try:
            # It closed its pipe, so it ends; one that does not is killed below, which is then what we report.
            child.process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._log.warning("step process closed its pipe but goes on")
        self.close()
        how = how_it_ended(child.process.returncode)
        self._log.warning("step process died", how=how, said=[line for line in self._said if line])
        return StepFailed(how, retry=True)


def _answer(document: dict[str, Any]) -> Answer:
    if "failed" in document:
        raise StepFailed(str(document["failed"]), retry=bool(document["retry"]))
    return Answer(
        tuple(Path(path) for path in document["outputs"]),
        tuple((str(name), str(reason)) for name, reason in document["skipped"]),
    )


def _mib(size: float) -> str:
    return f"{size / 2**20:.0f} MiB"
