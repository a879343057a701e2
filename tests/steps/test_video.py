"""The step ``video``: what is really in the film, and what becomes of bad input."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import film_probe as probe
import numpy as np
import odd_pictures as odd
import pytest

from minimoto.core.timeline import frame_count, timing
from minimoto.engines.film_settings import TRANSITIONS
from minimoto.errors import InvalidPipeline, StepFailed
from minimoto.steps import STEPS
from minimoto.steps.base import Context, Progress, StepResult

VIDEO = STEPS["video"]
SIZE = (160, 90)
SMALL = {"size": "160x90", "fps": "10", "seconds": "1", "transition_seconds": "0.3", "encoder": "x264"}
RHYTHM = timing(Fraction(10), Fraction(1), Fraction(3, 10))


def make(
    out: Path, photos: list[Path], attachments: Mapping[str, Path] | None = None, **params: str
) -> tuple[Path, StepResult]:
    out.mkdir(exist_ok=True)
    seen: list[Progress] = []
    context = Context(tuple(photos), attachments or {}, out, "trip", seen.append)
    result = VIDEO.run(context, VIDEO.parse(SMALL | params))
    [film] = result.outputs
    assert list(out.iterdir()) == [film]
    assert film.name == "trip.mp4"
    done = [progress.done for progress in seen]
    assert done == sorted(done)
    assert done[-1] == 1
    return film, result


def colours(count: int) -> list[odd.Colour]:
    wheel = (colorsys.hsv_to_rgb(n / count, 0.8, 0.9 if n % 2 else 0.6) for n in range(count))
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in wheel]


def painted(folder: Path, wanted: list[odd.Colour]) -> list[Path]:
    return [odd.plain(folder / f"{n:02d}.png", colour) for n, colour in enumerate(wanted)]


@pytest.mark.parametrize("transition", TRANSITIONS)
def test_every_photo_appears_in_order_and_on_time(tmp_path: Path, transition: str) -> None:
    wanted = colours(7)
    film, _ = make(tmp_path / "out", painted(tmp_path, wanted), transition=transition)
    rhythm = timing(Fraction(10), Fraction(1), Fraction(0 if transition == "cut" else 3, 10))
    seen = probe.frames(film, SIZE)
    assert len(seen) == frame_count(7, rhythm)
    for slide, colour in enumerate(wanted):
        start = slide * (rhythm.slide - rhythm.transition)
        alone = seen[start + (rhythm.transition if slide else 0) : start + rhythm.slide - rhythm.transition]
        assert np.abs(alone.mean((1, 2)) - colour).max() < 5, f"photo {slide}"


@pytest.mark.parametrize("fps", ["24", "29.97", "30000/1001", "12.5"])
def test_the_film_lasts_as_long_as_it_should(tmp_path: Path, fps: str) -> None:
    film, _ = make(tmp_path / "out", painted(tmp_path, colours(3)), fps=fps, motion="none")
    rate = VIDEO.parse({"fps": fps}).film.fps
    frames = frame_count(3, timing(rate, Fraction(1), Fraction(3, 10)))
    assert len(probe.frames(film, SIZE)) == frames
    assert f"Duration: 00:00:{float(frames / rate):05.2f}" in probe.about(film)


def test_the_film_plays_in_a_browser(tmp_path: Path) -> None:
    film, _ = make(tmp_path / "out", painted(tmp_path, colours(2)))
    about = probe.about(film)
    assert "h264 (High)" in about
    assert "yuv420p(tv, bt709" in about
    assert "160x90" in about
    names = probe.boxes(film)
    assert names.index("moov") < names.index("mdat")


def test_the_same_photos_give_the_same_bytes(tmp_path: Path) -> None:
    photos = [odd.grain(tmp_path / "a.jpg"), *painted(tmp_path, colours(3)), odd.transparent(tmp_path)]
    films = [make(tmp_path / name, photos, transition="random", title="Twice")[0].read_bytes() for name in ("a", "b")]
    assert films[0] == films[1]
    other, _ = make(tmp_path / "c", photos, transition="random", title="Twice", seed="8")
    assert other.read_bytes() != films[0]


def test_one_photo_is_a_film(tmp_path: Path) -> None:
    film, _ = make(tmp_path / "out", [odd.plain(tmp_path / "a.png", (10, 200, 30))])
    assert len(probe.frames(film, SIZE)) == RHYTHM.slide


GOOD = [odd.portrait, odd.panorama, odd.transparent, odd.sixteen_bit, odd.cmyk, odd.animated, odd.one_pixel]
BAD = {
    odd.truncated: "the file is cut short; part of the picture is missing",
    odd.text: "not a JPEG, PNG, WebP, TIFF, HEIC or GIF picture",
    odd.bomb: "20000x15000 is 300 megapixels, over the limit of 200",
}


@pytest.mark.parametrize("fill", ["blur", "black", "crop"])
@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.__name__)
def test_an_odd_picture_among_landscapes_is_shown(tmp_path: Path, kind: object, fill: str) -> None:
    assert callable(kind)
    before, after = painted(tmp_path, [(20, 20, 200), (20, 200, 20)])
    film, result = make(tmp_path / "out", [before, kind(tmp_path), after], fill=fill)
    assert result.skipped == ()
    seen = probe.frames(film, SIZE)
    assert len(seen) == frame_count(3, RHYTHM)
    middle = seen[RHYTHM.slide - RHYTHM.transition + RHYTHM.slide // 2]
    assert np.abs(middle.mean((0, 1)) - (20, 20, 200)).max() > 20


@pytest.mark.parametrize("kind", BAD, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_bad_picture_is_skipped_with_its_reason(tmp_path: Path, kind: object, place: int) -> None:
    assert callable(kind)
    photos = painted(tmp_path, [(200, 20, 20), (20, 20, 200)])
    photos.insert(place, kind(tmp_path))
    film, result = make(tmp_path / "out", photos)
    assert [(skip.name, skip.reason) for skip in result.skipped] == [(photos[place].name, BAD[kind])]
    seen = probe.frames(film, SIZE)
    assert len(seen) == frame_count(2, RHYTHM)
    assert np.abs(seen[3].mean((0, 1)) - (200, 20, 20)).max() < 5
    assert np.abs(seen[-3].mean((0, 1)) - (20, 20, 200)).max() < 5


def test_fills_differ_where_the_photo_ends(tmp_path: Path) -> None:
    photo = odd.portrait(tmp_path)
    edges = {}
    for fill in ("blur", "black", "crop"):
        film, _ = make(tmp_path / fill, [photo], fill=fill, motion="none")
        edges[fill] = probe.frames(film, SIZE)[5, 45, 6].tolist()
    assert edges["black"] == pytest.approx([0, 0, 0], abs=4)
    assert edges["blur"] == pytest.approx([120, 24, 24], abs=8)
    assert edges["crop"] == pytest.approx([200, 40, 40], abs=5)


@pytest.mark.parametrize("style", ["overlay", "card"])
def test_the_title_appears_and_goes(tmp_path: Path, style: str) -> None:
    photos = painted(tmp_path, [(40, 40, 40), (60, 40, 40)])
    film, result = make(tmp_path / "out", photos, title="A long day", title_style=style, seconds="2", size="320x180")
    seen = probe.frames(film, (320, 180))
    assert result.skipped == ()
    assert len(seen) == frame_count(3 if style == "card" else 2, timing(Fraction(10), Fraction(2), Fraction(3, 10)))
    bright = [int((frame > 180).all(-1).sum()) for frame in seen]
    assert bright[0] == 0
    assert bright[9] > 200
    assert not any(bright[17:])


def test_characters_that_no_font_has_are_reported(tmp_path: Path) -> None:
    _, result = make(tmp_path / "out", painted(tmp_path, colours(1)), title="Trip \U000f1234")
    assert [skip.name for skip in result.skipped] == ["title"]


def test_motion_none_holds_still(tmp_path: Path) -> None:
    film, _ = make(tmp_path / "out", [odd.grain(tmp_path / "a.png", SIZE)], motion="none", quality="1")
    seen = probe.frames(film, SIZE).astype(int)
    assert np.abs(seen[1:] - seen[:-1]).mean() < 1


def test_quality_costs_bytes(tmp_path: Path) -> None:
    photo = odd.grain(tmp_path / "a.jpg")
    sizes = [make(tmp_path / q, [photo], quality=q)[0].stat().st_size for q in ("low", "medium", "high", "10")]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4


def test_the_best_quality_is_one_that_browsers_play(tmp_path: Path) -> None:
    film, _ = make(tmp_path / "out", [odd.grain(tmp_path / "a.jpg")], quality="0")
    assert "h264 (High)" in probe.about(film)


def test_nothing_usable_fails_for_good_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(
        StepFailed, match=r"none of the 2 photos can be used: notes\.jpg: not a JPEG.*bomb\.png"
    ) as failed:
        make(tmp_path / "out", [odd.text(tmp_path), odd.bomb(tmp_path)])
    assert not failed.value.retry
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"size": "161x90"}, "even number"),
        ({"size": "16x16"}, "from 64 to 7680"),
        ({"fps": "fast"}, "fps must be a number"),
        ({"fps": "0"}, "fps must be from 1 to 120"),
        ({"fps": "1/0"}, "fps must be a number"),
        ({"fps": "1e999999999"}, "fps must be a number"),
        ({"seconds": "1", "transition_seconds": "0.6"}, "at most half of seconds, 0.5"),
        ({"transition": "spin"}, "transition must be one of cut, crossfade"),
        ({"motion": "shake"}, "motion must be one of"),
        ({"quality": "best"}, "quality must be a number"),
        ({"quality": "60"}, "quality must be from 0 to 51"),
        ({"quality": "20.5"}, "quality must be a whole number"),
        ({"music": "../song.mp3"}, "music must be the name of a file"),
        ({"title": "x" * 201}, "title must be at most 200"),
        ({"transitions": "cut"}, "did you mean transition"),
    ],
)
def test_bad_parameters_are_named(params: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidPipeline, match=says):
        VIDEO.parse(params)


def test_a_short_photo_shortens_the_default_transition() -> None:
    assert VIDEO.parse({"seconds": "1.5"}).film.transition_seconds == Fraction(1, 2)
    assert VIDEO.parse({}).film.transition_seconds == 1
