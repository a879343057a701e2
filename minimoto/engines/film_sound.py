"""The sound of a film: music under it, and clips that are heard, for which the music steps back.

Mixed in blocks as it goes into the encoder, so its length costs no memory: 48 kHz, stereo, 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minimoto.engines.film_process import SOUND_FORMATS, Pipe, command, opening
from minimoto.engines.photo_facts import CLIP_FORMATS

RATE = 48000
_BLOCK = RATE
_PATIENCE = 60.0
_BYTES = 4

# Music under speech: 14 dB lower is heard as beneath it. It steps back and returns within this time.
_UNDER = 0.2
_STEP_SECONDS = 0.5

_FADE_IN, _FADE_OUT = 1.0, 3.0

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """A clip's own sound in the film.

    Parameters:
        path: the clip.
        start, seconds: when, in seconds of the film.
        fade: seconds over which it comes and goes: those of its transitions.
    """

    path: Path
    start: float
    seconds: float
    fade: float


def sound(music: Path | None, heard: Sequence[Heard], seconds: float) -> Iterator[bytes]:
    """The film's sound, exactly ``seconds`` of it, block by block; interleaved stereo, 16 bits, little-endian.

    Parameters:
        music: looped or trimmed to the film, faded in and out; None for none.
        heard: in the order of their starts.
    """
    total = round(seconds * RATE)
    with ExitStack() as stack:
        song = stack.enter_context(_pcm(["-stream_loop", "-1"], music, SOUND_FORMATS)) if music else None
        waiting, playing = list(heard), list[_Playing]()
        for start in range(0, total, _BLOCK):
            count = min(_BLOCK, total - start)
            mixed = np.zeros((count, 2), np.float32)
            if song is not None:
                mixed += _samples(song, count) * _music_level(start, count, total, heard)[:, None]
            while waiting and round(waiting[0].start * RATE) < start + count:
                playing.append(_Playing(waiting.pop(0), stack))
            for clip in playing:
                clip.add(mixed, start)
            playing = [clip for clip in playing if not clip.over(start + count)]
            yield (np.clip(mixed, -1, 1) * 32767).round().astype("<i2").tobytes()


class _Playing:
    """A clip whose sound has begun."""

    def __init__(self, heard: Heard, stack: ExitStack) -> None:
        self._start, self._count = round(heard.start * RATE), round(heard.seconds * RATE)
        self._fade = max(1, min(round(max(heard.fade, 0.02) * RATE), self._count // 2))
        limit = ["-t", f"{heard.seconds:.6f}"]
        self._pipe = stack.enter_context(_pcm(limit, heard.path, CLIP_FORMATS))

    def add(self, mixed: Samples, start: int) -> None:
        """Adds what of it falls into a block that begins at sample ``start``."""
        first = max(0, self._start - start)
        last = min(len(mixed), self._start + self._count - start)
        at = np.arange(first, last) + (start - self._start)
        level = np.clip(np.minimum(at + 1, self._count - at) / self._fade, 0, 1).astype(np.float32)
        mixed[first:last] += _samples(self._pipe, last - first) * level[:, None]

    def over(self, sample: int) -> bool:
        """Whether nothing of it comes at or after ``sample``; then its decoder is ended."""
        over = sample >= self._start + self._count
        if over:
            self._pipe.close()
        return over


def _pcm(options: Sequence[str], file: Path, formats: str) -> Pipe:
    words = [
        *options, *opening(file, formats), "-map", "0:a:0", "-vn",
        # Each turn of a loop skips its encoder's delay; count samples, or the sound would end that much early.
        "-af", f"aresample={RATE}:async=1:first_pts=0,aformat=sample_fmts=s16:channel_layouts=stereo",
        "-f", "s16le", "pipe:1",
    ]  # fmt: skip
    return Pipe(command(*words), _PATIENCE)


def _samples(pipe: Pipe, count: int) -> Samples:
    """The next samples ``(count, 2)``, -1..1; silence after the end."""
    data = np.zeros(count * _BYTES, np.uint8)
    if count:
        pipe.read_into(data.data)
    return np.asarray(data.view("<i2").reshape(-1, 2) / 32768, np.float32)


def _music_level(start: int, count: int, total: int, heard: Sequence[Heard]) -> Samples:
    """How loud the music is at each sample of a block, 0..1."""
    at = (start + np.arange(count)) / RATE
    seconds = total / RATE
    fade = min(_FADE_OUT, seconds / 4)
    level = np.minimum(at / min(_FADE_IN, fade), (seconds - at) / fade).clip(0, 1)
    for clip in heard:
        if clip.start - _STEP_SECONDS < at[-1] and at[0] < clip.start + clip.seconds + _STEP_SECONDS:
            # 0 while the clip is heard, 1 from a step's time on.
            away = np.maximum(clip.start + clip.fade - at, at - (clip.start + clip.seconds - clip.fade)) / _STEP_SECONDS
            level *= _UNDER + (1 - _UNDER) * away.clip(0, 1)
    return level.astype(np.float32)
