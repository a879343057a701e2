"""The step ``upscale``: from a pipeline's text to files that keep what belonged to the photo."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import odd_pictures as odd
import pytest
from PIL import Image, ImageCms
from upscale_engines import _cache, bicubic, photo, psnr  # noqa: F401

from minimoto.core.pipeline import parse_pipeline, plan
from minimoto.engines.upscale_settings import UpscaleSettings
from minimoto.errors import InvalidPipeline, StepFailed
from minimoto.steps import STEPS
from minimoto.steps.base import Context, Progress, StepResult

UPSCALE = STEPS["upscale"]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def upscale(out: Path, *photos: Path, first: int = 0, **params: str) -> StepResult:
    out.mkdir(exist_ok=True)
    seen: list[Progress] = []
    result = UPSCALE.run(Context(photos, {}, out, "trip", seen.append, first), UPSCALE.parse(params))
    assert seen[-1].done == 1
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    assert sorted(out.iterdir()) == sorted(result.outputs)
    return result


def upscaled(tmp_path: Path, photo: Path, **params: str) -> Image.Image:
    [output] = upscale(tmp_path / "out", photo, **params).outputs
    with Image.open(output) as image:
        image.load()
        return image


def settings(**params: str) -> UpscaleSettings:
    parsed: UpscaleSettings = UPSCALE.parse(params).settings
    return parsed


@pytest.mark.parametrize("factor", ["2", "3", "4"])
def test_a_photo_grows_by_the_factor(tmp_path: Path, factor: str) -> None:
    Image.fromarray(photo(40, 60)).save(tmp_path / "cat.png")
    image = upscaled(tmp_path, tmp_path / "cat.png", factor=factor, quality="100")
    size = (60 * int(factor), 40 * int(factor))
    assert (image.size, image.mode, image.format) == (size, "RGB", "JPEG")
    assert psnr(np.asarray(image), bicubic(photo(40, 60), int(factor))) > 24


def test_metadata_stay_but_the_rotation_is_done(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    exif.get_ifd(0x8769)[0x9003] = "2019:07:14 18:30:05"
    pixels = photo(32, 48)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=100, subsampling=0, exif=exif, icc_profile=PROFILE)
    image = upscaled(tmp_path, tmp_path / "a.jpg", quality="100")
    assert image.size == (64, 96)
    assert psnr(np.asarray(image), bicubic(np.ascontiguousarray(np.rot90(pixels, -1)), 2)) > 24
    kept = image.getexif()
    assert (kept.get(0x0112), kept[0x010F]) == (None, "A camera")
    assert kept.get_ifd(0x8769)[0x9003] == "2019:07:14 18:30:05"
    assert image.info["icc_profile"] == PROFILE


def test_grey_stays_grey(tmp_path: Path) -> None:
    Image.fromarray(photo(32, 48)).convert("L").save(tmp_path / "a.jpg")
    image = upscaled(tmp_path, tmp_path / "a.jpg")
    assert (image.mode, image.size) == ("L", (96, 64))


def test_transparency_stays(tmp_path: Path) -> None:
    image = upscaled(tmp_path, odd.transparent(tmp_path))
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (240, 240))
    assert image.getpixel((2, 2))[3] == 0
    assert image.getpixel((120, 120)) == pytest.approx((250, 200, 0, 255), abs=2)


def test_grey_with_transparency_stays(tmp_path: Path) -> None:
    Image.merge("LA", [Image.linear_gradient("L").resize((32, 32))] * 2).save(tmp_path / "a.png")
    image = upscaled(tmp_path, tmp_path / "a.png")
    assert (image.format, image.mode, image.size) == ("PNG", "LA", (64, 64))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_stay(tmp_path: Path, channels: int, suffix: str) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None, :, None].repeat(32, 0).repeat(channels, 2)
    cv2.imwrite(str(tmp_path / f"deep.{suffix}"), ramp[..., 0] if channels == 1 else ramp)
    [output] = upscale(tmp_path / "out", tmp_path / f"deep.{suffix}").outputs
    assert output.suffix == ".png"
    read = cv2.imread(str(output), cv2.IMREAD_UNCHANGED)
    assert read is not None
    assert (read.dtype, read.shape[:2]) == (np.uint16, (64, 128))
    assert (1 if read.ndim == 2 else read.shape[2]) == channels
    assert len(np.unique(read)) > 256


ODD = [odd.portrait, odd.transparent, odd.sixteen_bit, odd.cmyk, odd.animated, odd.one_pixel]


def test_odd_pictures_are_enlarged_and_bad_ones_skipped(tmp_path: Path) -> None:
    good = [make(tmp_path) for make in ODD]
    for size in ((1, 40), (40, 1)):
        good.append(odd.plain(tmp_path / f"thin{size[0]}.png", (9, 90, 200), size))
    bad = [odd.truncated(tmp_path), odd.text(tmp_path), odd.bomb(tmp_path)]
    result = upscale(tmp_path / "out", *good, *bad)
    assert [skip.name for skip in result.skipped] == [path.name for path in bad]
    for path, output in zip(good, result.outputs, strict=True):
        with Image.open(path) as before, Image.open(output) as after:
            assert after.size == (2 * before.width, 2 * before.height)


def test_what_would_grow_too_large_is_skipped(tmp_path: Path) -> None:
    Image.new("L", (9000, 8000)).save(tmp_path / "huge.png")
    result = upscale(tmp_path / "out", tmp_path / "huge.png", factor="4")
    [skip] = result.skipped
    assert (result.outputs, skip.name) == ((), "huge.png")
    assert "4 times as large is 36000x32000, 1152 megapixels, over the limit of 450" in skip.reason


def test_outputs_follow_the_inputs(tmp_path: Path) -> None:
    photos = [odd.plain(tmp_path / name, (1, 2, 3), (20, 20)) for name in ("x.png", "y.png")]
    result = upscale(tmp_path / "out", photos[0], odd.text(tmp_path), photos[1], first=7)
    assert [path.name for path in result.outputs] == ["000007-x.jpg", "000009-y.jpg"]


def test_the_same_photo_gives_the_same_bytes(tmp_path: Path) -> None:
    photo = odd.grain(tmp_path / "a.jpg", (50, 40))
    [first], [second] = (upscale(tmp_path / name, photo).outputs for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_a_missing_input_is_worth_another_try(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"gone\.jpg") as failed:
        upscale(tmp_path / "out", tmp_path / "gone.jpg")
    assert failed.value.retry


def test_a_model_that_is_not_here_fails_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIMOTO_MODELS", raising=False)
    monkeypatch.setattr("minimoto.engines.registry.folders", lambda: (tmp_path,))
    with pytest.raises(StepFailed, match="minimoto models fetch psnr-small") as failed:
        upscale(tmp_path / "out", odd.one_pixel(tmp_path), model="psnr-small")
    assert not failed.value.retry


def test_a_pipeline_reads_as_people_write_it() -> None:
    [stage] = plan(parse_pipeline("upscale:2"), STEPS)
    assert (stage.step, stage.per) == ("upscale", "photo")
    assert plan(parse_pipeline("upscale:4,gans,denoise=0.5 | video"), STEPS)[0].step == "upscale"
    assert settings() == UpscaleSettings()
    assert settings(factor="3", denoise="0.25", ensemble="8") == UpscaleSettings(3, denoise=0.25, ensemble=8)


def test_the_parameters_of_the_image_super_resolution_worker_mean_what_they_meant() -> None:
    given = settings(model_name="psnr-small", by_patch_of_size="50", batch_size="10", padding_size="2")
    assert given == UpscaleSettings(2, "psnr-small", tile=50, overlap=2, batch=10)
    assert settings(model_name="gans").factor == 4
    assert settings(model="realesrgan-x4plus", factor="2").factor == 2


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"factor": "5"}, "factor must be one of 2, 3, 4"),
        ({"factor": "2.5"}, "factor must be one of 2, 3, 4"),
        ({"factor": "3", "model": "psnr-small"}, "factor must be 2 or less with psnr-small"),
        ({"model": "esrgan"}, "model must be one of compact, psnr-small"),
        ({"model": "gans", "model_name": "psnr-small"}, "the same parameter"),
        ({"denoise": "2"}, "denoise must be from 0 to 1"),
        ({"ensemble": "3"}, "ensemble must be one of 1, 2, 4, 8"),
        ({"by_patch_of_size": "0"}, "by_patch_of_size must be from 16 to 4096"),
        ({"padding_size": "-1"}, "padding_size must be from 0 to 512"),
        ({"batch_size": "0"}, "batch_size must be from 1 to 64"),
        ({"quality": "101"}, "quality must be from 1 to 100"),
        ({"denoize": "1"}, "did you mean denoise"),
    ],
)
def test_bad_parameters_are_named(params: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidPipeline, match=says):
        UPSCALE.parse(params)
