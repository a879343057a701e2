"""The step ``style``: from a pipeline's text to files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import odd_pictures as odd
import pytest
from PIL import Image, ImageCms
from style_weights import shipped, weights  # noqa: F401

from minimoto.core.pipeline import attachments, parse_pipeline, plan
from minimoto.engines.style_settings import MADE, MADE_STYLES
from minimoto.errors import InvalidPipeline, ModelMissing, StepFailed
from minimoto.steps import STEPS
from minimoto.steps.base import Context, Progress, StepResult
from minimoto.steps.style_run import _softened

STYLE = STEPS["style"]


def style(out: Path, *photos: Path, first: int = 0, beside: tuple[Path, ...] = (), **params: str) -> StepResult:
    out.mkdir(exist_ok=True)
    seen: list[Progress] = []
    attached = {path.name: path for path in beside}
    result = STYLE.run(Context(photos, attached, out, "trip", seen.append, first), STYLE.parse(params))
    assert seen[-1].done == 1
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    assert sorted(out.iterdir()) == sorted(result.outputs)
    return result


def styled(tmp_path: Path, photo: Path, **params: str) -> Image.Image:
    [output] = style(tmp_path / "out", photo, **{"picture": "swirl", **params}).outputs
    with Image.open(output) as image:
        image.load()
        return image


def _red_and_green_swapped() -> bytes:
    """A profile whose first channel is sRGB's green, and the second its red."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    return profile.replace(b"rXYZ", b"-XYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"-XYZ", b"gXYZ", 1)


def test_every_style_of_ours_is_there_and_small() -> None:
    assert sorted(path.stem for path in MADE.glob("*.jpg")) == sorted(MADE_STYLES)
    assert sum(path.stat().st_size for path in MADE.iterdir()) < 3_000_000
    for path in MADE.glob("*.jpg"):
        with Image.open(path) as image:
            assert min(image.size) >= 512
            assert np.asarray(image.convert("L")).std() > 15


def test_the_pipeline_names_pictures_weights_and_options() -> None:
    text = "style:mine.jpg+swirl,weights=2+1,strength=0.5,colors=keep,size=800,mask=m.png,seed=4,temporal=on,format=png"
    stages = plan(parse_pipeline(text), STEPS)
    params = STYLE.parse(stages[0].params)
    assert (params.pictures, params.weights) == (("mine.jpg", "swirl"), (2.0, 1.0))
    assert (params.fast.strength, params.fast.colors, params.size) == (0.5, "keep", 800)
    assert (params.mask, params.temporal, params.lossless, params.optimise) == ("m.png", True, True, None)
    # A style of ours is not looked for beside the photos.
    assert attachments(stages, STEPS) == ("mine.jpg", "m.png")
    assert attachments(plan(parse_pipeline("style:ink"), STEPS), STEPS) == ()


def test_a_plus_in_a_files_name_is_written_twice() -> None:
    assert STYLE.parse({"picture": "a++b.jpg+ink"}).pictures == ("a+b.jpg", "ink")
    assert STYLE.file_names("a++b.jpg+ink") == ("a+b.jpg",)


def test_the_options_of_optimise_are_neural_styles() -> None:
    params = STYLE.parse(
        {
            "picture": "a.jpg+ink",
            "mode": "optimise",
            "style_blend_weights": "1,3",
            "content_weight": "2.5",
            "style_weight": "200",
            "tv_weight": "0",
            "num_iterations": "40",
            "init": "random",
            "optimizer": "adam",
            "style_scale": "0.5",
            "content_layers": "relu3_1+relu4_2",
            "model": "vgg16",
            "colors": "keep",
            "strength": "0.5",
            "size": "640",
            "seed": "9",
        }
    )
    options = params.optimise
    assert options is not None
    assert options.style_blend_weights == (1.0, 3.0)
    assert (options.content_weight, options.style_weight, options.tv_weight) == (2.5, 200, 0)
    assert (options.num_iterations, options.init, options.optimizer) == (40, "random", "adam")
    assert (options.content_layers, options.model) == (("relu3_1", "relu4_2"), "vgg16")
    assert (options.original_colors, options.image_size, options.seed) == (True, 640, 9)
    assert (options.style_scale, options.strength) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "picture is missing: .*swirl"),
        ({"picture": "swrl"}, "did you mean swirl"),
        ({"picture": "zzz"}, "there are glass"),
        ({"picture": "../a.jpg"}, "name of a file beside the photos"),
        ({"picture": "a.jpg+"}, "no style is called ''"),
        ({"picture": "+".join(["ink"] * 17)}, "16 are the most"),
        ({"picture": "ink", "weights": "1+2"}, "weights must be 1 number, one for each picture"),
        ({"picture": "ink+swirl", "weights": "0+0"}, "above 0"),
        ({"picture": "ink", "weights": "x"}, "numbers joined by"),
        ({"picture": "ink", "weights": "1e999999999"}, "numbers joined by"),
        ({"picture": "ink", "strength": "1.5"}, "strength must be from 0 to 1"),
        ({"picture": "ink", "colors": "both"}, "colors must be one of transfer, keep"),
        ({"picture": "ink", "mode": "slow"}, "mode must be one of fast, optimise"),
        ({"picture": "ink", "mask": "ink"}, "mask must be the name of one picture"),
        ({"picture": "ink", "mask": "a.png+b.png"}, "mask must be the name of one picture"),
        ({"picture": "ink", "num_iterations": "5"}, "num_iterations belongs to mode=optimise"),
        ({"picture": "ink", "mode": "optimise", "temporal": "on"}, "temporal must be off"),
        ({"picture": "ink", "mode": "optimise", "style_layers": "relu9_1"}, "relu9_1"),
        ({"picture": "ink", "mode": "optimise", "num_iterations": "0"}, "num_iterations must be from 1"),
        ({"picture": "ink", "seed": "-1"}, "seed must be from 0"),
        ({"picture": "ink", "strenght": "1"}, "did you mean strength"),
    ],
)
def test_bad_parameters_are_named(params: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidPipeline, match=says):
        STYLE.parse(params)


def test_a_wide_blur_of_a_mask_is_quick_and_the_same() -> None:
    mask = np.zeros((300, 400), np.uint8)
    mask[80:200, 100:250] = 255
    exact = cv2.GaussianBlur(mask, (0, 0), 40).astype(int)
    assert np.abs(_softened(mask, (400, 300), 40.0) - exact).max() <= 2
    # At full size this would take half an hour.
    assert 0 < _softened(mask, (6000, 4000), 1500.0).mean() < 255


@pytest.mark.usefixtures("shipped")
class TestRun:
    def test_a_style_picture_may_be_a_line_of_pixels(self, tmp_path: Path) -> None:
        photo, line = odd.grain(tmp_path / "a.png"), odd.plain(tmp_path / "line.png", (10, 200, 30), (1, 2000))
        [output] = style(tmp_path / "out", photo, beside=(line,), picture="line.png", style_scale="0.5").outputs
        with Image.open(output) as image:
            assert image.size == (160, 120)

    def test_strength_0_returns_the_photo_exactly(self, tmp_path: Path) -> None:
        photo = odd.grain(tmp_path / "a.png")
        image = styled(tmp_path, photo, strength="0", format="png")
        np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(photo)))

    def test_a_photo_is_styled(self, tmp_path: Path) -> None:
        photo = tmp_path / "a.png"
        odd.gradient((120, 80)).save(photo)
        image = styled(tmp_path, photo)
        assert (image.size, image.mode, image.format) == ((120, 80), "RGB", "JPEG")
        assert np.abs(np.asarray(image, float) - np.asarray(Image.open(photo))).mean() > 5

    def test_the_same_seed_gives_the_same_bytes(self, tmp_path: Path) -> None:
        photo = odd.grain(tmp_path / "a.jpg")
        [first], [second] = (style(tmp_path / name, photo, picture="ink", seed="3").outputs for name in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()

    def test_size_bounds_the_longer_side_and_never_enlarges(self, tmp_path: Path) -> None:
        assert styled(tmp_path, odd.panorama(tmp_path), size="200").size == (200, 15)
        assert styled(tmp_path / "out", odd.portrait(tmp_path), size="200").size == (90, 160)

    def test_transparency_stays(self, tmp_path: Path) -> None:
        photo = odd.transparent(tmp_path)
        image = styled(tmp_path, photo)
        assert (image.format, image.mode) == ("PNG", "RGBA")
        with Image.open(photo) as original:
            np.testing.assert_array_equal(np.asarray(image)[..., 3], np.asarray(original)[..., 3])

    def test_metadata_stay_but_the_rotation_is_done(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "A camera"
        odd.grain(tmp_path / "a.jpg", (80, 60), exif=exif, icc_profile=b"any profile")
        image = styled(tmp_path, tmp_path / "a.jpg")
        assert image.size == (60, 80)
        assert (image.getexif().get(0x0112), image.getexif()[0x010F]) == (None, "A camera")
        assert image.info["icc_profile"] == b"any profile"

    def test_a_style_is_seen_in_the_photos_colour_space(self, tmp_path: Path) -> None:
        swapped = _red_and_green_swapped()
        photo = tmp_path / "a.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(
            photo, icc_profile=swapped
        )
        red = odd.plain(tmp_path / "red.png", (230, 20, 20), (300, 300))
        [output] = style(tmp_path / "out", photo, beside=(red,), picture="red.png", format="png").outputs
        with Image.open(output) as image:
            assert image.info["icc_profile"] == swapped
            # In the photo's space the number of a red is large in the second channel.
            first, second, _ = np.asarray(image, float).mean((0, 1))
        assert second > first + 80

    def test_a_mask_beside_the_photos_limits_the_style(self, tmp_path: Path) -> None:
        photo = odd.grain(tmp_path / "a.png", (160, 120))
        mask = Image.new("L", (16, 12), 0)
        mask.paste(255, (8, 0, 16, 12))
        mask.save(tmp_path / "mask.png")
        [output] = style(
            tmp_path / "out", photo, beside=(tmp_path / "mask.png",), picture="knife", mask="mask.png", format="png"
        ).outputs
        change = np.abs(np.asarray(Image.open(output), float) - np.asarray(Image.open(photo))).mean((0, 2))
        assert change[:60].max() == 0
        assert change[100:].min() > 3
        # Between them it changes softly.
        assert np.abs(np.diff(change[70:90])).max() < change[100:].mean() / 2

    def test_pictures_of_the_user_and_of_ours_are_mixed(self, tmp_path: Path) -> None:
        photo, mine = odd.grain(tmp_path / "a.png"), odd.plain(tmp_path / "mine.png", (250, 10, 10), (300, 300))
        [output] = style(
            tmp_path / "out", photo, beside=(mine,), picture="mine.png+swirl", weights="99+1", format="png"
        ).outputs
        red, green, _ = np.asarray(Image.open(output), float).mean((0, 1))
        assert red > green + 100

    def test_odd_pictures_are_styled_and_bad_ones_skipped(self, tmp_path: Path) -> None:
        good = [
            make(tmp_path)
            for make in (odd.portrait, odd.transparent, odd.sixteen_bit, odd.cmyk, odd.animated, odd.one_pixel)
        ]
        bad = [odd.truncated(tmp_path), odd.text(tmp_path), odd.bomb(tmp_path)]
        result = style(tmp_path / "out", *good[:3], *bad, *good[3:], first=7, picture="ink", temporal="on")
        assert [path.name[:6] for path in result.outputs] == [f"{n:06d}" for n in (7, 8, 9, 13, 14, 15)]
        assert [skip.name for skip in result.skipped] == [path.name for path in bad]

    def test_a_style_picture_that_cannot_be_used_ends_the_job(self, tmp_path: Path) -> None:
        photo = odd.grain(tmp_path / "a.png")
        with pytest.raises(StepFailed, match=r"mine\.jpg is not among the job's files") as missing:
            style(tmp_path / "out", photo, picture="mine.jpg")
        with pytest.raises(StepFailed, match="style picture cannot be used: notes"):
            style(tmp_path / "out", photo, beside=(odd.text(tmp_path),), picture="notes.jpg")
        assert not missing.value.retry

    def test_a_missing_input_is_worth_another_try(self, tmp_path: Path) -> None:
        with pytest.raises(StepFailed, match=r"gone\.jpg") as failed:
            style(tmp_path / "out", tmp_path / "gone.jpg", picture="ink")
        assert failed.value.retry

    def test_without_its_network_optimise_says_how_to_bring_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def missing(*args: object, **more: object) -> None:
            raise ModelMissing("vgg19 is not here; bring it with: minimoto models fetch vgg19")

        monkeypatch.setattr("minimoto.engines.style_optimise.stylise", missing)
        with pytest.raises(StepFailed, match="minimoto models fetch vgg19; mode=fast needs no such file") as failed:
            style(tmp_path / "out", odd.grain(tmp_path / "a.png"), picture="ink", mode="optimise")
        assert not failed.value.retry

    def test_optimise_is_given_what_the_pipeline_says(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        given: dict[str, object] = {}

        def stylise(photo, styles, options, progress, *, mask):  # type: ignore[no-untyped-def]
            given.update(photo=photo, styles=styles, options=options, mask=mask)
            return np.full((30, 40, 3), 0.5, np.float32)

        monkeypatch.setattr("minimoto.engines.style_optimise.stylise", stylise)
        photo = odd.transparent(tmp_path)
        odd.plain(tmp_path / "mask.png", (255, 255, 255))
        [output] = style(
            tmp_path / "out", photo, beside=(tmp_path / "mask.png",),
            picture="ink+swirl", mode="optimise", num_iterations="3", mask="mask.png",
        ).outputs  # fmt: skip
        assert [picture.shape for picture in given["styles"]] == [(600, 800, 3)] * 2  # type: ignore[attr-defined]
        assert given["photo"].max() <= 1  # type: ignore[attr-defined]
        assert given["mask"].shape == (120, 120)  # type: ignore[attr-defined]
        assert given["options"].num_iterations == 3  # type: ignore[attr-defined]
        with Image.open(output) as image:
            assert (image.size, image.mode) == ((40, 30), "RGBA")
