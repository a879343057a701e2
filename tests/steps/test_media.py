"""Pictures from strangers: read as a person sees them, or refused in one sentence."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import numpy as np
import odd_pictures as odd
import pillow_heif
import pytest
from PIL import Image, ImageCms

from minimoto.errors import ConfigError, UnreadablePicture
from minimoto.media import Limits, ffmpeg_path, from_srgb, open_picture, taken_at


@pytest.fixture(autouse=True, scope="module")
def _heic() -> None:
    pillow_heif.register_heif_opener()


def read(path: Path, at_least: tuple[int, int] | None = None, **options: bool) -> Image.Image:
    with open_picture(path) as picture:
        return picture.decode(at_least, **options)


def near(image: Image.Image, at: tuple[int, int], colour: tuple[int, ...], within: int = 3) -> bool:
    pixel = image.getpixel(at)
    assert isinstance(pixel, tuple)
    return all(abs(a - b) <= within for a, b in zip(pixel, colour, strict=True))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff", "a.gif", "a.heic"])
def test_every_format_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    odd.plain(tmp_path / name, (20, 180, 90), (64, 48))
    hidden = (tmp_path / name).rename(tmp_path / "photo.bin")
    image = read(hidden)
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert near(image, (30, 30), (20, 180, 90), 6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff"])
def test_the_picture_is_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    upright = odd.gradient((96, 64))
    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    turns |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
    stored = upright.transpose(Image.Transpose[turns[orientation]]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{kind}", exif=exif)
    with open_picture(tmp_path / f"a.{kind}") as picture:
        assert picture.size == (96, 64)
        image = picture.decode()
    assert np.abs(np.asarray(image, int) - np.asarray(upright, int)).mean() < 3


def test_a_heic_is_turned_by_its_own_boxes_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    odd.gradient((96, 64)).save(tmp_path / "a.heic", exif=exif)
    image = read(tmp_path / "a.heic")
    assert np.abs(np.asarray(image, int) - np.asarray(odd.gradient((96, 64)), int)).mean() < 3


def test_a_large_jpeg_is_decoded_small_but_not_too_small(tmp_path: Path) -> None:
    odd.plain(tmp_path / "a.jpg", (9, 99, 199), (1600, 1200))
    assert read(tmp_path / "a.jpg", (300, 200)).size == (400, 300)
    assert read(tmp_path / "a.jpg").size == (1600, 1200)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "I;16"])
def test_a_large_png_is_averaged_in_bands(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimoto.media._BAND_PIXELS", 5000)
    image = odd.gradient((301, 203))
    image = image.convert("L").convert("I").point(lambda level: level * 257, "I") if mode == "I;16" else image
    (image.convert(mode) if mode != "I;16" else image.convert("I;16")).save(tmp_path / "a.png")
    small, large = read(tmp_path / "a.png", (100, 60)), read(tmp_path / "a.png")
    assert small.size == (101, 68)
    expected = np.asarray(large.reduce(3), int)
    assert np.abs(np.asarray(small, int) - expected).max() <= 2


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, name: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None, :].repeat(8, 0)
    Image.fromarray(ramp).save(tmp_path / name)
    levels = np.asarray(read(tmp_path / name))[0, :, 0]
    assert levels.tolist() == list(range(256))


def test_cmyk_is_shown_in_colour(tmp_path: Path) -> None:
    assert near(read(odd.cmyk(tmp_path)), (50, 50), (0, 255, 255), 4)


def test_wide_gamut_becomes_srgb_unless_its_profile_is_kept(tmp_path: Path) -> None:
    profile = wide_profile()
    Image.new("RGB", (32, 32), (200, 100, 50)).save(tmp_path / "a.png", icc_profile=profile)
    converted, kept = read(tmp_path / "a.png"), read(tmp_path / "a.png", keep_profile=True)
    reference = ImageCms.profileToProfile(
        Image.new("RGB", (1, 1), (200, 100, 50)),
        io.BytesIO(profile),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    assert reference is not None
    assert near(converted, (5, 5), reference.getpixel((0, 0)), 1)
    assert not near(converted, (5, 5), (200, 100, 50), 8)
    assert near(kept, (5, 5), (200, 100, 50), 0)
    assert kept.info["icc_profile"] == profile


def wide_profile() -> bytes:
    """An sRGB profile whose red and green primaries are swapped, so that its effect cannot be missed."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(int.from_bytes(data[128:132]))}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    start = int.from_bytes(data[tags[b"desc"] + 4 : tags[b"desc"] + 8])
    length = int.from_bytes(data[tags[b"desc"] + 8 : tags[b"desc"] + 12])
    for word in (b"s\0R\0G\0B", b"sRGB"):
        data[start : start + length] = bytes(data[start : start + length]).replace(word, b"x" * len(word))
    return bytes(data)


def test_a_broken_profile_is_taken_as_srgb(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (200, 100, 50)).save(tmp_path / "a.png", icc_profile=b"nonsense")
    assert near(read(tmp_path / "a.png"), (5, 5), (200, 100, 50), 0)


def test_transparency_is_kept(tmp_path: Path) -> None:
    image = read(odd.transparent(tmp_path))
    assert image.mode == "RGBA"
    assert [image.getpixel(at) for at in ((5, 5), (60, 60))] == [(0, 0, 0, 0), (250, 200, 0, 255)]


def test_an_animation_shows_its_first_frame(tmp_path: Path) -> None:
    assert near(read(odd.animated(tmp_path)), (5, 5), (255, 0, 0))


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    assert read(odd.one_pixel(tmp_path), (1, 1)).size == (1, 1)


def empty(folder: Path) -> Path:
    (folder / "empty.jpg").touch()
    return folder / "empty.jpg"


def headless(folder: Path) -> Path:
    (folder / "headless.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 50)
    return folder / "headless.png"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (odd.truncated, "truncated.jpg: the file is cut short"),
        (odd.text, "notes.jpg: not a JPEG, PNG"),
        (odd.bomb, "bomb.png: 20000x15000 is 300 megapixels, over the limit of 200"),
        (empty, "empty.jpg: the file is empty"),
        (headless, "headless.png: the picture's header is damaged"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, make: Callable[[Path], Path], says: str) -> None:
    with pytest.raises(UnreadablePicture) as refused:
        read(make(tmp_path))
    assert str(refused.value).startswith(says)
    assert "\n" not in str(refused.value)


def test_a_long_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (
        pytest.raises(UnreadablePicture, match="over the limit of 0 MB"),
        open_picture(odd.portrait(tmp_path), Limits(bytes=100)),
    ):
        pass


@pytest.mark.parametrize("cut", range(0, 1000, 37))
def test_no_damage_escapes_as_another_error(tmp_path: Path, cut: int) -> None:
    for kind in ("jpg", "png", "webp", "tiff", "gif"):
        path = odd.grain(tmp_path / f"a.{kind}", (40, 30))
        data = bytearray(path.read_bytes())
        place = cut * len(data) // 1000
        data[place : place + 7] = bytes(byte ^ 0x5A for byte in data[place : place + 7])
        path.write_bytes(data)
        with suppress(UnreadablePicture):
            read(path, (20, 15))


@pytest.mark.parametrize("at", range(30, 150, 5))
def test_a_damaged_exif_block_hides_no_photo(tmp_path: Path, at: int) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0132] = "A camera", "2020:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x9003] = "2019:07:14 18:30:05"
    exif.get_ifd(0x8825)[0x0002] = (50.0, 3.0, 1.5)
    path = odd.plain(tmp_path / "a.jpg", (200, 100, 50))
    Image.open(path).save(path, exif=exif)
    data = bytearray(path.read_bytes())
    start = data.index(b"Exif")
    data[start + at : start + at + 5] = b"\xff\xf3\x00\x80\x7f"
    path.write_bytes(data)
    with open_picture(path) as picture:
        assert isinstance(picture.exif(), bytes)
        assert sorted(picture.decode().size) == [90, 160]
    taken_at(path)


def test_the_first_picture_of_several_in_a_jpeg_is_read(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (64, 48), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    pictures[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=pictures[1:])
    assert near(read(tmp_path / "a.jpg", (10, 10)), (3, 3), (250, 0, 0))


def test_the_camera_says_when(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0132] = "2020:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x9003] = "2019:07:14 18:30:05"
    odd.grain(tmp_path / "a.jpg", exif=exif)
    assert taken_at(tmp_path / "a.jpg") == datetime(2019, 7, 14, 18, 30, 5)  # noqa: DTZ001
    exif.get_ifd(0x8769)[0x9003] = "    :  :     :  :  "
    odd.grain(tmp_path / "b.jpg", exif=exif)
    assert taken_at(tmp_path / "b.jpg") is None
    for undated in (odd.grain(tmp_path / "c.png"), odd.text(tmp_path), odd.bomb(tmp_path)):
        assert taken_at(undated) is None


def test_a_chosen_ffmpeg_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIMOTO_FFMPEG", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="MINIMOTO_FFMPEG"):
        ffmpeg_path()
    chosen = tmp_path / "ffmpeg"
    chosen.write_text("#!/bin/sh\n")
    chosen.chmod(0o755)
    monkeypatch.setenv("MINIMOTO_FFMPEG", str(chosen))
    assert ffmpeg_path() == str(chosen)


def test_a_system_ffmpeg_without_x264_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poor = tmp_path / "ffmpeg"
    poor.write_text("#!/bin/sh\necho ' V....D mpeg4 MPEG-4'\n")
    poor.chmod(0o755)
    monkeypatch.delenv("MINIMOTO_FFMPEG", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ffmpeg_path() != str(poor)


@pytest.mark.parametrize("profile", [b"no profile", b""], ids=["damaged", "empty"])
def test_colours_stay_where_a_profile_cannot_be_used(profile: bytes) -> None:
    image = Image.new("RGB", (4, 4), (200, 100, 50))
    assert from_srgb(image, profile) is image


def test_colours_stay_where_the_profile_is_srgb_or_of_another_kind() -> None:
    image = Image.new("RGB", (4, 4), (200, 100, 50))
    for space in ("sRGB", "LAB", "XYZ"):
        assert from_srgb(image, ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()) is image
