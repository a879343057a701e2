"""Frames are drawn as the encoder takes them, and no faster."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import film_probe as probe
import pytest

from minimoto.engines import film_pace
from minimoto.engines.film_encoder import FilmWriter, encoding
from minimoto.engines.film_frame import flat
from minimoto.media import ffmpeg_path

SIZE = (160, 90)


def film(path: Path, frames: int) -> Path:
    options = encoding(22, Fraction(30), nvenc=False)
    with FilmWriter(path, SIZE, Fraction(30), options, faststart=False) as writer:
        for index in range(frames):
            writer.write(flat(SIZE, 16 + index))
        writer.close()
    return path


def test_few_frames_are_on_their_way_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead: list[int] = []
    wait = film_pace.Pace.wait

    def watched(pace: film_pace.Pace) -> None:
        wait(pace)
        ahead.append(pace._written - pace._begun)

    monkeypatch.setattr(film_pace.Pace, "wait", watched)
    monkeypatch.setattr(film_pace, "PATIENCE", 60.0)
    shown = probe.frames(film(tmp_path / "film.mp4", 60), SIZE)
    assert len(shown) == len(ahead) == 60
    assert max(ahead) <= film_pace.AHEAD
    assert min(ahead) >= 0


def test_an_ffmpeg_that_does_not_tell_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = film(tmp_path / "told.mp4", 40).read_bytes()
    monkeypatch.setattr(film_pace, "_tells_of_frames", lambda program: False)
    assert film_pace.Pace(ffmpeg_path()).options == {}
    assert film(tmp_path / "untold.mp4", 40).read_bytes() == told
