"""Captions, cards, sizes by name, chapters, posters and previews: looked for in the finished files."""

from __future__ import annotations

import re
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import clips
import film_probe as probe
import numpy as np
import odd_pictures as odd
import pytest
from PIL import Image

from minimoto.core.timeline import frame_count, timing
from minimoto.engines.film_captions import caption_of
from minimoto.engines.film_places import nearest, place_of
from minimoto.engines.film_preview import EXCERPT_SECONDS, EXCERPTS, excerpts
from minimoto.engines.film_settings import SIZES
from minimoto.engines.photo_facts import clip_facts, photo_spot, taken_at
from minimoto.errors import InvalidPipeline, StepFailed
from minimoto.steps import STEPS
from minimoto.steps.base import Context, StepResult

VIDEO = STEPS["video"]
SIZE = (320, 180)
SMALL = {"size": "320x180", "fps": "10", "seconds": "2", "transition_seconds": "0.4", "encoder": "x264"}
RHYTHM = timing(Fraction(10), Fraction(2), Fraction(4, 10))


def make(
    folder: Path, photos: list[Path], attached: list[Path] | None = None, **params: str
) -> tuple[Path, StepResult]:
    out = folder / "out"
    out.mkdir(exist_ok=True)
    files = {path.name: path for path in attached or []}
    result = VIDEO.run(Context(tuple(photos), files, out, "trip", lambda progress: None), VIDEO.parse(SMALL | params))
    assert sorted(out.iterdir()) == sorted(result.outputs)
    return result.outputs[0], result


def photo(
    path: Path, taken: str = "", at: tuple[float, float] | None = None, words: tuple[str, str] | None = None
) -> Path:
    """A dark photo with EXIF and IPTC fields."""
    exif = Image.Exif()
    if taken:
        exif.get_ifd(0x8769)[0x9003] = taken
    if at is not None:
        gps = exif.get_ifd(0x8825)
        for reference, value, letters in ((1, at[0], "NS"), (3, at[1], "EW")):
            whole, part = divmod(abs(value), 1)
            gps[reference], gps[reference + 1] = letters[value < 0], (whole, part * 60, 0.0)
    Image.new("RGB", SIZE, (30, 40, 50)).save(path, exif=exif)
    if words:
        record = b"".join(
            b"\x1c\x02" + bytes([number]) + len(text.encode()).to_bytes(2) + text.encode()
            for number, text in zip((90, 101), words, strict=True)
        )
        block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(record).to_bytes(4) + record + b"\0" * (len(record) % 2)
        data = path.read_bytes()
        path.write_bytes(data[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2) + block + data[2:])
    return path


def bright_rows(frame: np.ndarray) -> np.ndarray:
    return np.flatnonzero((frame > 190).all(-1).any(1))


def test_a_caption_says_what_the_photo_says(tmp_path: Path) -> None:
    full = photo(tmp_path / "beach.jpg", "2024:07:14 18:30:05", (38.7078, -9.1366))
    assert caption_of(full, ("date", "place")) == "2024-07-14 · Lisbon, Portugal"
    assert caption_of(full, ("file",)) == "beach"
    assert caption_of(photo(tmp_path / "b.jpg"), ("date", "place")) == ""
    assert caption_of(photo(tmp_path / "c.jpg"), ("date", "file")) == "c"
    assert caption_of(odd.truncated(tmp_path), ("place", "date")) == ""


def test_the_place_that_somebody_wrote_down_counts_first(tmp_path: Path) -> None:
    assert place_of(photo(tmp_path / "a.jpg", at=(38.7, -9.1), words=("Évora", "Portugal"))) == "Évora, Portugal"


@pytest.mark.parametrize(
    ("at", "place"),
    [
        ((48.8584, 2.2945), "Paris, France"),
        ((-33.8568, 151.2153), "Sydney, Australia"),
        ((40.7484, -73.9857), "New York"),
        ((35.6595, 139.7005), "Tokyo, Japan"),
        ((-22.9519, -43.2105), "Rio de Janeiro, Brazil"),
        ((0.0, -30.0), ""),
        ((90.0, 0.0), ""),
        ((-16.5, 179.99), ""),
    ],
)
def test_coordinates_become_the_town_that_people_would_name(at: tuple[float, float], place: str) -> None:
    assert nearest(*at).startswith(place)
    assert bool(nearest(*at)) == bool(place)


def test_damaged_positions_are_no_positions(tmp_path: Path) -> None:
    assert photo_spot(photo(tmp_path / "a.jpg", at=(99.0, 10.0))).at is None
    assert photo_spot(photo(tmp_path / "b.jpg", at=(0.0, 0.0))).at is None
    assert photo_spot(odd.text(tmp_path)).at is None


def test_a_clip_says_when_and_where(tmp_path: Path) -> None:
    clip = clips.plain(tmp_path / "a.mp4", "red", 1)
    said = {"location": "+38.7078-009.1366/", "creation_time": "2024-07-14T12:30:05Z"}
    words = [word for key, value in said.items() for word in ("-metadata", f"{key}={value}")]
    clips.ffmpeg("-i", str(clip), "-c", "copy", *words, str(tmp_path / "b.mp4"))
    facts = clip_facts(tmp_path / "b.mp4")
    assert facts.spot.at == (38.7078, -9.1366)
    assert facts.taken == datetime.fromisoformat("2024-07-14T12:30:05Z").astimezone().replace(tzinfo=None)
    assert caption_of(tmp_path / "b.mp4", ("place",)) == "Lisbon, Portugal"
    assert clip_facts(clip).taken is None
    clip.write_bytes(clip.read_bytes()[:200])
    assert taken_at(clip) is None


def test_captions_are_written_low_and_only_while_their_photo_is_alone(tmp_path: Path) -> None:
    photos = [photo(tmp_path / "a.jpg", "2024:07:14 18:30:05"), photo(tmp_path / "b.jpg")]
    film, result = make(tmp_path, photos, captions="date")
    seen = probe.frames(film, SIZE)
    assert result.skipped == ()
    assert bright_rows(seen[0]).size == 0
    rows = bright_rows(seen[9])
    assert rows.size
    assert rows.min() > 0.75 * SIZE[1]
    assert rows.max() < 0.95 * SIZE[1]
    columns = np.flatnonzero((seen[9] > 190).all(-1).any(0))
    assert columns.min() > 0.03 * SIZE[0]
    assert columns.max() < 0.9 * SIZE[0]
    assert all(bright_rows(frame).size == 0 for frame in seen[16:])


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_caption_can_be_read_on_any_photo(tmp_path: Path, level: int) -> None:
    plain = odd.plain(tmp_path / "wide_caption.png", (level, level, level), SIZE)
    film, _ = make(tmp_path, [plain], captions="file", motion="none", quality="4")
    part = probe.frames(film, SIZE)[10, 150:170, 16:110].astype(int).mean(-1)
    assert part.max() > 230
    assert part.min() < 110


def test_letters_that_no_font_has_are_reported(tmp_path: Path) -> None:
    path = odd.plain(tmp_path / "\U000f1234.png", (9, 9, 9), SIZE)
    _, result = make(tmp_path, [path], captions="file")
    assert [skip.name for skip in result.skipped] == ["title"]
    assert "\U000f1234" in result.skipped[0].reason


def test_cards_before_and_after(tmp_path: Path) -> None:
    photos = [odd.plain(tmp_path / f"{n}.png", (60, 20, 20), SIZE) for n in range(2)]
    red = odd.plain(tmp_path / "red.png", (200, 0, 0), SIZE)
    film, _ = make(tmp_path, photos, [red], intro="Welcome", outro_picture="red.png", outro="The end")
    seen = probe.frames(film, SIZE)
    assert len(seen) == frame_count(4, RHYTHM)
    assert bright_rows(seen[9]).size
    assert not any(bright_rows(frame).size for frame in seen[20:52])
    assert bright_rows(seen[-9]).size
    assert seen[-12, 5, 5].tolist() == pytest.approx([200, 0, 0], abs=10)
    assert seen[9].mean() < seen[30].mean()


def test_a_card_may_be_a_picture_alone_or_stand_beside_a_clip(tmp_path: Path) -> None:
    red = odd.plain(tmp_path / "red.png", (200, 0, 0), SIZE)
    clip = clips.plain(tmp_path / "a.mp4", "blue", 2, size="320x180")
    film, _ = make(tmp_path, [clip], [red], intro_picture="red.png", outro="Bye")
    seen = probe.frames(film, SIZE)
    assert len(seen) == frame_count(3, RHYTHM)
    assert seen[2].mean((0, 1)) == pytest.approx([200, 0, 0], abs=8)
    assert seen[18 + 9].mean((0, 1)) == pytest.approx([0, 0, 254], abs=8)
    assert seen[-10, 5, 5].tolist() == pytest.approx([0, 0, 152], abs=14)


def test_a_card_without_its_picture_fails_for_good(tmp_path: Path) -> None:
    good = odd.plain(tmp_path / "a.png", (1, 2, 3))
    for attached, says in (([], "the picture notes.jpg is not among"), ([odd.text(tmp_path)], "cannot be used")):
        with pytest.raises(StepFailed, match=says) as failed:
            make(tmp_path, [good], attached, intro_picture="notes.jpg")
        assert not failed.value.retry


@pytest.mark.parametrize("name", SIZES)
def test_sizes_by_name(name: str) -> None:
    assert VIDEO.parse({"size": name}).film.size == SIZES[name]
    assert VIDEO.parse({"size": name.upper()}).film.size == SIZES[name]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"size": "tablet"}, "or one of 720p, 1080p"),
        ({"captions": "date+date"}, "captions must be none, or some of date, place, file"),
        ({"captions": "weather"}, "captions must be"),
        ({"chapters": "hour"}, "chapters must be one of none, photo, day"),
        ({"clip_seconds": "0"}, "clip_seconds must be from 0.1 to 600"),
        ({"preview": "png"}, "preview must be one of"),
        ({"poster": "last"}, "poster must be one of"),
        ({"outro": "x" * 201}, "outro must be at most 200"),
        ({"intro_picture": "/etc/passwd"}, "intro_picture must be the name of a file"),
        ({"faces": "yes"}, "faces must be one of auto, on, off"),
    ],
)
def test_bad_parameters_are_named(params: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidPipeline, match=says):
        VIDEO.parse(params)


def chapters(film: Path) -> list[tuple[float, str]]:
    found = re.findall(r"Chapter #0:\d+: start ([\d.]+), end [\d.]+\s+Metadata:\s+title +: (.*)", probe.about(film))
    return [(float(start), title) for start, title in found]


def test_a_chapter_for_each_photo(tmp_path: Path) -> None:
    photos = [odd.plain(tmp_path / name, (9, 9, 9)) for name in ("a=b;c#d.png", "b\\.png", "ü.png")]
    film, _ = make(tmp_path, photos, chapters="photo")
    assert chapters(film) == [(0.0, "a=b;c#d"), (1.8, "b\\"), (3.4, "ü")]
    assert len(probe.frames(film, SIZE)) == frame_count(3, RHYTHM)


def test_a_chapter_for_each_day(tmp_path: Path) -> None:
    days = ["2024:07:14 08:00:00", "2024:07:14 20:00:00", "", "2024:07:15 09:00:00"]
    photos = [photo(tmp_path / f"{n}.jpg", day) for n, day in enumerate(days)]
    film, _ = make(tmp_path, photos, chapters="day", intro="Trip")
    assert [title for _, title in chapters(film)] == ["2024-07-14", "2024-07-15"]
    assert chapters(film)[0][0] == 0
    undated, _ = make(tmp_path, [photo(tmp_path / "x.jpg")], chapters="day")
    assert chapters(undated) == []


def test_a_poster_of_a_card_shows_what_is_written_on_it(tmp_path: Path) -> None:
    photos = [odd.plain(tmp_path / "red.png", (120, 0, 0), SIZE)]
    _, result = make(tmp_path, photos, poster="first", intro="WWWWWW")
    with Image.open(result.outputs[1]) as poster:
        brightest = poster.convert("L").getextrema()[1]
    assert brightest > 200


@pytest.mark.parametrize("which", ["first", "middle"])
def test_a_poster_beside_the_film_and_in_it(tmp_path: Path, which: str) -> None:
    photos = [odd.plain(tmp_path / f"{n}.png", colour, SIZE) for n, colour in enumerate([(200, 0, 0), (0, 0, 200)])]
    film, result = make(tmp_path, photos, poster=which, transition="cut")
    assert [path.name for path in result.outputs] == ["trip.mp4", "trip.jpg"]
    with Image.open(result.outputs[1]) as poster:
        assert poster.format == "JPEG"
        assert poster.size == SIZE
        pixel = poster.convert("RGB").getpixel((160, 90))
    assert pixel == pytest.approx((200, 0, 0) if which == "first" else (0, 0, 200), abs=8)
    assert "attached pic" in probe.about(film)
    names = probe.boxes(film)
    assert names.index("moov") < names.index("mdat")


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_preview_shows_the_whole_film_in_a_few_seconds(tmp_path: Path, kind: str) -> None:
    colours = [(200, 20, 20), (20, 200, 20), (20, 20, 200), (200, 200, 20)]
    photos = [odd.plain(tmp_path / f"{n}.png", colour, (640, 360)) for n, colour in enumerate(colours)]
    _, result = make(tmp_path, photos, preview=kind, size="640x360")
    with Image.open(result.outputs[1]) as preview:
        assert (preview.format, preview.size) == (kind.upper(), (480, 270))
        count, shown, seconds = preview.n_frames, [], 0.0
        for index in range(count):
            preview.seek(index)
            shown.append(np.asarray(preview.convert("RGB"))[135, 240])
            preview.load()
            seconds += preview.info["duration"] / 1000
        assert preview.info["loop"] == 0
    assert seconds == pytest.approx(EXCERPTS * EXCERPT_SECONDS, abs=0.5)
    for colour in colours:
        assert min(np.abs(np.subtract(pixel.astype(int), colour)).max() for pixel in shown) < 45
    assert result.outputs[1].stat().st_size < 300_000


def test_excerpts_lie_apart_and_inside_the_film() -> None:
    assert excerpts(3.0) == [(0.0, 3.0)]
    parts = excerpts(60.0)
    assert len(parts) == EXCERPTS
    assert all(a + length < b for (a, length), (b, _) in pairwise(parts))
    assert parts[0][0] > 0
    assert parts[-1][0] + parts[-1][1] < 60


def test_everything_at_once_gives_the_same_bytes_again(tmp_path: Path) -> None:
    photos = [photo(tmp_path / "a.jpg", "2024:07:14 18:30:05", (38.7, -9.1)), odd.portrait(tmp_path)]
    options = {"captions": "date+place", "chapters": "photo", "poster": "middle", "preview": "gif", "outro": "Fin"}
    made = [[path.read_bytes() for path in make(tmp_path, photos, **options)[1].outputs] for _ in range(2)]
    assert made[0] == made[1]


@pytest.mark.parametrize(("seconds", "fps"), [("0.1", "10"), ("6", "1"), ("1", "1")])
def test_few_frames_have_a_poster_and_a_preview_too(tmp_path: Path, seconds: str, fps: str) -> None:
    one = [odd.plain(tmp_path / "a.png", (0, 0, 200))]
    few = {"seconds": seconds, "fps": fps, "transition": "cut", "transition_seconds": "0"}
    _, result = make(tmp_path, one, poster="middle", preview="webp", fill="crop", **few)
    assert [path.suffix for path in result.outputs] == [".mp4", ".jpg", ".webp"]


@pytest.mark.parametrize("colour", [(200, 0, 0), (20, 200, 60), (0, 0, 200)])
@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_posters_and_previews_have_the_colours_of_the_photos(
    tmp_path: Path, kind: str, colour: tuple[int, int, int]
) -> None:
    one = [odd.plain(tmp_path / "a.png", colour)]
    _, result = make(tmp_path, one, poster="first", preview=kind, fill="crop", quality="high")
    for made in result.outputs[1:]:
        with Image.open(made) as picture:
            assert np.abs(np.asarray(picture.convert("RGB"), int) - colour).max() <= 6
