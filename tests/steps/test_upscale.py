"""The engine of ``upscale``: tiles that do not show, numbers that are torch's, better than interpolation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from upscale_engines import _cache, bicubic, engine, photo, psnr, shrunk  # noqa: F401

from minimoto.core.tiles import computed_share, tiles
from minimoto.engines import registry, upscale_settings
from minimoto.engines.runtime_device import choose_device
from minimoto.engines.upscale import FILL_REACH, LUMA, Upscaler, filled
from minimoto.engines.upscale_denoise import noise_of
from minimoto.engines.upscale_settings import COMPACT, FACTORS, MARGIN, MODELS, UpscaleSettings, cut

TWICE = UpscaleSettings(factor=2)


def whole(**options: Any) -> UpscaleSettings:
    return UpscaleSettings(tile=4096, **options)


def same(a: NDArray[Any], b: NDArray[Any]) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max(initial=0))


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(16, 40), st.sampled_from(["grey", "rgb", "rgba"]))
def test_tiles_make_no_difference(height: int, width: int, tile: int, kind: str) -> None:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 4), np.uint8)
    pixels[..., 3][pixels[..., 3] < 100] = 0
    given_pixels = {"grey": pixels[..., 0], "rgb": pixels[..., :3], "rgba": pixels}[kind]
    tiled = engine(UpscaleSettings(factor=2, tile=tile)).enlarge(given_pixels)
    assert tiled.shape == (2 * height, 2 * width, *given_pixels.shape[2:])
    assert same(tiled, engine(whole(factor=2)).enlarge(given_pixels)) <= 1


@pytest.mark.parametrize("factor", FACTORS)
def test_tiles_make_no_difference_at_any_factor(factor: int) -> None:
    pixels = photo(60, 75)
    tiled = engine(UpscaleSettings(factor=factor, tile=25)).enlarge(pixels)
    assert same(tiled, engine(whole(factor=factor)).enlarge(pixels)) <= 1


def test_too_little_overlap_shows() -> None:
    pixels = photo(60, 75)
    assert same(engine(UpscaleSettings(tile=25, overlap=1)).enlarge(pixels), engine(TWICE).enlarge(pixels)) > 1


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12_000), st.integers(1, 12_000))
def test_no_pixel_is_computed_much_more_than_once(width: int, height: int) -> None:
    sides = cut(TWICE)
    assert computed_share(tiles(width, height, sides.tile, sides.overlap, sides.multiple)) < 1.14


@pytest.mark.parametrize("model", MODELS)
def test_published_networks_are_not_computed_much_more_than_once(model: str) -> None:
    sides = cut(UpscaleSettings(factor=2, model=model))
    assert computed_share(tiles(6000, 4000, sides.tile, sides.overlap, sides.multiple)) < 1.3


@pytest.mark.parametrize("factor", FACTORS)
def test_the_margin_is_how_far_the_network_sees(factor: int) -> None:
    from minimoto.engines.upscale_net import build_upscale

    torch = pytest.importorskip("torch")
    network = build_upscale(factor)(registry.model_path(f"upscale{factor}"))
    torch.set_num_threads(1)
    luma = torch.rand(1, 1, 49, 49, generator=torch.Generator().manual_seed(1), requires_grad=True)
    network.requires_grad_(False)(luma)[0, 0, 24 * factor, 24 * factor].backward()
    rows = luma.grad[0, 0].abs().sum(1).nonzero().flatten()
    assert (int(rows.min()), int(rows.max())) == (24 - MARGIN[factor], 24 + MARGIN[factor])


@pytest.mark.parametrize("factor", FACTORS)
def test_numbers_are_those_of_torch(factor: int) -> None:
    torch = pytest.importorskip("torch")
    from minimoto.engines.upscale_net import build_upscale

    grey = photo(40, 50)[..., 1]
    network = build_upscale(factor)(registry.model_path(f"upscale{factor}"))
    with torch.inference_mode():
        missed = network(torch.from_numpy(grey[None, None].astype(np.float32) / 255))[0, 0].numpy()
    wanted = bicubic(grey.astype(np.float32), factor) + missed * 255
    asked = UpscaleSettings(factor=factor)
    exact = Upscaler(asked, replace(choose_device("cpu"), precision="fp32"))
    assert same(exact.enlarge(grey), np.clip(np.rint(wanted), 0, 255)) <= 1
    # As this machine has it, which may be bfloat16.
    assert psnr(engine(asked).enlarge(grey), np.clip(wanted, 0, 255)) > 45


@pytest.mark.parametrize(("factor", "gain"), [(2, 1.0), (3, 0.5), (4, 0.4)])
def test_it_is_better_than_bicubic(factor: int, gain: float) -> None:
    gains = []
    for name in ("8-chelsea.jpg", "2-astronaut.jpg", "5-temple.jpg"):
        large = shrunk(photo(288, 288, name), 2)
        small = shrunk(large, factor)
        enlarged = engine(UpscaleSettings(factor=factor)).enlarge(small)
        gains.append(psnr(enlarged, large) - psnr(bicubic(small, factor), large))
    assert np.mean(gains) > gain


@pytest.mark.parametrize("value", [0, 1, 77, 128, 254, 255])
def test_what_is_flat_stays_flat(value: int) -> None:
    flat = np.full((20, 30, 3), value, np.uint8)
    inner = engine(TWICE).enlarge(flat)[16:-16, 16:-16]
    assert same(inner, np.full_like(inner, value)) <= 1


def test_colours_are_those_of_bicubic_and_luma_the_networks() -> None:
    pixels = (photo(60, 60) // 2 + 50).astype(np.uint8)
    got = engine(TWICE).enlarge(pixels).astype(np.float32)
    spread = bicubic(pixels.astype(np.float32), 2)
    for a, b in ((0, 1), (1, 2)):
        np.testing.assert_allclose(got[..., a] - got[..., b], spread[..., a] - spread[..., b], atol=1.01)
    missed = engine(TWICE)._network((pixels.astype(np.float32) / 255 @ LUMA)[None, None])[0][0, 0]
    np.testing.assert_allclose(got @ LUMA, spread @ LUMA + missed * 255, atol=0.6)


def test_sixteen_bits_are_more_than_eight() -> None:
    ramp = np.linspace(20_000, 24_000, 64).astype(np.uint16)[None, :].repeat(40, 0)
    enlarged = engine(TWICE).enlarge(np.dstack([ramp] * 3))
    assert enlarged.dtype == np.uint16
    assert len(np.unique(enlarged[40, 24:-24])) > 50
    pixels = photo(40, 40)
    deep = engine(TWICE).enlarge(pixels.astype(np.uint16) * 257)
    assert np.abs(deep / 257 - engine(TWICE).enlarge(pixels)).max() <= 0.51


def test_hidden_colours_make_no_fringe() -> None:
    y, x = np.mgrid[:40, :40]
    inside = (y - 20) ** 2 + (x - 20) ** 2 < 144
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[inside] = (220, 60, 40, 255)
    enlarged = engine(TWICE).enlarge(pixels)
    seen = enlarged[..., 3] > 0
    assert 4 * inside.sum() * 0.9 < (enlarged[..., 3] > 127).sum() < 4 * inside.sum() * 1.1
    assert np.abs(enlarged[seen][:, :3].astype(int) - (220, 60, 40)).max() <= 3
    assert (enlarged[..., 3][30:50, 30:50] == 255).all()


def test_filling_leaves_what_is_visible() -> None:
    colours = np.random.default_rng(0).random((30, 30, 3), np.float32)
    alpha = np.zeros((30, 30), np.float32)
    alpha[10:20, 10:20] = 0.5
    result = filled(colours, alpha)
    np.testing.assert_array_equal(result[10:20, 10:20], colours[10:20, 10:20])
    assert (result[10:20, 10 - FILL_REACH] != colours[10:20, 10 - FILL_REACH]).all()
    np.testing.assert_array_equal(result[10:20, 9 - FILL_REACH], colours[10:20, 9 - FILL_REACH])
    assert filled(colours, np.ones((30, 30), np.float32)) is colours


def test_the_ensemble_is_the_mean_of_eight_views() -> None:
    pixels = photo(32, 48)
    together = UpscaleSettings(factor=2, ensemble=8)
    views = []
    for turns in range(4):
        for mirrored in (False, True):
            view = np.rot90(pixels, turns)
            view = view[:, ::-1] if mirrored else view
            back = engine(TWICE).enlarge(np.ascontiguousarray(view)).astype(np.float32)
            views.append(np.rot90(back[:, ::-1] if mirrored else back, -turns))
    np.testing.assert_allclose(engine(together).enlarge(pixels), np.mean(views, axis=0), atol=1.5)
    turned = np.ascontiguousarray(pixels.swapaxes(0, 1))
    assert same(engine(together).enlarge(turned).swapaxes(0, 1), engine(together).enlarge(pixels)) <= 1


def test_a_batch_gives_what_single_tiles_give() -> None:
    pixels = photo(60, 100)
    together, apart = UpscaleSettings(tile=30, batch=3), UpscaleSettings(tile=30)
    assert same(engine(together).enlarge(pixels), engine(apart).enlarge(pixels)) <= 1


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_denoising_takes_noise_away_and_little_else(kind: Any) -> None:
    white = np.iinfo(kind).max
    clean = cv2.GaussianBlur(photo(96, 96), (0, 0), 1.5).astype(np.float32) / 255
    noise = np.random.default_rng(0).normal(0, 8 / 255, clean.shape)
    noisy = np.clip((clean + noise) * white, 0, white).astype(kind)
    assert noise_of(noisy) == pytest.approx(8 / 255, rel=0.25)

    def error(**options: Any) -> float:
        got = engine(UpscaleSettings(**options)).enlarge(noisy).astype(np.float32) / white
        return float(np.abs(got - bicubic(clean, 2)).mean())

    assert error(denoise=1.0) < 0.75 * error()
    assert error(denoise=1.0) < error(denoise=0.5) < error()
    quiet = (clean * white).astype(kind)
    changed = engine(UpscaleSettings(denoise=1.0)).enlarge(quiet).astype(np.float32)
    assert np.abs(changed - engine(TWICE).enlarge(quiet)).mean() < 0.004 * white


def test_progress_goes_up_to_one() -> None:
    seen: list[float] = []
    engine(UpscaleSettings(tile=30)).enlarge(photo(70, 70), seen.append)
    assert seen == sorted(seen)
    assert len(seen) == 9
    assert seen[-1] == 1


def test_progress_is_told_of_each_run_of_an_ensemble() -> None:
    seen: list[float] = []
    engine(UpscaleSettings(ensemble=4)).enlarge(photo(30, 30), seen.append)
    assert seen == [0.25, 0.5, 0.75, 1]


class Doubled:
    """Stands for a published network: four times as large, each pixel repeated."""

    def __init__(self, multiple: int) -> None:
        self.multiple = multiple

    def __call__(self, *arrays: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        [photo] = arrays
        assert photo.shape[1] == 3
        assert photo.shape[2] % self.multiple == photo.shape[3] % self.multiple == 0
        return (photo.repeat(4, 2).repeat(4, 3),)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("multiple", [1, 2])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_published_network_may_be_larger_than_asked(
    monkeypatch: pytest.MonkeyPatch, factor: int, multiple: int, channels: int
) -> None:
    monkeypatch.setattr("minimoto.engines.upscale._network", lambda *_: Doubled(multiple))
    asked = UpscaleSettings(factor=factor, model="realesrgan-x4plus", tile=20)
    upscaler = Upscaler(asked)
    upscaler._multiple = multiple
    pixels = np.random.default_rng(0).integers(0, 256, (31, 45, channels), np.uint8)
    pixels = pixels[..., 0] if channels == 1 else pixels
    enlarged = upscaler.enlarge(pixels)
    assert enlarged.shape == (31 * factor, 45 * factor, *pixels.shape[2:])
    if channels < 4:
        assert same(enlarged[factor // 2 :: factor, factor // 2 :: factor], pixels) <= (1 if factor != 3 else 90)


def test_the_published_settings_are_of_networks_that_exist() -> None:
    assert MODELS[0] == COMPACT
    assert set(MODELS[1:]) <= set(registry.MODELS)
    assert upscale_settings.scale_of("gans", 2) == 4
    assert upscale_settings.scale_of(COMPACT, 3) == 3


@pytest.mark.parametrize("factor", FACTORS)
def test_the_weights_are_small(factor: int) -> None:
    assert registry.model_path(f"upscale{factor}").stat().st_size < 2_000_000
