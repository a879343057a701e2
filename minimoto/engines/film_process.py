"""Running ffmpeg on files that strangers made: bounded in time, in what it may say, and in what it may open."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from minimoto.media import ffmpeg_path

# As of clips: never a playlist or a manifest, which could name other files and addresses.
SOUND_FORMATS = "aac,ac3,aiff,amr,ape,asf,caf,eac3,flac,matroska,webm,mov,mp4,mp3,ogg,tta,w64,wav,wv"
MOST_PIXELS = 8192 * 4320

_ORIGIN = re.compile(r"^(\[[^\]]*\] )+")
_MOST_BYTES = 16 * 2**20
_PIPE_BYTES = 2**20


class TooMuch(Exception):
    """It took too long, or said too much; the reason in words."""


def opening(path: Path, formats: str) -> list[str]:
    """Input options for a file of one of ``formats`` that may open nothing besides itself."""
    return [
        "-protocol_whitelist", "file", "-format_whitelist", formats, "-max_pixels", str(MOST_PIXELS),
        "-threads", "2", "-i", f"file:{path}",
    ]  # fmt: skip


def command(*arguments: str, level: str = "error") -> list[str]:
    """An ffmpeg command that asks nothing and overwrites."""
    return [ffmpeg_path(), "-hide_banner", "-nostdin", "-nostats", "-loglevel", level, "-y", *arguments]


def run_bounded(words: Sequence[str], seconds: float) -> tuple[int, bytes, str]:
    """Runs a command to its end: its status, what it wrote, and what it said.

    Raises:
        TooMuch: it took longer than ``seconds``, or wrote more than 16 MB; it is dead by then.
    """
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    heard: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    ends = time.monotonic() + seconds
    try:
        with selectors.DefaultSelector() as selector:
            for pipe in heard:
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select(max(0.0, ends - time.monotonic())):
                    data = os.read(key.fd, 2**16)
                    heard[key.fileobj] += data
                    if not data:
                        selector.unregister(key.fileobj)
                if time.monotonic() >= ends:
                    raise TooMuch(f"reading it took more than {seconds:g} s")
                if max(map(len, heard.values())) > _MOST_BYTES:
                    raise TooMuch("it holds an absurd number of frames")
        status = process.wait(max(1.0, ends - time.monotonic()))
    finally:
        end(process)
    return status, bytes(heard[process.stdout]), heard[process.stderr].decode(errors="replace")


def cause(said: str, status: int) -> str:
    """What ffmpeg complained of first, in one line."""
    return next(filter(None, map(plain, said.splitlines())), silent(status))[:300]


def plain(line: str) -> str:
    """A line of ffmpeg's without the part of it that said it."""
    return _ORIGIN.sub("", line.strip())


def silent(status: int) -> str:
    """What there is to say of an ffmpeg that said nothing."""
    return f"ffmpeg ended with status {status} and said nothing"


def end(process: subprocess.Popen[bytes]) -> None:
    """Kills a process that still runs, and closes its pipes."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


class Pipe:
    """What a command writes to its standard output, read in pieces; a context manager that leaves no process behind.

    Parameters:
        words: the command.
        patience: seconds without a byte after which it is killed.
    """

    def __init__(self, words: Sequence[str], patience: float) -> None:
        self._patience = patience
        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        stdout = self._process.stdout
        assert stdout is not None
        self._stdout: IO[bytes] = stdout
        widen(stdout.fileno())
        self._selector = selectors.DefaultSelector()
        self._selector.register(stdout, selectors.EVENT_READ)

    def read_into(self, out: memoryview) -> int:
        """Fills ``out``; the bytes that came, fewer than ``out`` holds only at the end, and once it was ended."""
        filled = 0
        if self._stdout.closed:
            return filled
        while filled < len(out):
            if not self._selector.select(self._patience):
                self.close()
                return filled
            got = os.readv(self._stdout.fileno(), [out[filled:]])
            if got == 0:
                return filled
            filled += got
        return filled

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only at the end."""
        data = np.empty(size, np.uint8)
        return data[: self.read_into(data.data)].tobytes()

    def close(self) -> None:
        """Ends the process."""
        self._selector.close()
        end(self._process)

    def __enter__(self) -> Pipe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def widen(pipe: int) -> None:
    """Ask for a pipe of 1 MiB where the system can (Linux): fewer switches for each frame."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        return
