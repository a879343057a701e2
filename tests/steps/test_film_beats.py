"""Beats are found to 50 milliseconds, and the film changes its pictures on them."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import film_probe as probe
import numpy as np
import odd_pictures as odd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minimoto.core.timeline import BeatGrid, Span, span_after, span_moments
from minimoto.engines.film_beats import beat_grid
from minimoto.errors import InvalidPipeline
from minimoto.steps import STEPS
from minimoto.steps.base import Context

RATE = 22050
VIDEO = STEPS["video"]


def song(path: Path, bpm: float, seconds: float = 20, first: float = 0.4, seed: int = 1) -> list[float]:
    """Drums on each beat, a soft chord on every fourth and noise: the times of its beats."""
    chance = np.random.default_rng(seed)
    samples = chance.normal(size=round(seconds * RATE)) * 0.003
    times = np.arange(first, seconds - 0.3, 60 / bpm)
    at = np.arange(round(0.1 * RATE)) / RATE
    for number, time in enumerate(times):
        low = np.sin(2 * np.pi * 90 * at) if number % 2 == 0 else chance.normal(size=at.size) * 0.5
        start = round(time * RATE)
        samples[start : start + at.size] += 0.7 * low * np.exp(-at / 0.02)
        if number % 4 == 0:
            chord = np.arange(min(round(240 / bpm * RATE), len(samples) - start)) / RATE
            samples[start : start + chord.size] += 0.06 * sum(np.sin(2 * np.pi * f * chord) for f in (220, 277, 330))
    save(path, samples)
    return times.tolist()


def save(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


@pytest.mark.parametrize("bpm", [76, 92, 100, 120, 128, 140])
def test_beats_are_found_to_50_milliseconds(tmp_path: Path, bpm: float) -> None:
    times = np.array(song(tmp_path / "song.wav", bpm))
    grid = beat_grid(tmp_path / "song.wav", Fraction(30))
    assert grid is not None
    assert grid.period == pytest.approx(20, abs=0.01)
    found = np.array(grid.beats)
    # Listeners, too, take half or twice the tempo: then beats are left out, or lie half-way between two.
    step = float(np.median(np.diff(found)))
    [times_as_fast] = [factor for factor in (0.5, 1, 2) if step * factor == pytest.approx(60 / bpm, abs=0.01)]
    taken = np.arange(times[0], times[-1] + 0.1, 30 / bpm)
    assert [np.abs(taken - beat).min() for beat in found] == pytest.approx([0] * len(found), abs=0.05)
    if times_as_fast >= 1:
        assert [np.abs(found - time).min() for time in times] == pytest.approx([0] * len(times), abs=0.05)
    assert len(found) >= len(times) * times_as_fast - 2


@pytest.mark.parametrize("kind", ["silence", "half a second", "a tone"])
def test_what_has_no_beat_has_no_grid(tmp_path: Path, kind: str) -> None:
    length = RATE // 2 if kind == "half a second" else 5 * RATE
    tone = np.sin(2 * np.pi * 440 * np.arange(length) / RATE) * 0.3
    save(tmp_path / "song.wav", np.zeros(length) if kind == "silence" else tone)
    grid = beat_grid(tmp_path / "song.wav", Fraction(30))
    assert grid is None or kind == "a tone"
    assert grid is None or len(grid.beats) <= 12


def test_photos_change_on_beats(tmp_path: Path) -> None:
    times = np.array(song(tmp_path / "song.wav", 96))
    photos = [odd.plain(tmp_path / f"{n}.png", (200 * (n % 2), 0, 200 * (1 - n % 2))) for n in range(6)]
    (tmp_path / "out").mkdir()
    params = {
        "size": "160x90", "fps": "25", "seconds": "2", "transition": "cut", "encoder": "x264", "music": "song.wav",
        "beats": "on",
    }  # fmt: skip
    context = Context(tuple(photos), {"song.wav": tmp_path / "song.wav"}, tmp_path / "out", "trip", lambda _: None)
    [film] = VIDEO.run(context, VIDEO.parse(params)).outputs
    red = probe.frames(film, (160, 90))[..., 0].mean((1, 2)) > 100
    cuts = np.flatnonzero(np.diff(red)) + 1
    assert len(cuts) == 5
    halves = np.arange(times[0], times[-1] + 0.1, 30 / 96)
    assert [np.abs(halves - cut / 25).min() for cut in cuts] == pytest.approx([0] * 5, abs=0.05)
    assert len(red) / 25 == pytest.approx(12, abs=0.7)


def test_beats_need_music() -> None:
    with pytest.raises(InvalidPipeline, match="beats must be off where there is no music"):
        VIDEO.parse({"beats": "on"})


@st.composite
def grids(draw: st.DrawFn) -> BeatGrid:
    period = draw(st.floats(0.5, 40))
    beats = draw(st.lists(st.floats(0, period, exclude_max=True), max_size=40, unique=True))
    return BeatGrid(tuple(sorted(beats)), period, Fraction(draw(st.sampled_from([10, 25, 30]))))


LENGTHS = st.lists(st.tuples(st.integers(1, 200), st.booleans()), min_size=1, max_size=12)


@given(LENGTHS, st.integers(0, 40), st.none() | grids())
def test_spans_leave_no_gap_and_stay_within_bounds(
    wanted: list[tuple[int, bool]], transition: int, beats: BeatGrid | None
) -> None:
    spans: list[Span] = []
    for frames, clip in wanted:
        before = spans[-1] if spans else None
        spans.append(span_after(before, frames, transition, beats, most=frames if clip else None))
        span = spans[-1]
        assert (frames + 1) // 2 <= span.length <= (frames if clip else max(1, frames * 3 // 2))
        assert beats is not None or span.length == frames
        assert 0 <= span.entering <= transition
        if before is not None:
            assert span.start == before.end - span.entering
            assert span.entering <= before.length // 2
            assert span.entering <= span.length // 2
    following = [*spans[1:], None]
    frames_made = [
        moment.frame
        for index, (span, after) in enumerate(zip(spans, following, strict=True))
        for moment in span_moments(index, span, after)
    ]
    assert frames_made == list(range(spans[-1].end))
    assert spans[-1].end == sum(s.length for s in spans) - sum(s.entering for s in spans)


@given(st.integers(2, 30), st.integers(40, 200), st.integers(0, 15), st.floats(0.2, 0.6))
def test_a_film_on_beats_is_as_long_as_one_without(photos: int, slide: int, transition: int, beat: float) -> None:
    assume(30 * beat + 1 <= slide - max(2 * transition, (slide + 1) // 2))
    grid = BeatGrid(tuple(n * beat for n in range(50)), 50 * beat, Fraction(30))
    last: Span | None = None
    for _ in range(photos):
        last = span_after(last, slide, transition, grid)
        middle = last.end - transition / 2
        assert min(middle / 30 % beat, beat - middle / 30 % beat) <= 0.5 / 30 + 1e-6
    assert last is not None
    assert abs(last.end - (photos * slide - (photos - 1) * transition)) <= beat * 30 / 2 + 1


@given(grids(), st.floats(0, 2000), st.floats(0, 300), st.floats(0, 300))
def test_the_nearest_beat_within_bounds(grid: BeatGrid, frame: float, below: float, above: float) -> None:
    low, high = frame - below, frame + above
    fps = float(grid.fps)
    turns = range(-1, int(high / fps / grid.period) + 2)
    every = [(turn * grid.period + beat) * fps for turn in turns for beat in grid.beats]
    inside = [beat for beat in every if low + 1e-6 <= beat <= high - 1e-6]
    found = grid.nearest(frame, low, high)
    if inside:
        assert found is not None
        assert abs(found - frame) <= min(abs(beat - frame) for beat in inside) + 1e-5
    if found is not None:
        assert low <= found <= high
        assert min(abs(beat - found) for beat in every) < 1e-5
