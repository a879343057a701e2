"""The step ``fit``: upright, one size, nothing of the photo lost but what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import odd_pictures as odd
import pytest
from PIL import Image

from minimoto.errors import InvalidPipeline, StepFailed
from minimoto.steps import STEPS
from minimoto.steps.base import Context, Progress, StepResult

FIT = STEPS["fit"]


def fit(out: Path, *photos: Path, first: int = 0, **params: str) -> StepResult:
    out.mkdir(exist_ok=True)
    seen: list[Progress] = []
    result = FIT.run(Context(photos, {}, out, "trip", seen.append, first), FIT.parse(params))
    assert seen[-1].done == 1
    assert sorted(out.iterdir()) == sorted(result.outputs)
    return result


def fitted(tmp_path: Path, photo: Path, **params: str) -> Image.Image:
    [output] = fit(tmp_path / "out", photo, **params).outputs
    with Image.open(output) as image:
        image.load()
        return image


def close(image: Image.Image, at: tuple[int, int], colour: odd.Colour) -> bool:
    return bool(np.abs(np.subtract(image.convert("RGB").getpixel(at), colour)).max() <= 6)


def test_pad_shows_all_of_the_photo_on_the_fill(tmp_path: Path) -> None:
    image = fitted(tmp_path, odd.portrait(tmp_path), size="160x90", fill="#00ff00")
    assert (image.size, image.format) == ((160, 90), "JPEG")
    assert close(image, (80, 2), (200, 40, 40))
    assert close(image, (80, 87), (200, 40, 40))
    assert close(image, (10, 45), (0, 255, 0))


def test_pad_fills_with_a_dimmed_blur_of_the_photo_by_default(tmp_path: Path) -> None:
    image = fitted(tmp_path, odd.portrait(tmp_path), size="160x90")
    assert close(image, (80, 45), (200, 40, 40))
    assert close(image, (4, 45), (120, 24, 24))


def test_crop_keeps_the_middle(tmp_path: Path) -> None:
    odd.gradient((400, 90)).save(tmp_path / "wide.png")
    pixels = np.asarray(fitted(tmp_path, tmp_path / "wide.png", size="160x90", mode="crop", quality="100"))
    assert pixels.shape == (90, 160, 3)
    assert pixels[45, :, 0].mean() == pytest.approx(127.5, abs=1)
    assert pixels[45, -1, 0] - pixels[45, 0, 0] == pytest.approx(255 * 160 / 400, abs=3)


@pytest.mark.parametrize(("box", "size"), [("80x80", (80, 45)), ("1000x1000", (160, 90)), ("160x45", (80, 45))])
def test_inside_keeps_the_shape_and_never_enlarges(tmp_path: Path, box: str, size: tuple[int, int]) -> None:
    assert fitted(tmp_path, odd.plain(tmp_path / "a.png", (1, 2, 3)), size=box, mode="inside").size == size


def test_inside_keeps_transparency_as_png(tmp_path: Path) -> None:
    image = fitted(tmp_path, odd.transparent(tmp_path), size="60x60", mode="inside")
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (60, 60))
    assert image.getpixel((1, 1)) == (0, 0, 0, 0)


def test_transparent_parts_show_the_fill(tmp_path: Path) -> None:
    image = fitted(tmp_path, odd.transparent(tmp_path), size="120x120", fill="white")
    assert close(image, (5, 5), (255, 255, 255))
    assert close(image, (60, 60), (250, 200, 0))


def test_metadata_stay_but_the_rotation_is_done(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    exif.get_ifd(0x8769)[0x9003] = "2019:07:14 18:30:05"
    profile = b"any profile"
    odd.grain(tmp_path / "a.jpg", (160, 120), exif=exif, icc_profile=profile)
    image = fitted(tmp_path, tmp_path / "a.jpg", size="60x80", mode="inside")
    assert image.size == (60, 80)
    kept = image.getexif()
    assert (kept.get(0x0112), kept[0x010F]) == (None, "A camera")
    assert kept.get_ifd(0x8769)[0x9003] == "2019:07:14 18:30:05"
    assert image.info["icc_profile"] == profile


def test_outputs_follow_the_inputs_and_never_collide(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    photos = [
        odd.plain(tmp_path / "a" / "x.jpg", (1, 1, 1)),
        odd.text(tmp_path),
        odd.plain(tmp_path / "b" / "x.png", (2, 2, 2)),
    ]
    result = fit(tmp_path / "out", *photos, first=11, size="32x32")
    assert [path.name for path in result.outputs] == ["000011-x.jpg", "000013-x.jpg"]
    assert [(skip.name, skip.reason.split(",")[0]) for skip in result.skipped] == [("notes.jpg", "not a JPEG")]


ODD = [odd.portrait, odd.panorama, odd.transparent, odd.sixteen_bit, odd.cmyk, odd.animated, odd.one_pixel]


@pytest.mark.parametrize("mode", ["pad", "crop", "inside"])
def test_odd_pictures_are_fitted_and_bad_ones_skipped(tmp_path: Path, mode: str) -> None:
    good = [make(tmp_path) for make in ODD]
    bad = [odd.truncated(tmp_path), odd.text(tmp_path), odd.bomb(tmp_path)]
    result = fit(tmp_path / "out", *good, *bad, mode=mode, size="64x36")
    assert len(result.outputs) == len(good)
    assert [skip.name for skip in result.skipped] == [path.name for path in bad]


def test_the_same_photo_gives_the_same_bytes(tmp_path: Path) -> None:
    photo = odd.grain(tmp_path / "a.jpg")
    [first], [second] = (fit(tmp_path / name, photo, size="100x100").outputs for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_a_missing_input_is_worth_another_try(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"gone\.jpg") as failed:
        fit(tmp_path / "out", tmp_path / "gone.jpg")
    assert failed.value.retry


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"size": "wide"}, "size must be WIDTHxHEIGHT"),
        ({"size": "0x5"}, "size must be from 1 to 16384"),
        ({"mode": "squash"}, "mode must be one of pad, crop, inside"),
        ({"fill": "plaid"}, "fill must be blur or a colour"),
        ({"quality": "101"}, "quality must be from 1 to 100"),
        ({"qualty": "90"}, "did you mean quality"),
    ],
)
def test_bad_parameters_are_named(params: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidPipeline, match=says):
        FIT.parse(params)
