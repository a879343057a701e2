"""A film encoded on a GPU, where there is one."""

from __future__ import annotations

from pathlib import Path

import odd_pictures as odd
import pytest
from film_probe import frames

from minimoto.engines.film_encoder import uses_nvenc
from minimoto.steps import STEPS
from minimoto.steps.base import Context

SIZE = (320, 180)


@pytest.fixture
def nvenc() -> None:
    """Skips where ffmpeg cannot encode on a GPU."""
    if not uses_nvenc("auto", SIZE):
        pytest.skip("ffmpeg finds no NVENC here")


@pytest.mark.gpu
@pytest.mark.usefixtures("nvenc")
def test_the_gpu_makes_the_same_film(tmp_path: Path) -> None:
    photos = tuple(odd.grain(tmp_path / f"{n}.jpg", SIZE) for n in range(2))
    made = {}
    for encoder in ("x264", "nvenc"):
        out = tmp_path / encoder
        out.mkdir()
        video = STEPS["video"]
        params = {"size": "320x180", "fps": "10", "seconds": "1", "encoder": encoder, "quality": "high"}
        (film,) = video.run(Context(photos, {}, out, "trip", lambda progress: None), video.parse(params)).outputs
        made[encoder] = frames(film, SIZE).astype(float)
    assert made["nvenc"].shape == made["x264"].shape
    assert abs(made["nvenc"] - made["x264"]).mean() < 6.0
