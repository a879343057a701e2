"""Frames in, a film out, H.264 or AV1, through one ffmpeg process; and a look at the music.

Command lines are built by ffmpeg-python and never pass a shell. With x264 the same frames give the same bytes on
machines of as many cores: the threads are counted, and nothing of the clock or the machine is written.
"""

from __future__ import annotations

import functools
import os
import subprocess
import threading
from collections import deque
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import ffmpeg

from minimoto.engines.film_frame import Frame
from minimoto.engines.film_pace import Pace
from minimoto.engines.film_process import (
    SOUND_FORMATS,
    TooMuch,
    cause,
    command,
    end,
    opening,
    plain,
    run_bounded,
    silent,
    widen,
)
from minimoto.engines.film_settings import Codec, Encoder
from minimoto.errors import StepFailed
from minimoto.media import ffmpeg_path

_COLOUR = {"color_range": "tv", "colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709"}
_EXACT: dict[str, str | int] = {"fflags": "+bitexact", "flags:v": "+bitexact", "map_metadata": -1}
_QUIET = ("-hide_banner", "-loglevel", "error", "-nostats")

# superfast with a short macroblock-tree look-ahead, at a CRF 1.5 lower, has the SSIM of veryfast and 5% fewer bytes for
# half of its CPU time. Blocks of 8 pixels alone, and B frames always in fives that move as their neighbours do in time,
# take off bytes at a higher SSIM: the frames of a zoom are alike. aq-mode 3 spends bits on dark gradients, as backdrops
# are. Frames wait for the look-ahead in it (8) and before it (one more than there are B frames, as x264 chooses): with
# fewer there the encoder waits for them, and films differ by which of the two was faster.
# Frames last alike, and x264 must be told: else it reads how long one lasts off the next, if that has come, and on a
# busy machine the same frames are one film or another.
_X264 = (
    "mbtree=1:rc-lookahead=8:bframes=5:direct=temporal:aq-mode=3:analyse=i8x8:b-adapt=0:lookahead-threads=1"
    ":sync-lookahead=6:force-cfr=1"
)
_LOWER = 1.5
# At 0 x264 loses nothing, in a profile that browsers do not play.
_LEAST = 1

_PATIENCE = 60.0
"""Seconds that music, and NVENC, may take to be looked at."""


class FilmWriter:
    """An ffmpeg that encodes the frames it is given into ``path``; a context manager that leaves no process behind.

    Parameters:
        path: the MP4 to write.
        size: (width, height) of the frames, both even.
        fps: frames a second.
        options: of the encoder; see :func:`encoding`.
        faststart: put the index first, for the web; not needed on a film that
            :mod:`~minimoto.engines.film_finish` writes anew.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], fps: Fraction, options: Mapping[str, Any], *, faststart: bool
    ) -> None:
        frames = ffmpeg.input("pipe:0", format="rawvideo", pix_fmt="yuv420p", s=_size(size), r=_rate(fps), **_COLOUR)
        # Older ffmpegs tag the stream from the frames, newer ones from the options: say it to both.
        tagged = frames.filter("setparams", range="tv", colorspace="bt709", color_primaries="bt709", color_trc="bt709")
        self._pace = Pace(ffmpeg_path())
        options = {**options, **_COLOUR, **_EXACT, **self._pace.options, "f": "mp4"}
        if faststart:
            options["movflags"] = "+faststart"
        self._process = subprocess.Popen(
            _command(tagged.output(f"file:{path}", **options)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "SVT_LOG": "1"},  # else it tells its settings
            pass_fds=self._pace.handed,
        )
        self._pace.started()
        assert self._process.stdin is not None
        widen(self._process.stdin.fileno())
        self._words = _Words(self._process)

    def write(self, frame: Frame) -> None:
        """Encode one frame, ``(h * 3 / 2, w)`` uint8 (I420).

        Raises:
            StepFailed: ffmpeg ended; worth another try.
        """
        assert self._process.stdin is not None
        self._pace.wait()
        try:
            self._process.stdin.write(frame.data)
        except OSError:
            raise self._failed() from None

    def close(self) -> None:
        """Finish the file and wait for ffmpeg.

        Raises:
            StepFailed: ffmpeg could not finish the film, such as on a full disk; worth another try.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            raise self._failed() from None
        if self._process.wait() != 0:
            raise self._failed()

    def _failed(self) -> StepFailed:
        status = self._process.wait()
        return StepFailed(f"the film could not be encoded: {self._words.last(status)}", retry=True)

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._pace.close()
        self._words.close()
        end(self._process)


def uses_nvenc(encoder: Encoder, size: tuple[int, int]) -> bool:
    """Whether to encode with NVENC: for ``auto``, when a frame of ``size`` really can be.

    Raises:
        StepFailed: ``nvenc`` was asked for and does not work here (another node may have one, so worth another try).
    """
    if encoder == "x264":
        return False
    problem = _nvenc_problem(size, ffmpeg_path())
    if problem and encoder == "nvenc":
        raise StepFailed(f"the film cannot be encoded by NVENC on this node: {problem}", retry=True)
    return not problem


def check_music(music: Path) -> None:
    """Decode the first second of ``music``.

    Raises:
        StepFailed: it cannot be decoded, and never will.
    """
    words = ["-t", "1", *opening(music, SOUND_FORMATS), "-map", "0:a:0", "-vn", "-ac", "1", "-ar", "8000"]
    samples, problem = _tried(*words, "-f", "s16le", "pipe:1")
    if problem or not samples:
        problem = "it is no sound file of a kind that is read" if "whitelist" in problem else problem
        problem = problem or "there is no sound in it"
        raise StepFailed(f"the music {music.name} cannot be used: {problem}", retry=False)


def encoding(crf: int, fps: Fraction, *, nvenc: bool, codec: Codec = "h264") -> dict[str, Any]:
    """The options of ffmpeg for the picture, by name.

    Parameters:
        crf: constant rate factor, 0..51, as x264 has it.
        nvenc: encode on an NVIDIA GPU; see :func:`uses_nvenc`.
        codec: AV1 is made by SVT-AV1, whose bytes do not depend on its threads.
    """
    keyframes: dict[str, Any] = {"g": round(fps * 4), "pix_fmt": "yuv420p"}
    if codec == "av1":
        # 10 more has x264's SSIM, measured at 22, at 0.55 of its bytes and for 0.9 of its CPU time.
        return {"c:v": "libsvtav1", "preset": 12, "crf": min(63, crf + 10), **keyframes}
    keyframes["profile:v"] = "high"
    if nvenc:
        return {"c:v": "h264_nvenc", "preset": "p5", "rc": "vbr", "cq": crf + 3, "b:v": 0, "bf": 2, **keyframes}
    # x264 gives other bytes for another number of threads: said here, it depends on nothing but the cores.
    threads = f"{_X264}:threads={min(12, max(3, (os.cpu_count() or 1) * 3 // 2))}"
    return {
        "c:v": "libx264",
        "preset": "superfast",
        "crf": max(_LEAST, crf - _LOWER),
        "x264-params": threads,
        **keyframes,
    }


@functools.cache
def _nvenc_problem(size: tuple[int, int], program: str) -> str:
    grey = ["-f", "lavfi", "-i", f"color=gray:s={_size(size)}:r=30", "-frames:v", "2"]
    options = [
        f"{word}" for name, value in encoding(23, Fraction(30), nvenc=True).items() for word in (f"-{name}", value)
    ]
    return _tried(*grey, *options, "-f", "null", "-")[1]


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _rate(fps: Fraction) -> str:
    return f"{fps.numerator}/{fps.denominator}"


def _command(output: Any) -> list[str]:
    return list(ffmpeg.compile(output.global_args(*_QUIET), cmd=ffmpeg_path(), overwrite_output=True))


def _tried(*words: str) -> tuple[bytes, str]:
    """Runs ffmpeg to its end: what it wrote, and, when it failed, what it complained of first (the cause)."""
    try:
        status, wrote, said = run_bounded(command(*words), _PATIENCE)
    except TooMuch as error:
        return b"", str(error)
    return wrote, cause(said, status) if status else ""


class _Words:
    """The last lines that a process writes to its stderr, read as they come so that it never blocks on them."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._lines: deque[str] = deque(maxlen=20)
        self._process = process
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = plain(line.decode(errors="replace"))
            if text and text != "Conversion failed!":
                self._lines.append(text)

    def last(self, status: int) -> str:
        self._thread.join(5)
        return self._lines[-1] if self._lines else silent(status)

    def close(self) -> None:
        """Waits for the last of them; the process has ended."""
        self._thread.join(5)
