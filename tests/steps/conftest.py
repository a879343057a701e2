"""Tests of films do not depend on whether the network that finds faces is on this computer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minimoto.engines import film_faces
from minimoto.engines.registry import model_path
from minimoto.engines.runtime_cache import cache_dir
from minimoto.errors import ModelMissing

FETCHED = cache_dir() / "models"
"""Of whoever runs the tests: seen now, before the tests are given a cache of their own."""


class Blind:
    """A detector that looks, and finds no face."""

    def setInputSize(self, size: tuple[int, int]) -> None:  # OpenCV's name
        assert all(side % 32 == 0 for side in size)

    def detect(self, pixels: Any) -> tuple[int, None]:
        return 1, None


@pytest.fixture(autouse=True)
def _blind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No faces are found, and none missed, but by tests that ask for the detector or for its lack."""
    if not {"detector", "no_detector"} & set(request.fixturenames):
        monkeypatch.setattr(film_faces, "_detector", Blind)


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model of the real detector, as ``minimoto models fetch`` left it; the test is skipped where nobody has."""
    monkeypatch.setenv("MINIMOTO_MODELS", str(FETCHED))
    try:
        return model_path(film_faces.MODEL)
    except ModelMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def no_detector(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A computer on which nobody has fetched the detector."""
    monkeypatch.setenv("MINIMOTO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(film_faces, "_own", type(film_faces._own)())
