"""What must be seen is inside every crop and every view that a film takes of a photo."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.core.framing import Rect, around, crop, kept_in_view

SIDES = st.integers(40, 6000)
SHAPES = st.sampled_from([(1920, 1080), (1080, 1920), (1080, 1080), (1080, 1350), (3840, 2160)])
SHARES = st.floats(0, 1)


@st.composite
def parts(draw: st.DrawFn, width: float, height: float) -> list[Rect]:
    made = []
    for _ in range(draw(st.integers(0, 5))):
        x, y = sorted((draw(SHARES), draw(SHARES))), sorted((draw(SHARES), draw(SHARES)))
        made.append(Rect(x[0] * width, y[0] * height, x[1] * width, y[1] * height))
    return made


@given(st.data(), SIDES, SIDES, SHAPES)
def test_a_crop_has_its_shape_and_cuts_nothing(
    data: st.DataObject, width: int, height: int, shape: tuple[int, int]
) -> None:
    keep = data.draw(parts(width, height))
    cut = crop((width, height), shape, keep)
    whole = around(keep)
    scale = min(width / shape[0], height / shape[1])
    fits = whole is None or (whole.width <= shape[0] * scale and whole.height <= shape[1] * scale)
    assert Rect(0, 0, width, height).holds(cut)
    assert all(cut.holds(part, slack=1e-3) for part in keep)
    assert cut.width == pytest.approx(width) or cut.height == pytest.approx(height)
    if fits:
        assert cut.width / cut.height == pytest.approx(shape[0] / shape[1], rel=1e-6)
    elif whole is not None:
        assert cut.width == pytest.approx(whole.width) or cut.height == pytest.approx(whole.height)


def test_a_crop_without_anything_to_keep_is_in_the_middle_and_moves_no_farther_than_it_must() -> None:
    assert crop((400, 100), (100, 100), []) == Rect(150, 0, 250, 100)
    assert crop((400, 100), (100, 100), [Rect(160, 10, 170, 20)]) == Rect(150, 0, 250, 100)
    assert crop((400, 100), (100, 100), [Rect(10, 10, 60, 50)]) == Rect(10, 0, 110, 100)
    assert crop((400, 100), (100, 100), [Rect(350, 10, 390, 50)]) == Rect(290, 0, 390, 100)
    assert crop((400, 100), (100, 100), [Rect(10, 0, 20, 20), Rect(380, 0, 390, 20)]) == Rect(10, 0, 390, 100)


@given(st.data(), SHAPES, SHARES, SHARES, st.floats(1.05, 1.15))
def test_a_zoom_that_must_keep_something_keeps_it_all_the_time(
    data: st.DataObject, frame: tuple[int, int], x: float, y: float, nearest: float
) -> None:
    canvas = (frame[0] * 1.2, frame[1] * 1.2)
    keep = data.draw(parts(*canvas))
    focus, closest = kept_in_view(keep, canvas, frame, (x, y), nearest)
    assert nearest <= closest <= 1.2 + 1e-9
    for step in range(11):
        scale = closest + (1.2 - closest) * step / 10
        shown = [scale * side for side in frame]
        left, top = (f * (room - length) for f, room, length in zip(focus, canvas, shown, strict=True))
        view = Rect(left, top, left + shown[0], top + shown[1])
        assert Rect(0, 0, *canvas).holds(view, slack=1e-3)
        assert all(view.holds(part, slack=1e-3) for part in keep)


def test_a_zoom_with_nothing_in_its_way_stays_as_it_was() -> None:
    assert kept_in_view([], (1200, 600), (1000, 500), (0.3, 0.4), 1.05) == ((0.3, 0.4), 1.05)
    seen = [Rect(500, 250, 600, 350)]
    assert kept_in_view(seen, (1200, 600), (1000, 500), (0.3, 0.4), 1.05) == ((0.3, 0.4), 1.05)


def test_rectangles() -> None:
    face = Rect(10, 20, 30, 60)
    assert face.scaled(2, 0.5).moved(1, 1) == Rect(21, 11, 61, 31)
    assert face.grown(0.5, 0.25, 0, 0.25) == Rect(0, 10, 30, 70)
    assert face.inside(Rect(0, 0, 25, 50)) == Rect(10, 20, 25, 50)
    assert face.inside(Rect(50, 0, 60, 10)).width == 0
