"""The pictures of sharp edges that the networks of ``upscale`` learn from."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from training import upscale_drawn
from training.upscale_drawn import KINDS, SIDE, draw


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upscale_drawn, "SIDE", 128)
    monkeypatch.setattr(upscale_drawn, "DRAWN", 128 * upscale_drawn.FINE)


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_every_kind_has_edges_and_is_drawn_the_same_again(number: int) -> None:
    picture = draw(number)
    assert picture.shape == (128, 128, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(draw(number), picture)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    steepest = np.abs(np.diff(grey.astype(int), axis=1)).max()
    assert steepest > 30
    assert grey.std() > 5


def test_each_picture_is_another() -> None:
    pictures = [draw(0), draw(len(KINDS)), draw(0, seed=2)]
    assert all(np.abs(a.astype(int) - b).mean() > 5 for a, b in pairwise(pictures))


def test_a_folder_of_them_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["upscale_drawn", "--out", str(tmp_path / "drawn"), "--count", "3"])
    upscale_drawn.main()
    made = sorted((tmp_path / "drawn").iterdir())
    assert [path.name for path in made] == ["0000.png", "0001.png", "0002.png"]
    with Image.open(made[1]) as picture:
        np.testing.assert_array_equal(np.array(picture), draw(1))


def test_the_size_is_enough_for_patches_of_every_factor() -> None:
    assert SIDE >= 2 * 45 * 4
