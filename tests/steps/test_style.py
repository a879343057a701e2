"""The ``fast`` style: tiles that cannot be seen, blends, masks, odd pictures."""

from __future__ import annotations

import tracemalloc
from typing import cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from style_weights import engine, picture, weights  # noqa: F401

from minimoto.core.tiles import Box
from minimoto.engines import style_network, style_transport
from minimoto.engines.runtime_device import Device
from minimoto.engines.style import FastStyle, Look, _shrunk
from minimoto.engines.style_colour import LUMA, plain_map, statistics
from minimoto.engines.style_painting import Asked, Painting
from minimoto.engines.style_seen import Seen
from minimoto.engines.style_settings import MOST_PIXELS, FastOptions, memory_plan

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def look(engine: FastStyle) -> Look:  # noqa: F811
    return engine.look([picture(400, 300, 7)])


def apart(one: Pixels, other: Pixels) -> int:
    return int(np.abs(one.astype(int) - other).max())


def test_the_sizes_are_those_of_the_network() -> None:
    net = pytest.importorskip("minimoto.engines.style_net")
    assert (style_network.STYLE_SIZE, style_network.CODE) == (net.STYLE_SIZE, net.CODE)
    assert style_transport.SPARE == net.SPARE
    assert (style_network.FEATURES, style_network.FAR) == (net.FEATURES, net.FAR)
    assert style_network.GRAIN == net.GRAIN
    assert style_network.MULTIPLE == net.MULTIPLE
    assert net.ENCODER_MARGIN <= style_network.MARGIN
    assert net.DECODER_MARGIN <= style_network.LATE_MARGIN


@pytest.mark.parametrize(("size", "tile"), [((233, 201), 96), ((72, 320), 96)])
def test_tiles_change_nothing(engine: FastStyle, look: Look, size: tuple[int, int], tile: int) -> None:  # noqa: F811
    photo = picture(*size)
    whole = engine.apply(photo, look)
    assert apart(whole, photo) > 8
    tiled = engine.apply(photo, look, whole=0, tile=tile)
    assert apart(whole, tiled) <= 1
    assert (whole != tiled).mean() < 1e-3


def test_the_seed_is_that_of_the_strokes(engine: FastStyle, look: Look) -> None:  # noqa: F811
    photo = picture(120, 90)
    first, again, other = (engine.apply(photo, look, FastOptions(seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert apart(first, other) > 2


@given(width=st.integers(1, 60), height=st.integers(1, 60), tile=st.sampled_from([24, 40]), seed=st.integers(0, 9))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_small_picture_is_styled_by_tiles_as_whole(
    engine: FastStyle,  # noqa: F811
    look: Look,
    width: int,
    height: int,
    tile: int,
    seed: int,
) -> None:
    photo = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    whole = engine.apply(photo, look)
    assert whole.shape == photo.shape
    assert apart(whole, engine.apply(photo, look, whole=0, tile=tile)) <= 1


def test_features_are_brought_to_the_styles_moments_as_in_training() -> None:
    net = pytest.importorskip("minimoto.engines.style_net")
    import torch

    chance = np.random.default_rng(3)
    mixing = chance.normal(size=(2, 24, 24)) / 24**0.5
    photo, style = (np.einsum("ij,jhw->ihw", m, chance.random((24, 30, 40)))[None].astype(np.float32) for m in mixing)
    own, wanted = style_transport.moments(photo), style_transport.moments(style)
    moved = style_transport.transport(own, wanted)(photo)
    trained = net.transport(torch.from_numpy(photo), net.statistics(torch.from_numpy(style))).numpy()
    np.testing.assert_allclose(moved, trained, atol=2e-3)
    found = style_transport.moments(moved)
    np.testing.assert_allclose(found.mean, wanted.mean, atol=1e-4)
    change = style_transport.transport(own, wanted).change.astype(np.float64)
    source, target = (style_transport.widened(one.covariance) for one in (own, wanted))
    np.testing.assert_allclose(change @ source @ change.T, target, atol=1e-4)


def test_features_without_any_variance_are_moved_all_the_same() -> None:
    flat = np.full((1, 6, 40, 40), 1000.1, np.float32) * np.arange(1, 7, dtype=np.float32)[:, None, None]
    own = style_transport.moments(flat)
    wanted = style_transport.moments(np.random.default_rng(0).random((1, 6, 40, 40)).astype(np.float32))
    for source, target in ((own, wanted), (wanted, own)):
        assert np.isfinite(style_transport.transport(source, target).change).all()


def test_moments_of_parts_are_those_of_the_whole() -> None:
    features = np.random.default_rng(1).random((1, 5, 12, 9)).astype(np.float32)
    sums = style_transport.Sums(5)
    for part in (features[:, :, :7], features[:, :, 7:, :4], features[:, :, 7:, 4:]):
        sums.add(part)
    whole = style_transport.moments(features)
    np.testing.assert_allclose(sums.moments().covariance, whole.covariance, atol=1e-5)
    np.testing.assert_allclose(whole.covariance, np.cov(features[0].reshape(5, -1), bias=True), atol=1e-5)


def test_strength_goes_from_the_photo_itself_to_the_full_style(engine: FastStyle, look: Look) -> None:  # noqa: F811
    photo = picture(96, 64)
    distances = []
    for strength in (0, 0.1, 0.35, 0.6, 0.85, 1):
        styled = engine.apply(photo, look, FastOptions(strength=strength))
        distances.append(np.abs(styled.astype(float) - photo).mean())
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert len(set(distances)) == len(distances)
    assert apart(engine.apply(photo, look), engine.apply(photo, look, FastOptions(strength=1))) == 0


def test_the_result_takes_the_styles_colours_or_keeps_the_photos(engine: FastStyle, look: Look) -> None:  # noqa: F811
    photo = picture(128, 96, 3)
    kept = engine.apply(photo, look, FastOptions(colors="keep"))
    luma = np.asarray(LUMA)
    change = kept.astype(float) - photo
    inside = (kept > 2).all(-1) & (kept < 253).all(-1)
    # What changed is grey: the same in red, green and blue.
    assert np.ptp(change[inside], axis=-1).max() <= 1.01
    assert np.abs(change[inside] @ luma).mean() > 1
    transferred = statistics(engine.apply(photo, look)).mean
    assert np.abs(transferred - look.colours.mean).max() < np.abs(statistics(photo).mean - look.colours.mean).max()


def test_a_grey_photo_that_keeps_its_colours_stays_grey(engine: FastStyle, look: Look) -> None:  # noqa: F811
    grey = np.repeat(picture(64, 64)[..., :1], 3, 2)
    kept = engine.apply(grey, look, FastOptions(colors="keep"))
    assert np.ptp(kept, axis=-1).max() == 0
    assert apart(kept, grey) > 0


def test_styles_are_mixed_by_their_weights(engine: FastStyle) -> None:  # noqa: F811
    one, other = picture(256, 256, 1), picture(300, 256, 2)
    first, second = engine.look([one]), engine.look([other])
    mixed = engine.look([one, other], [3, 1])
    wanted = first.vector.scaled(0.75) + second.vector.scaled(0.25)
    np.testing.assert_allclose(mixed.vector.code, wanted.code, atol=1e-5)
    np.testing.assert_allclose(mixed.vector.near.covariance, wanted.near.covariance, atol=1e-6)
    np.testing.assert_allclose(mixed.vector.far.mean, wanted.far.mean, atol=1e-6)
    np.testing.assert_allclose(mixed.colours.mean, 0.75 * first.colours.mean + 0.25 * second.colours.mean, atol=1e-6)
    np.testing.assert_allclose(engine.look([one, other], [0, 2]).vector.code, second.vector.code, atol=1e-6)
    half = (first.vector.code + second.vector.code) / 2
    np.testing.assert_allclose(engine.look([one, other]).vector.code, half, atol=1e-5)


@pytest.mark.parametrize(("size", "scale"), [((1, 1), 1.0), ((900, 9), 1.0), ((300, 700), 0.5), ((300, 310), 1.5)])
def test_any_style_picture_at_any_scale_has_a_look(
    engine: FastStyle,  # noqa: F811
    size: tuple[int, int],
    scale: float,
) -> None:
    look = engine.look([picture(*size)], style_scale=scale)
    assert look.vector.code.shape == (1, style_network.CODE)
    for found in (look.vector.code, look.vector.near.covariance, look.vector.far.covariance):
        assert np.isfinite(found).all()


def test_a_mask_limits_the_style_to_a_part(engine: FastStyle, look: Look) -> None:  # noqa: F811
    photo = picture(80, 60)
    mask = np.zeros((60, 80), np.uint8)
    mask[:, 50:] = 255
    mask[:, 40:50] = 128
    styled, everywhere = engine.apply(photo, look, mask=mask), engine.apply(photo, look)
    assert apart(styled[:, :40], photo[:, :40]) == 0
    assert apart(styled[:, 50:], everywhere[:, 50:]) == 0
    middle = (photo[:, 40:50].astype(float) + everywhere[:, 40:50]) / 2
    assert np.abs(styled[:, 40:50] - middle).max() <= 1.01
    assert apart(engine.apply(photo, look, mask=mask * 0), photo) == 0


def test_what_is_hidden_behind_transparency_is_not_looked_at(engine: FastStyle, look: Look) -> None:  # noqa: F811
    photo = picture(64, 64)
    alpha = np.full((64, 64), 255, np.uint8)
    alpha[:, 40:] = 0
    other = photo.copy()
    other[:, 40:] = 255 - other[:, 40:]
    one, two = (engine.apply(pixels, look, alpha=alpha) for pixels in (photo, other))
    assert apart(one[:, :40], two[:, :40]) == 0


def test_the_same_photo_gives_the_same_result(engine: FastStyle, look: Look) -> None:  # noqa: F811
    photo = picture(90, 70)
    assert apart(engine.apply(photo, look), engine.apply(photo, look)) == 0


def test_progress_grows_to_the_end_and_can_stop_the_work(engine: FastStyle, look: Look) -> None:  # noqa: F811
    seen: list[float] = []
    engine.apply(picture(100, 90), look, whole=0, tile=32, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1

    def stop(done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.apply(picture(100, 90), look, progress=stop)


def test_a_photo_over_the_limit_is_styled_smaller_and_enlarged(
    engine: FastStyle,  # noqa: F811
    look: Look,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("minimoto.engines.style_settings.MOST_PIXELS", 5000)
    photo = picture(200, 100)
    styled = engine.apply(photo, look)
    assert styled.shape == photo.shape
    assert apart(styled, photo) > 8


def test_a_large_photo_is_painted_in_broad_strokes_first(
    engine: FastStyle,  # noqa: F811
    look: Look,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo = picture(200, 120)
    once = engine.apply(photo, look)
    monkeypatch.setattr("minimoto.engines.style_painting.BROAD", 4000)
    seen: list[float] = []
    twice = engine.apply(photo, look, progress=seen.append)
    assert twice.shape == photo.shape
    assert apart(once, twice) > 8
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert apart(twice, engine.apply(photo, look, whole=0, tile=64)) <= 2


def test_colours_that_frames_share_hold_for_broad_and_fine_strokes(
    engine: FastStyle,  # noqa: F811
    look: Look,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo = picture(200, 120)
    shared = statistics(photo)
    monkeypatch.setattr("minimoto.engines.style_painting.BROAD", 4000)
    monkeypatch.delattr("minimoto.engines.style_colour.statistics")
    assert engine.apply(photo, look, own=shared).shape == photo.shape


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_memory_is_bounded_for_every_picture_that_is_read(width: int, height: int) -> None:
    if width * height > 200_000_000:
        return
    plan = memory_plan(width, height)
    assert plan.bytes < 4.5 * 2**30
    assert min(plan.size) >= 1
    assert plan.size[0] * plan.size[1] <= MOST_PIXELS
    if width * height <= MOST_PIXELS:
        assert plan.size == (width, height)


def test_24_megapixels_are_styled_at_their_own_size_in_little_more_than_two_gib() -> None:
    plan = memory_plan(6000, 4000)
    assert plan.size == (6000, 4000)
    assert plan.bytes < 2.2 * 2**30


class Bare:
    """Stands for the parts of the network: arrays of the shapes that they give, and which of them hold memory."""

    device = Device("cpu", "none", "torch", "fp32")
    compiled = gpu = None

    def __init__(self) -> None:
        self.holding: set[str] = set()
        self.beside: set[tuple[str, str]] = set()

    def __getitem__(self, part: str) -> BarePart:
        return BarePart(self, part)


class BarePart:
    def __init__(self, parts: Bare, name: str) -> None:
        self._parts, self._name = parts, name

    def lent(self, first: NDArray[np.float32], *others: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        self._parts.holding.add(self._name)
        self._parts.beside |= {(self._name, other) for other in self._parts.holding}
        height, width = first.shape[2:]
        if self._name == "encoder":
            near, far = ((1, 64, height // 4, width // 4), (1, 128, height // 8, width // 8))
            return np.ones(near, np.float32), np.ones(far, np.float32)
        return (np.ones((1, 3, height * 4, width * 4), np.float32) if self._name == "decoder" else first,)

    def release(self) -> None:
        self._parts.holding.discard(self._name)


def test_a_large_photo_needs_little_more_than_its_features_twice() -> None:
    photo, parts = np.zeros((1600, 1600, 3), np.uint8), Bare()
    colours = statistics(picture(40, 30))
    even = style_transport.Moments(np.zeros(64), np.eye(64)), style_transport.Moments(np.zeros(128), np.eye(128))
    asked = Asked(style_network.StyleVector(np.zeros((1, 192), np.float32), *even), colours)
    painting = Painting(cast(style_network.Networks, parts), asked, whole=0, tile=200)
    painting._once(photo, colours, lambda done: None)
    tracemalloc.start()
    painting._once(photo, colours, lambda done: None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 16 bytes a pixel of features at a quarter of the size, twice; 8 at an eighth; 3 of the result.
    assert peak < 49 * photo.shape[0] * photo.shape[1]
    assert {(late, early) for late, early in parts.beside if early in {"encoder", "far", "up"}} == {
        (one, one) for one in ("encoder", "far", "up")
    }


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 15), st.integers(0, 15))
def test_tiles_are_read_as_of_a_photo_with_mirrored_edges(width: int, height: int, left: int, top: int) -> None:
    import cv2

    photo = picture(width, height)
    plain = plain_map(statistics(photo))
    seen = Seen(photo, plain, plain, style_network.MULTIPLE)
    right, bottom = seen.width, seen.height
    edges = (16, bottom - height - 16, 16, right - width - 16)
    padded = np.asarray(cv2.copyMakeBorder(photo, *edges, cv2.BORDER_REFLECT))
    assert (right % 8, bottom % 8) == (0, 0)
    for box in (Box(left, top, right, bottom), Box(left, top, right - left, bottom - top)):
        assert np.array_equal(seen.mirrored(box), padded[box.top : box.bottom, box.left : box.right])


def test_a_line_of_pixels_is_not_enlarged_to_gigabytes() -> None:
    assert _shrunk(np.zeros((4000, 1, 3), np.uint8), 64).shape == (512, 64, 3)
    assert _shrunk(np.zeros((1, 5, 3), np.uint8), 64).shape == (64, 320, 3)
