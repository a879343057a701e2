"""The zoom over a canvas against a warp of it, and by measured points; the canvas against the one made in RGB."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_film_frames import CANVAS, FRAME, found, spot

from minimoto.engines import film_zoom
from minimoto.engines.film_canvas import compose
from minimoto.engines.film_frame import Frame, empty, from_rgb, planes, warp
from minimoto.engines.film_kernel import zoom_plane
from minimoto.engines.film_motion import path
from minimoto.engines.film_paint import paint
from minimoto.engines.film_zoom import Zoom

SHARES = st.floats(0, 1)


def texture(size: tuple[int, int], seed: int = 1) -> Frame:
    """A canvas of soft shapes in all colours."""
    small = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
    return from_rgb(np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)))


@pytest.fixture(params=["compiled", "opencv"])
def drawn_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to draw a zoom."""
    if request.param == "opencv":
        monkeypatch.setattr(film_zoom, "zoom_plane", lambda: None)
    elif zoom_plane() is None:
        pytest.skip("no C compiler here makes the zoom")


@pytest.mark.usefixtures("drawn_by")
@pytest.mark.parametrize("slide", range(4))
def test_a_point_follows_the_eased_path_to_a_fiftieth_of_a_pixel(slide: int) -> None:
    centre, moved = (CANVAS[0] * 0.31, CANVAS[1] * 0.66), path(slide, seed=0)
    zoom, out, off = Zoom(from_rgb(spot(CANVAS, centre, 9)), moved.focus, FRAME), empty(FRAME), []
    for frame in range(60):
        scale = moved.scale(frame / 59)
        x, y = found(planes(zoom.draw(scale, out))[0])
        view = zoom.view(scale)
        off.append((x - (centre[0] - view.left) / scale, y - (centre[1] - view.top) / scale))
    assert np.abs(np.diff(off, axis=0)).max() < 0.02
    assert np.abs(off).max() < 0.02


@settings(deadline=None, max_examples=40)
@example((0.015, 0.98), 1.05, FRAME)
@given(st.tuples(SHARES, SHARES), st.floats(1.05, 1.2), st.sampled_from([FRAME, (162, 90), (90, 162), (64, 64)]))
def test_a_zoom_is_the_warp_that_it_says(focus: tuple[float, float], scale: float, size: tuple[int, int]) -> None:
    canvas = texture((size[0] * 6 // 10 * 2, size[1] * 6 // 10 * 2))
    zoom = Zoom(canvas, focus, size)
    view = zoom.view(scale)
    drawn, warped = zoom.draw(scale, empty(size)), warp(canvas, view.scale, view.left, view.top, empty(size))
    for plane, (a, b) in enumerate(zip(planes(drawn), planes(warped), strict=True)):
        # Chroma may be a 20th of its pixels off, in shapes that change by some 40 levels a pixel. Beyond the canvas, a
        # pixel at most, both repeat its edge.
        assert np.abs(a.astype(int) - b).max() <= (2 if plane == 0 else 4)


@settings(deadline=None, max_examples=40)
@example((0.015, 0.98), 1.05, FRAME)
@given(st.tuples(SHARES, SHARES), st.floats(1.05, 1.2), st.sampled_from([FRAME, (162, 90), (90, 162), (64, 64)]))
def test_the_compiled_zoom_draws_the_bytes_of_the_other(
    focus: tuple[float, float], scale: float, size: tuple[int, int]
) -> None:
    kernel = zoom_plane()
    if kernel is None:
        pytest.skip("no C compiler here makes the zoom")
    chance = np.random.default_rng(3)
    canvas = chance.integers(0, 256, (size[1] * 6 // 10 * 3, size[0] * 6 // 10 * 2), np.uint8)
    compiled = Zoom(canvas, focus, size)
    with mock.patch.object(film_zoom, "zoom_plane", return_value=None):
        other = Zoom(canvas, focus, size)
    assert (compiled.draw(scale, empty(size)) == other.draw(scale, empty(size))).all()


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_every_compiler_makes_a_zoom_of_the_same_bytes(
    compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler} here")
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("MINIMOTO_CACHE", str(tmp_path))
    kernel = zoom_plane.__wrapped__()
    assert kernel is not None
    canvas = np.random.default_rng(4).integers(0, 256, (CANVAS[1] * 3 // 2, CANVAS[0]), np.uint8)
    drawn = []
    for drawing in (kernel, None):
        with mock.patch.object(film_zoom, "zoom_plane", return_value=drawing):
            drawn.append(Zoom(canvas, (0.3, 0.6), FRAME).draw(1.13, empty(FRAME)))
    assert (drawn[0] == drawn[1]).all()


@pytest.mark.parametrize("compiler", ["", "/bin/false"])
def test_without_a_compiler_that_works_a_film_is_zoomed_by_opencv(
    compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MINIMOTO_CACHE", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name: compiler or None)
    assert zoom_plane.__wrapped__() is None
    assert "OpenCV zooms" in caplog.text
    assert not list(tmp_path.rglob("*.so"))


@settings(deadline=None)
@given(st.tuples(SHARES, SHARES), st.floats(1.0, 1.2))
def test_a_zoom_shows_what_its_path_says_to_a_pixel(focus: tuple[float, float], scale: float) -> None:
    view = Zoom(texture(CANVAS), focus, FRAME).view(scale)
    for corner, share, canvas, frame in zip((view.left, view.top), focus, CANVAS, FRAME, strict=True):
        # Half a chroma sample of rounding on the canvas, and the difference between the two of it in the frame.
        assert abs(corner - (share * (canvas - scale * frame) + (scale - 1) / 2)) <= 1.2
        edge = (view.scale - 1) / 2
        assert corner - edge >= -1
        assert corner - edge + scale * frame <= canvas + 1


@pytest.mark.usefixtures("drawn_by")
def test_no_seam_shows_where_the_quarters_meet() -> None:
    ramp = np.broadcast_to(np.linspace(20, 230, CANVAS[0])[None, :, None], (CANVAS[1], CANVAS[0], 3))
    zoom = Zoom(from_rgb(np.ascontiguousarray(ramp.astype(np.uint8))), (0.4, 0.6), FRAME)
    for scale in (1.0, 1.057, 1.1, 1.2):
        luma = planes(zoom.draw(scale, empty(FRAME)))[0].astype(int)
        assert np.diff(luma, axis=1).min() >= 0
        assert np.diff(luma, axis=1).max() <= 1
        assert (luma == luma[0]).all()


@pytest.mark.usefixtures("drawn_by")
def test_chroma_zooms_with_luma() -> None:
    colourful = spot(CANVAS, (300, 200), 20)
    colourful[..., 1:] = 40
    zoom, out = Zoom(from_rgb(colourful), (0.3, 0.7), FRAME), empty(FRAME)
    for scale in (1.0, 1.07, 1.13, 1.2):
        luma, _, red = planes(zoom.draw(scale, out))
        x, y = found(luma)
        u, v = found(red)
        # Sample (i, j) of a chroma plane lies at luma (2i, 2j + 0.5).
        assert (2 * u, 2 * v + 0.5) == pytest.approx((x, y), abs=0.12)


@pytest.mark.parametrize("photo", [(1000, 700), (600, 800), (2100, 1400), (500, 1000), (31, 9), (1, 1)])
@pytest.mark.parametrize("fill", ["blur", "black"])
@pytest.mark.parametrize("mode", ["pad", "crop"])
def test_a_painted_canvas_is_the_composed_one(photo: tuple[int, int], fill: str, mode: str) -> None:
    shapes = np.random.default_rng(2).integers(0, 256, (6, 8, 3), np.uint8)
    image = Image.fromarray(shapes).resize(photo, Image.Resampling.BICUBIC)
    painted = paint(image, CANVAS, mode, fill)  # type: ignore[arg-type]
    composed = from_rgb(np.asarray(compose(image, CANVAS, mode, fill)))  # type: ignore[arg-type]
    for a, b in zip(planes(painted), planes(composed), strict=True):
        off = np.abs(a.astype(int) - b)
        assert off.mean() < 2
        # Edges of the photo may lie a pixel or two elsewhere.
        assert np.quantile(off, 0.98) <= 6


def test_a_transparent_photo_is_painted_as_composed() -> None:
    image = Image.new("RGBA", (300, 200), (200, 30, 30, 120))
    assert (paint(image, CANVAS, "pad", "blur") == from_rgb(np.asarray(compose(image, CANVAS, "pad", "blur")))).all()


def test_fine_stripes_do_not_alias_when_a_photo_shrinks() -> None:
    """Stripes finer than the canvas can show become grey, as Lanczos makes them."""
    stripes = np.tile(np.array([0, 255, 0, 255, 255], np.uint8), 300)
    image = Image.fromarray(np.repeat(np.broadcast_to(stripes, (1000, 1500))[..., None], 3, 2))
    luma = planes(paint(image, CANVAS, "crop", "black"))[0].astype(float)
    lanczos = planes(from_rgb(np.asarray(compose(image, CANVAS, "crop", "black"))))[0].astype(float)
    assert np.abs(luma - lanczos)[:, 8:-8].mean() < 6
    assert luma[:, 8:-8].std() < lanczos[:, 8:-8].std() + 4
