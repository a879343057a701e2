"""Frames, movement and transitions, against references and by measured points."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import film_probe as probe
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from minimoto.engines import film_transition
from minimoto.engines.film_canvas import compose, contain, cover
from minimoto.engines.film_frame import Frame, empty, flat, from_rgb, planes, warp
from minimoto.engines.film_motion import ZOOM, eased, path
from minimoto.engines.film_settings import TRANSITIONS
from minimoto.engines.film_title import Title
from minimoto.steps import STEPS
from minimoto.steps.base import Context

FRAME, CANVAS = (640, 360), (768, 432)
GREY = 40.0


def spot(size: tuple[int, int], centre: tuple[float, float], sigma: float) -> NDArray[np.uint8]:
    """A soft white spot on grey, RGB."""
    y, x = np.mgrid[: size[1], : size[0]].astype(float)
    level = GREY + 200 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
    return np.repeat((level + 0.5).astype(np.uint8)[..., None], 3, 2)


def found(luma: NDArray[np.uint8]) -> tuple[float, float]:
    """Where the spot is, (x, y), as the centre of mass of what is clearly above the grey around it."""
    weight = np.clip(luma.astype(float) - np.median(luma) - 12, 0, None)
    y, x = np.mgrid[: luma.shape[0], : luma.shape[1]]
    return float((weight * x).sum() / weight.sum()), float((weight * y).sum() / weight.sum())


@pytest.mark.parametrize("slide", range(4))
def test_a_point_follows_the_eased_path_to_a_twentieth_of_a_pixel(slide: int) -> None:
    centre = (CANVAS[0] * 0.31, CANVAS[1] * 0.66)
    canvas, out, moved = from_rgb(spot(CANVAS, centre, 9)), empty(FRAME), path(slide, seed=0)
    off = []
    for frame in range(120):
        view = moved.view(frame / 119, CANVAS, FRAME)
        x, y = found(planes(warp(canvas, view.scale, view.left, view.top, out))[0])
        off.append((x - (centre[0] - view.left) / view.scale, y - (centre[1] - view.top) / view.scale))
    deviation = np.array(off)
    assert np.abs(np.diff(deviation, axis=0)).max() < 0.05
    assert np.abs(deviation).max() < 0.05


def test_the_movement_goes_on_evenly_in_the_decoded_film(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(spot(FRAME, (200, 236), 9)).save(tmp_path / name)
    (tmp_path / "out").mkdir()
    step = STEPS["video"]
    params = step.parse({"size": "640x360", "seconds": "2", "quality": "4", "transition": "cut", "encoder": "x264"})
    context = Context((tmp_path / "a.png", tmp_path / "b.png"), {}, tmp_path / "out", "trip", lambda progress: None)
    [film] = step.run(context, params).outputs
    points = np.array([found(frame[..., 1]) for frame in probe.frames(film, FRAME)])
    for slide in (points[:60], points[60:]):
        steps = np.diff(slide, axis=0)
        speed = np.hypot(*steps.T)
        assert speed.min() > 0.3 * speed.mean()
        assert np.abs(np.diff(steps, axis=0)).max() < 0.1


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(0, 1000), st.floats(0, 1))
def test_a_view_never_leaves_its_canvas(slide: int, seed: int, at: float) -> None:
    view = path(slide, seed).view(at, CANVAS, FRAME)
    for corner, canvas, frame in zip((view.left, view.top), CANVAS, FRAME, strict=True):
        edge = (view.scale - 1) / 2
        assert corner - edge >= -1e-9
        assert corner - edge + view.scale * frame <= canvas + 1e-9
    assert 1.05 <= view.scale <= ZOOM


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_the_easing_rises_and_never_rests(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert eased(high) - eased(low) >= 0.59 * (high - low)
    assert (eased(0), eased(1)) == (0, 1)


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (90, 140, 200)])
def test_colours_are_bt709_studio_range(colour: tuple[int, int, int]) -> None:
    red, green, blue = (level / 255 for level in colour)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    expected = (16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8556, 128 + 224 * (red - luma) / 1.5748)
    frame = from_rgb(np.full((8, 12, 3), colour, np.uint8))
    assert [plane.shape for plane in planes(frame)] == [(8, 12), (4, 6), (4, 6)]
    for plane, level in zip(planes(frame), expected, strict=True):
        assert np.abs(plane - level).max() <= 1


def test_chroma_moves_with_luma() -> None:
    colourful = spot(CANVAS, (300, 200), 20)
    colourful[..., 1:] = 40
    canvas, out = from_rgb(colourful), empty(FRAME)
    for scale, left, top in ((1.0, 0.0, 0.0), (1.13, 3.7, 1.2), (1.05, 20.25, 11.5)):
        luma, _, red = planes(warp(canvas, scale, left, top, out))
        x, y = found(luma)
        u, v = found(red)
        # Sample (i, j) of a chroma plane lies at luma (2i, 2j + 0.5).
        assert (2 * u, 2 * v + 0.5) == pytest.approx((x, y), abs=0.1)


def test_every_transition_is_known() -> None:
    assert tuple(film_transition.BY_NAME) == TRANSITIONS
    picked = {film_transition.choose("random", join, 3) for join in range(200)}
    assert picked == {film_transition.BY_NAME[name] for name in TRANSITIONS[1:]}


@pytest.mark.parametrize("name", TRANSITIONS[1:])
def test_a_transition_goes_smoothly_from_one_to_the_other(name: str) -> None:
    leaving = from_rgb(np.asarray(compose(Image.new("RGB", (8, 8), (200, 60, 60)), FRAME, "crop", "black")))
    entering = from_rgb(np.asarray(compose(Image.new("RGB", (8, 8), (60, 60, 200)), FRAME, "crop", "black")))
    draw, before = film_transition.BY_NAME[name], (leaving.copy(), entering.copy())
    shown = [leaving, *(draw(leaving, entering, n / 61, empty(FRAME)).copy() for n in range(1, 61)), entering]
    assert all((a == b).all() for a, b in zip(before, (leaving, entering), strict=True))
    change = [float(np.abs(a.astype(int) - b).mean()) for a, b in pairwise(shown)]
    assert max(change) < 0.14 * sum(change)
    assert change[0] + change[-1] < 0.06 * sum(change)


def test_a_push_leaves_no_seam() -> None:
    leaving, entering = flat(FRAME, 120), flat(FRAME, 120)
    for name in ("push", "slide", "zoom", "wipe", "dissolve"):
        drawn: Frame = film_transition.BY_NAME[name](leaving, entering, 0.37, empty(FRAME))
        assert np.abs(drawn.astype(int) - leaving).max() <= 1, name


@pytest.mark.parametrize("size", [(4000, 3000), (1, 1), (10, 5000), (9000, 40), (1920, 1080)])
def test_contain_and_cover_touch_the_box(size: tuple[int, int]) -> None:
    inside, outside = contain(size, FRAME), cover(size, FRAME)
    assert inside[0] == FRAME[0] or inside[1] == FRAME[1]
    assert all(1 <= a <= b for a, b in zip(inside, FRAME, strict=True))
    assert all(a >= b for a, b in zip(outside, FRAME, strict=True))


@pytest.mark.parametrize(
    "text", ["Hi", "Ein Sommer am Meer", "word " * 40, "Donaudampfschifffahrtsgesellschaftskapitän" * 3]
)
def test_a_title_fits_its_frame(text: str) -> None:
    base = flat(FRAME, 100)
    drawn = Title(text, FRAME).blend(base, 1.0, empty(FRAME))
    changed = np.abs(planes(drawn)[0].astype(int) - 100) > 60
    assert changed.any()
    assert not changed[:, :8].any()
    assert not changed[:, -8:].any()
    assert Title(text, FRAME).blend(base, 0.0, empty(FRAME)) is base
