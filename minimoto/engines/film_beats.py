"""The beats of a piece of music.

D. P. W. Ellis: Beat Tracking by Dynamic Programming, Journal of New Music Research 36 (1), 2007: an onset envelope from
a mel spectrogram (section 3.1), one tempo for the piece from its autocorrelation (3.2), and the chain of beats that
lies best on the onsets at about that tempo (3.3).
"""

from __future__ import annotations

import functools
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minimoto.core.timeline import BeatGrid
from minimoto.engines.film_process import SOUND_FORMATS, Pipe, command, opening

RATE = 16000
HOP = 128
_WINDOW = 512
_MELS = 40
_PER_SECOND = RATE / HOP
_MOST_SECONDS = 3600
_BLOCK_SECONDS = 30
_PATIENCE = 60.0

# Section 3.2: tempi around 120 a minute are likely, with a spread of about an octave; 3.3: how strict the tempo is.
_LIKELY, _SPREAD = 0.5, 0.9
_FASTEST, _SLOWEST = 0.25, 1.5
_STRICT = 100.0

Samples = NDArray[np.float32]


def beat_grid(music: Path, fps: Fraction) -> BeatGrid | None:
    """The beats of ``music``, played again and again, for a film of ``fps`` frames a second; None if it has none.

    Of music longer than an hour, only the first hour has beats.
    """
    strength, seconds = _read(music)
    found = beats(strength)
    if not found.size:
        return None
    longer = seconds >= _MOST_SECONDS
    return BeatGrid(tuple(time for time in found.tolist() if time < seconds), 1e6 if longer else seconds, fps)


def _read(music: Path) -> tuple[Samples, float]:
    """The onset envelope of a sound file, in blocks that bound the memory; and its seconds."""
    words = [
        "-t", str(_MOST_SECONDS), *opening(music, SOUND_FORMATS), "-map", "0:a:0", "-vn",
        "-af", f"aresample={RATE},aformat=sample_fmts=flt:channel_layouts=mono", "-f", "f32le", "pipe:1",
    ]  # fmt: skip
    parts, kept, samples = [], np.zeros(_WINDOW // 2, np.float32), 0
    with Pipe(command(*words), _PATIENCE) as pipe:
        while data := pipe.read(RATE * _BLOCK_SECONDS * 4):
            block = np.frombuffer(data[: len(data) // 4 * 4], np.float32)
            samples += len(block)
            kept = np.concatenate([kept, block])
            count = max(0, (len(kept) - _WINDOW) // HOP + 1)
            if count:
                parts.append(_mel(kept, count))
                kept = kept[count * HOP :]
    mel = np.concatenate(parts) if parts else np.zeros((0, _MELS), np.float32)
    return onset_strength(mel), samples / RATE


def onset_strength(mel: Samples) -> Samples:
    """How much begins at each frame, from levels ``(frames, bands)`` in decibels; mean 0, deviation 1."""
    if len(mel) < _PER_SECOND:
        return np.zeros(len(mel), np.float32)
    floor = mel.max() - 80
    rises = np.diff(np.maximum(mel, floor), axis=0, prepend=np.maximum(mel[:1], floor))
    strength = np.maximum(rises, 0).mean(1)
    # Slow swells are no onsets: subtract the average of a second around.
    swell = np.convolve(strength, np.ones(int(_PER_SECOND)) / _PER_SECOND, "same")
    strength = np.maximum(strength - swell, 0)
    smooth = np.convolve(strength, np.hanning(7) / np.hanning(7).sum(), "same")
    spread = float(smooth.std())
    return (smooth / spread).astype(np.float32) if spread > 1e-6 else np.zeros_like(smooth, np.float32)


def tempo(strength: Samples) -> float:
    """Seconds from beat to beat."""
    lags = np.arange(round(_FASTEST * _PER_SECOND), round(_SLOWEST * _PER_SECOND) + 1)
    spectrum = np.fft.rfft(strength - strength.mean(), 2 * len(strength))
    similar = np.fft.irfft(np.abs(spectrum) ** 2)[: len(strength)]
    lags = lags[2 * lags < len(similar)]
    if not len(lags):
        return _LIKELY
    # What repeats at a beat also repeats at two.
    score = similar[lags] + 0.5 * similar[2 * lags]
    likely = np.exp(-0.5 * (np.log2(lags / _PER_SECOND / _LIKELY) / _SPREAD) ** 2)
    best = int(np.argmax(score * likely))
    return float(_between(score * likely, best) + lags[0]) / _PER_SECOND


def _between(values: NDArray[np.float64], best: int) -> float:
    """Where a parabola through a maximum and its neighbours has its top."""
    if not 0 < best < len(values) - 1:
        return float(best)
    left, top, right = (float(value) for value in values[best - 1 : best + 2])
    bend = left - 2 * top + right
    return best + (0.5 * (left - right) / bend if bend else 0.0)


def beats(strength: Samples) -> NDArray[np.float64]:
    """The times of the beats in seconds, from an onset envelope; none where nothing begins."""
    if len(strength) < 2 * _SLOWEST * _PER_SECOND or not strength.any():
        return np.zeros(0)
    period = tempo(strength) * _PER_SECOND
    back = np.arange(-round(2 * period), -round(period / 2) + 1)
    penalty = -_STRICT * np.log(-back / period) ** 2
    score, before = strength.astype(np.float64).copy(), np.full(len(strength), -1)
    for frame in range(-back[-1], len(strength)):
        first = max(0, -(frame + back[0]))
        ways = score[frame + back[first] : frame + back[-1] + 1] + penalty[first:]
        best = int(np.argmax(ways))
        if ways[best] > 0:
            score[frame] += ways[best]
            before[frame] = frame + back[first] + best
    last = len(score) - round(period) + int(np.argmax(score[-round(period) :]))
    chain = [last]
    while before[chain[-1]] >= 0:
        chain.append(int(before[chain[-1]]))
    return _with_onsets(np.array(chain[::-1]), strength) / _PER_SECOND


def _with_onsets(chain: NDArray[np.int64], strength: Samples) -> NDArray[np.float64]:
    """The beats from the first to the last one that something really begins on."""
    loud = np.array([strength[max(0, frame - 3) : frame + 4].max() for frame in chain])
    places = np.flatnonzero(loud > 0.25 * np.sqrt(np.mean(loud**2)))
    return chain[places[0] : places[-1] + 1].astype(np.float64)


@functools.cache
def _filters() -> Samples:
    """Triangles of equal width on the mel scale, ``(bins, bands)``."""
    bins = np.fft.rfftfreq(_WINDOW, 1 / RATE)
    mel = 2595 * np.log10(1 + bins / 700)
    edges = np.linspace(0, mel[-1], _MELS + 2)
    rise = (mel[:, None] - edges[None, :-2]) / (edges[1] - edges[0])
    return np.asarray(np.minimum(rise, 2 - rise).clip(0, 1), np.float32)


def _mel(samples: Samples, count: int) -> Samples:
    """Levels in decibels, ``(count, bands)``, of windows a hop apart."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::HOP][:count]
    power = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW).astype(np.float32), axis=1)) ** 2
    return np.asarray(10 * np.log10(power @ _filters() + 1e-10), np.float32)
