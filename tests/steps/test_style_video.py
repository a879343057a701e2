"""Frames that follow each other: what moved is found, what is new is not blended, colours are shared."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import odd_pictures as odd
import pytest
from numpy.typing import NDArray

from benchmarks.style_flicker import flicker, moving_camera, sharpness
from minimoto.engines.style_colour import statistics
from minimoto.engines.style_video import Frames, carried, glance, glance_at, scenes, track, warped, warping_error

Pixels = NDArray[np.uint8]


def scene(seed: int, width: int = 400, height: int = 300) -> Pixels:
    chance = np.random.default_rng(seed)
    layers = [cv2.resize(chance.integers(0, 256, (n, n, 3), np.uint8), (width, height)) for n in (6, 20, 60)]
    return np.mean(layers, 0).astype(np.uint8)


def test_a_movement_is_found_to_a_fraction_of_a_pixel() -> None:
    for photo, flow, valid in moving_camera(scene(0), 3, (240, 180))[1:]:
        assert np.abs(flow[valid]).max() > 2
        assert photo.shape == (180, 240, 3)
    frames = moving_camera(scene(0), 2, (240, 180), noise=1.0)
    found, sure = track(frames[0][0], frames[1][0])
    flow, valid = frames[1][1], frames[1][2]
    certain = valid & (sure > 0.5)
    assert certain.mean() > 0.7
    assert np.median(np.abs(found - flow)[certain]) < 0.15


def test_what_was_hidden_or_is_new_is_not_sure() -> None:
    before, after = scene(1), scene(1)
    after[100:200, 150:250] = scene(2)[100:200, 150:250]
    _, sure = track(before, after)
    assert sure[110:190, 160:240].mean() < 0.15
    assert sure[:80].mean() > 0.9
    assert track(before, scene(3))[1].mean() < 0.2


def test_carrying_goes_by_the_share() -> None:
    before, after = scene(4, 90, 70), scene(5, 90, 70)
    still, none = np.zeros((35, 45, 2), np.float32), np.zeros((35, 45), np.float32)
    np.testing.assert_array_equal(carried(before, after, still, none), after)
    np.testing.assert_array_equal(carried(before, after, still, none + 1), before)
    middle = carried(before, after, still, none + np.float32(0.5)).astype(float)
    assert np.abs(middle - (before.astype(float) + after) / 2).max() <= 1


def test_a_flow_found_small_moves_the_large_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimoto.engines.style_video._ROWS", 13)
    before = scene(6, 120, 90)
    after = np.roll(before, (4, 8), (0, 1))
    small = np.zeros((45, 60, 2), np.float32)
    small[...] = (-4, -2)
    moved = carried(before, np.zeros_like(after), small, np.ones((45, 60), np.float32))
    assert np.abs(moved[20:80, 20:100].astype(int) - after[20:80, 20:100]).max() <= 1
    large = np.zeros((90, 120, 2), np.float32)
    large[...] = (-8, -4)
    valid = np.zeros((90, 120), bool)
    valid[20:80, 20:100] = True
    assert warping_error(before, after, large, valid) < 1e-4
    assert np.abs(warped(before, large)[20:80, 20:100] - after[20:80, 20:100]).max() <= 1


def test_flicker_falls_and_the_picture_stays_sharp() -> None:
    frames = moving_camera(scene(7), 7, (240, 180))
    chance = np.random.default_rng(8)

    def style(photo: Pixels) -> Pixels:
        # Strokes that jump about from frame to frame, as a network's do.
        jump = cv2.GaussianBlur(chance.normal(0, 60, photo.shape), (0, 0), 2)
        return np.clip(255 - photo + jump, 0, 255).astype(np.uint8)

    alone = [style(photo) for photo, _, _ in frames]
    sequence = Frames([glance_at(photo) for photo, _, _ in frames])
    steady = [
        sequence.steadied(n, photo, one.copy())
        for n, ((photo, _, _), one) in enumerate(zip(frames, alone, strict=True))
    ]
    assert flicker(steady, frames) < 0.5 * flicker(alone, frames)
    clean = [255 - photo for photo, _, _ in frames]
    assert sharpness(steady) > 0.7 * sharpness(clean)


def test_a_cut_or_another_size_begins_a_scene_and_a_gap_does_not() -> None:
    one, two = scene(1), 255 - scene(1) // 2
    glances = [glance_at(one), glance_at(one), None, glance_at(one), glance_at(two), glance_at(two, (20, 10))]
    assert scenes(glances) == [0, 0, 0, 0, 1, 2]
    assert scenes([]) == []
    assert scenes([None]) == [0]


def test_the_frames_of_a_scene_share_their_colours() -> None:
    light, dark = scene(1), (scene(1) * 0.9).astype(np.uint8)
    sequence = Frames([glance_at(light), None, glance_at(dark), glance_at(255 - light // 4)])
    shared = sequence.colours(0)
    assert shared is not None
    assert shared is sequence.colours(2) is sequence.colours(1)
    assert shared.mean == pytest.approx((statistics(light).mean + statistics(dark).mean) / 2)
    assert sequence.colours(3) is not shared


def test_a_cut_is_not_blended() -> None:
    one, two = scene(1), 255 - scene(1) // 2
    sequence = Frames([glance_at(one), glance_at(two)])
    sequence.steadied(0, one, one)
    np.testing.assert_array_equal(sequence.steadied(1, two, two), two)


def test_frames_in_files_are_looked_at(tmp_path: Path) -> None:
    photo = odd.plain(tmp_path / "a.jpg", (250, 10, 10), (900, 600))
    seen = glance(photo, lambda size: (size[0] // 2, size[1] // 2))
    assert seen is not None
    assert seen.size == (450, 300)
    assert seen.colours.mean * 255 == pytest.approx((250, 10, 10), abs=3)
    assert glance(odd.text(tmp_path), lambda size: size) is None


def test_tiny_frames_stay_whole() -> None:
    dot = np.full((1, 3, 3), 90, np.uint8)
    sequence = Frames([glance_at(dot), glance_at(dot)])
    sequence.steadied(0, dot, dot)
    np.testing.assert_array_equal(sequence.steadied(1, dot, dot + 10), dot + 2)
