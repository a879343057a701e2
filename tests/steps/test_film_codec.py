"""A film in AV1: what is in it, and what it costs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import film_probe as probe
import numpy as np
import pytest
from PIL import Image

from minimoto.engines.film_encoder import FilmWriter, encoding
from minimoto.errors import InvalidPipeline
from minimoto.steps import STEPS
from minimoto.steps.base import Context

SIZE = (320, 180)
VIDEO = STEPS["video"]


def _shapes(path: Path, seed: int) -> Path:
    coarse = np.random.default_rng(seed).integers(0, 256, (18, 32, 3), np.uint8)
    Image.fromarray(coarse).resize((640, 360), Image.Resampling.BICUBIC).save(path)
    return path


def film(folder: Path, name: str, **params: str) -> Path:
    out = folder / name
    out.mkdir()
    photos = tuple(_shapes(folder / f"{name}{number}.png", number) for number in range(2))
    wanted = {"size": "320x180", "fps": "10", "seconds": "1"} | params
    [made] = VIDEO.run(Context(photos, {}, out, "trip", lambda progress: None), VIDEO.parse(wanted)).outputs
    return made


def test_av1_shows_the_same_film_in_fewer_bytes(tmp_path: Path) -> None:
    av1, h264 = film(tmp_path, "av1", codec="av1"), film(tmp_path, "h264", encoder="x264")
    assert "Video: av1" in probe.about(av1)
    assert "yuv420p(tv, bt709" in probe.about(av1)
    a, b = probe.frames(av1, SIZE).astype(float), probe.frames(h264, SIZE)
    assert a.shape == b.shape
    assert np.abs(a - b).mean() < 6
    assert av1.stat().st_size < 0.8 * h264.stat().st_size


def test_av1_gives_the_same_bytes_again(tmp_path: Path) -> None:
    assert film(tmp_path, "a", codec="av1").read_bytes() == film(tmp_path, "b", codec="av1").read_bytes()


def test_the_same_frames_give_the_same_bytes_however_they_come(tmp_path: Path) -> None:
    size, fps = (320, 180), Fraction(10)
    coarse = np.random.default_rng(5).uniform(0, 255, (3 * 24, 64)).astype(np.float32)
    ground = cv2.resize(coarse, (640, 3 * 240), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    made = set()
    for number in range(16):
        path = tmp_path / f"{number}.mp4"
        with FilmWriter(path, size, fps, encoding(22, fps, nvenc=False), faststart=False) as writer:
            for index in range(60):
                top, left = index // 20 * 240 + index % 20, 3 * index
                writer.write(ground[top : top + 270, left : left + 320].copy())
            writer.close()
        made.add(path.read_bytes())
    assert len(made) == 1


def test_an_encoder_of_h264_is_not_named_with_av1() -> None:
    with pytest.raises(InvalidPipeline, match="codec must be h264 where the encoder is named"):
        VIDEO.parse({"codec": "av1", "encoder": "nvenc"})
