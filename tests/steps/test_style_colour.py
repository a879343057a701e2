"""Colours by mean and covariance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from minimoto.engines.style_colour import (
    ColourMap,
    Statistics,
    apply,
    blend,
    colour_map,
    match,
    palette,
    plain_map,
    statistics,
)


def picture(seed: int, size: tuple[int, int] = (40, 60)) -> NDArray[np.float32]:
    chance = np.random.default_rng(seed)
    mix = chance.normal(0, 0.06, (3, 3))
    noise = chance.normal(0, 1, (*size, 3)) @ mix.T
    return (noise + chance.uniform(0.4, 0.6, 3)).astype(np.float32)


def test_colours_that_are_taken_away_can_be_given_back() -> None:
    pixels = picture(3)
    own = statistics(pixels)
    plain = apply(pixels, plain_map(own))
    told = statistics(plain)
    assert np.abs(told.mean).max() < 1e-4
    spread = np.linalg.eigvalsh(told.covariance)
    assert spread[-1] == pytest.approx(1, abs=0.02)
    assert spread[0] > 0
    forth = palette(own)
    back = apply(plain, ColourMap(forth[:, :3], forth[:, 3]))
    assert np.abs(back - pixels).max() < 1e-4


def test_a_grey_picture_gets_no_colours_from_its_rounding() -> None:
    grey = np.repeat(picture(4)[:, :, :1], 3, axis=2)
    noisy = grey + np.random.default_rng(0).normal(0, 0.001, grey.shape).astype(np.float32)
    plain = apply(noisy, plain_map(statistics(noisy)))
    chroma = plain - plain.mean(2, keepdims=True)
    assert np.abs(chroma).std() < 0.1 * plain.std()


def test_statistics_are_numpys() -> None:
    pixels = picture(1)
    found = statistics(pixels)
    flat = pixels.reshape(-1, 3).astype(np.float64)
    assert found.mean == pytest.approx(flat.mean(0), abs=1e-6)
    assert found.covariance == pytest.approx(np.cov(flat.T, bias=True), abs=1e-6)


def test_bytes_and_bands_count_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = (np.clip(picture(2), 0, 1) * 255).astype(np.uint8)
    whole = statistics(pixels.astype(np.float32) / 255)
    monkeypatch.setattr("minimoto.engines.style_colour._BAND_PIXELS", 130)
    banded = statistics(pixels)
    assert banded.mean == pytest.approx(whole.mean, abs=1e-6)
    assert banded.covariance == pytest.approx(whole.covariance, abs=1e-6)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_matched_picture_has_the_targets_statistics(one: int, other: int) -> None:
    source, target = statistics(picture(one)), statistics(picture(other))
    colours = colour_map(source, target)
    if np.linalg.eigvalsh(colours.matrix).max() > 3.99:
        return
    found = statistics(apply(picture(one), colours))
    assert found.mean == pytest.approx(target.mean, abs=1e-4)
    # Directions thinner than the least variance are not told apart.
    assert found.covariance == pytest.approx(target.covariance, abs=2e-4)


def test_the_map_to_the_same_colours_changes_nothing() -> None:
    pixels = picture(3)
    own = statistics(pixels)
    assert match(pixels, own, own) == pytest.approx(np.clip(pixels, 0, 1), abs=1e-4)


def test_a_tile_is_matched_as_the_whole_is() -> None:
    pixels, target = picture(4), statistics(picture(5))
    own = statistics(pixels)
    tile = match(pixels[8:20, 4:30], own, target)
    np.testing.assert_allclose(match(pixels, own, target)[8:20, 4:30], tile, rtol=0, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_one_colour_is_moved_to_the_mean_and_noise_is_not_blown_up(value: float) -> None:
    flat = np.full((5, 7, 3), value, np.float32)
    flat[0, 0] += 0.004
    target = statistics(picture(6))
    colours = colour_map(statistics(flat), target)
    assert np.linalg.eigvalsh(colours.matrix).max() <= 4.001
    assert match(flat, statistics(flat), target)[3, 3] == pytest.approx(target.mean, abs=0.02)


def test_transparent_pixels_do_not_count() -> None:
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[:5] = (255, 0, 128)
    alpha = np.zeros((10, 10), np.uint8)
    alpha[:5] = 9
    assert statistics(pixels, alpha).mean == pytest.approx((1, 0, 128 / 255), abs=1e-6)
    assert statistics(pixels, alpha * 0).mean == pytest.approx((0.5, 0, 64 / 255), abs=1e-3)


def test_blended_statistics_go_from_one_to_the_other() -> None:
    one, other = Statistics(np.zeros(3), np.eye(3)), Statistics(np.ones(3), 3 * np.eye(3))
    assert blend([one, other], [1, 1]).mean == pytest.approx(0.5)
    assert blend([one, other], [3, 1]).covariance == pytest.approx(1.5 * np.eye(3))
    assert blend([one, other], [5, 0]).mean == pytest.approx(0)
