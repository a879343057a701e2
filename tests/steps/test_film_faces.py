"""A face is never cut: found in real photos, and followed through every frame of the film's geometry."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minimoto.core.framing import Rect
from minimoto.engines import film_faces, film_slide
from minimoto.engines.film_faces import faces
from minimoto.engines.film_settings import Beside, FilmSettings
from minimoto.engines.film_slide import canvas_size, movement, read_photo
from minimoto.engines.film_title import ABOVE, BELOW, MIDDLE, Place
from minimoto.errors import StepFailed
from minimoto.steps.base import Context, StepResult
from minimoto.steps.video import VIDEO

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
# (left, top, right, bottom) of brow, ears and chin, read off the photos, in shares of their sides.
KNOWN = {
    "2-astronaut.jpg": (0.36, 0.14, 0.52, 0.34),
    "4-grace-hopper.jpg": (0.35, 0.21, 0.68, 0.55),
}


def astronaut() -> Image.Image:
    with Image.open(PHOTOS / "2-astronaut.jpg") as image:
        return image.convert("RGB")


@pytest.mark.parametrize("name", KNOWN)
def test_the_face_in_a_photo_is_found_whole(name: str, detector: Path) -> None:
    with Image.open(PHOTOS / name) as image:
        [head] = faces(image)
    face = Rect(*KNOWN[name])
    assert head.holds(face, slack=0.02)
    assert head.width < 2 * face.width
    assert head.height < 2.2 * face.height


@pytest.mark.parametrize(
    "name", ["1-rocket.jpg", "3-deep-field.jpg", "5-temple.jpg", "6-flower.jpg", "7-coffee.jpg", "8-chelsea.jpg"]
)
def test_no_face_is_found_where_there_is_none(name: str, detector: Path) -> None:
    with Image.open(PHOTOS / name) as image:
        assert faces(image) == ()


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (3, 5), (2000, 7)])
def test_odd_pictures_have_no_faces(size: tuple[int, int], detector: Path) -> None:
    assert faces(Image.new("RGB", size, (200, 150, 120))) == ()
    assert faces(Image.new("RGBA", size)) == ()


def test_several_faces_and_where_they_are(detector: Path) -> None:
    wide = Image.new("RGB", (2000, 512), (90, 90, 90))
    wide.paste(astronaut().resize((512, 512)), (0, 0))
    wide.paste(astronaut().resize((512, 512)), (1488, 0))
    found = sorted(faces(wide), key=lambda head: head.left)
    assert len(found) == 2
    for head, start in zip(found, (0, 1488), strict=True):
        left, top, right, bottom = KNOWN["2-astronaut.jpg"]
        assert head.holds(Rect((start + 512 * left) / 2000, top, (start + 512 * right) / 2000, bottom), slack=0.02)


def scene(folder: Path, size: tuple[int, int], where: list[tuple[int, int]], side: int) -> Path:
    image = Image.new("RGB", size, (90, 110, 90))
    for place in where:
        image.paste(astronaut().resize((side, side)), place)
    image.save(folder / "scene.jpg", quality=92)
    return folder / "scene.jpg"


SCENES = {
    "one at the left": ((1600, 900), [(0, 100)], 500),
    "one at the right": ((1600, 900), [(1100, 400)], 500),
    "one at the top": ((900, 1600), [(200, 0)], 500),
    "two far apart": ((1600, 900), [(0, 200), (1100, 200)], 500),
    "one that fills the picture": ((900, 900), [(-300, -50)], 1800),
}


def told(name: str) -> tuple[Rect, ...]:
    """The heads in a scene, in shares of its sides, with room around them."""
    (width, height), places, side = SCENES[name]
    face = Rect(*KNOWN["2-astronaut.jpg"]).grown(0.1, 0.3, 0.1, 0.1).scaled(side, side)
    return tuple(face.moved(*place).scaled(1 / width, 1 / height).inside(Rect(0, 0, 1, 1)) for place in places)


@pytest.mark.parametrize("name", SCENES)
def test_the_heads_in_a_scene_are_found(tmp_path: Path, name: str, detector: Path) -> None:
    photo = scene(tmp_path, *SCENES[name])
    source = read_photo(photo, FilmSettings(size=(320, 180)))
    with Image.open(photo) as image:
        found = faces(image)
    assert len(source.heads) == len(found) == len(SCENES[name][1])
    for head, expected in zip(sorted(found, key=lambda head: head.left), told(name), strict=True):
        assert head.holds(expected.grown(-0.1, -0.25, -0.1, -0.1), slack=0.02)


@pytest.mark.parametrize(("size", "fill"), list(product([(320, 180), (180, 320), (200, 200)], ["blur", "crop"])))
@pytest.mark.parametrize("name", SCENES)
def test_no_head_leaves_the_picture_in_any_format_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: tuple[int, int], fill: Beside
) -> None:
    monkeypatch.setattr(film_slide, "faces", lambda image: told(name))
    settings = FilmSettings(size=size, fill=fill)
    source = read_photo(scene(tmp_path, *SCENES[name]), settings)
    assert len(source.heads) == len(SCENES[name][1])
    canvas = canvas_size(settings)
    for index in range(6):
        moved = movement(index, source.heads, settings)
        assert moved is not None
        for step in range(21):
            view = moved.view(step / 20, canvas, size)
            edge = (view.scale - 1) / 2
            shown = Rect(0, 0, view.scale * size[0], view.scale * size[1]).moved(view.left - edge, view.top - edge)
            assert all(shown.holds(head, slack=2) for head in source.heads), (index, step)


@pytest.mark.parametrize(
    ("size", "fill"), [((180, 320), "crop"), ((320, 180), "crop"), ((180, 320), "blur"), ((320, 180), "black")]
)
@pytest.mark.parametrize("marks", [[(0.1, 0.3, 0.25, 0.6), (0.8, 0.2, 0.95, 0.5)], [(0.7, 0.1, 0.8, 0.2)]])
def test_heads_are_followed_onto_the_canvas(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    fill: Beside,
    marks: list[tuple[float, float, float, float]],
) -> None:
    image = Image.new("RGB", (1600, 900), (20, 20, 20))
    for left, top, right, bottom in marks:
        image.paste((235, 235, 235), (round(1600 * left), round(900 * top), round(1600 * right), round(900 * bottom)))
    image.save(tmp_path / "marks.png")
    monkeypatch.setattr(film_slide, "faces", lambda image: tuple(Rect(*mark) for mark in marks))
    source = read_photo(tmp_path / "marks.png", FilmSettings(size=size, fill=fill))
    assert source.canvas is not None
    seen = source.canvas[: source.canvas.shape[0] * 2 // 3] > 150
    told = np.zeros_like(seen)
    for head in source.heads:
        told[round(head.top) : round(head.bottom), round(head.left) : round(head.right)] = True
    for axis in (0, 1):
        apart = np.flatnonzero(seen.any(axis) != told.any(axis))
        assert len(apart) <= 4 * len(marks), (axis, apart)


@pytest.mark.parametrize(
    ("marks", "place"),
    [
        ([], MIDDLE),
        ([Rect(0.4, 0.05, 0.6, 0.3)], MIDDLE),
        ([Rect(0.4, 0.2, 0.6, 0.5)], BELOW),
        ([Rect(0.4, 0.4, 0.6, 0.8)], ABOVE),
        ([Rect(0.4, 0.0, 0.6, 1.0)], BELOW),
    ],
)
def test_a_title_hides_no_face(tmp_path: Path, marks: list[Rect], place: Place) -> None:
    canvas = film_slide.empty((320, 180))
    heads = tuple(mark.scaled(320, 180) for mark in marks)
    assert film_slide.free_place(film_slide.Source(tmp_path, canvas, heads)) == place


def test_faces_can_be_left_to_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_slide, "faces", lambda image: pytest.fail("faces were looked for"))
    photo = scene(tmp_path, *SCENES["one at the left"])
    free = FilmSettings(size=(180, 320), fill="crop", faces="off")
    assert read_photo(photo, free).heads == ()
    still = FilmSettings(size=(180, 320), motion="none")
    assert read_photo(photo, still).heads == ()


def film(folder: Path, **given: str) -> StepResult:
    (folder / "out").mkdir()
    photos = (scene(folder, *SCENES["one at the left"]),)
    short = {"size": "128x72", "seconds": "0.5", "fps": "10", "encoder": "x264"}
    return VIDEO.run(Context(photos, {}, folder / "out", "faces", lambda progress: None), VIDEO.parse(short | given))


HOW = "minimoto models fetch yunet"


def test_without_the_detector_a_film_is_made_and_says_so_once(tmp_path: Path, no_detector: None) -> None:
    result = film(tmp_path)
    [said] = result.skipped
    assert said.name == "faces"
    assert said.reason.startswith("not looked for")
    assert HOW in said.reason
    assert "\n" not in said.reason
    assert [path.name for path in result.outputs] == ["faces.mp4"]


@pytest.mark.parametrize("given", [{"faces": "off"}, {"motion": "none"}, {"motion": "none", "faces": "on"}])
def test_nothing_is_said_where_nobody_looks(tmp_path: Path, no_detector: None, given: dict[str, str]) -> None:
    assert film(tmp_path, **given).skipped == ()


def test_who_insists_on_faces_gets_no_film_without_them(tmp_path: Path, no_detector: None) -> None:
    with pytest.raises(StepFailed, match=HOW) as error:
        film(tmp_path, faces="on")
    assert not error.value.retry
    assert "\n" not in str(error.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_detector_that_was_changed_is_not_used(tmp_path: Path, no_detector: None) -> None:
    model = tmp_path / "cache" / "models" / "yunet.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"something else")
    [said] = film(tmp_path).skipped
    assert "delete both and run: minimoto models fetch yunet" in said.reason


def test_a_detector_that_opencv_does_not_read_is_one_line(
    tmp_path: Path, no_detector: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "yunet.onnx"
    model.write_bytes(b"something else")
    monkeypatch.setattr(film_faces, "model_path", lambda name: model)
    with pytest.raises(StepFailed, match=r"yunet\.onnx: OpenCV .* does not read it") as error:
        film(tmp_path, faces="on")
    assert "\n" not in str(error.value)


def test_with_the_detector_faces_are_looked_for(tmp_path: Path, detector: Path) -> None:
    assert film(tmp_path, faces="on").skipped == ()
