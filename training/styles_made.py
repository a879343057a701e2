"""Paints the style pictures that minimoto ships, from nothing but numbers: run it and they are made anew.

    python -m training.styles_made [--out minimoto/engines/styles] [NAME …]

Nobody's painting was used: every picture is drawn by the functions below, from noise, flow fields, cells and strokes.
They are as free as the rest of the project.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
"""``(H, W, 3)`` RGB or ``(H, W)``, 0..1."""

WIDTH, HEIGHT = 800, 600
X, Y = np.meshgrid(np.linspace(0, WIDTH / HEIGHT, WIDTH, dtype=np.float32), np.linspace(0, 1, HEIGHT, dtype=np.float32))
"""Places in units of the height."""


def noise(seed: int, cells: float, octaves: int = 4, stretch: tuple[float, float] = (1, 1)) -> Picture:
    """Smooth noise of mean 0.5, ``cells`` bumps to the height, halved in size and strength with each octave."""
    chance, total, weight = np.random.default_rng(seed), np.zeros((HEIGHT, WIDTH), np.float32), 0.0
    for octave in range(octaves):
        across = max(2, round(cells * 2**octave * WIDTH / HEIGHT / stretch[0])) + 3
        down = max(2, round(cells * 2**octave / stretch[1])) + 3
        grid = chance.random((down, across), np.float32)
        total += cv2.resize(grid, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) * 0.5**octave
        weight += 0.5**octave
    return total / np.float32(weight)


def ramp(values: Picture, *colours: str) -> Picture:
    """``values`` 0..1 to a colour between the given ``rrggbb``, evenly spaced."""
    stops = np.array([[int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)] for colour in colours], np.float32)
    places = np.linspace(0, 1, len(stops))
    flat = np.clip(values, 0, 1)
    return np.stack([np.interp(flat, places, stops[:, channel]) for channel in range(3)], -1).astype(np.float32)


def smooth(values: Picture, low: float, high: float) -> Picture:
    """0 below ``low``, 1 above ``high``, eased between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def over(below: Picture, above: Picture | tuple[float, float, float], cover: Picture) -> Picture:
    """``above`` laid on ``below`` where ``cover`` is 1."""
    return np.asarray(below + (np.asarray(above, np.float32) - below) * cover[..., None], np.float32)


def blur(picture: Picture, sigma: float) -> Picture:
    """Gaussian blur, pixels."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


def relief(height: Picture, strength: float, angle: float = 2.3) -> Picture:
    """Light on a rough surface: 0 in the mean, brighter on slopes that face the lamp at ``angle``."""
    dy, dx = np.gradient(height)
    light = (np.cos(angle) * dx + np.sin(angle) * -dy) * strength
    return np.asarray(np.tanh(light), np.float32)


def landscape(seed: int, sky: tuple[str, ...], land: tuple[str, ...], sun: str, level: float = 0.55) -> Picture:
    """Sky with a sun, hills behind hills, and a path of light: something to be painted."""
    haze = noise(seed, 3, 5, (3, 1))
    scene = ramp(Y / level + (haze - 0.5) * 0.5, *sky)
    far = np.hypot(X - 0.86, Y - level * 0.52)
    scene = over(scene, ramp(far * 0, sun), smooth(-far, -0.13, -0.11))
    scene = over(scene, ramp(far * 0, sun), np.exp(-(far**2) / 0.05).astype(np.float32) * 0.55)
    for hill in range(4):
        crest = level + hill * 0.12 - 0.05 + 0.24 * (noise(seed + 10 + hill, 1.6 + hill * 0.6, 4)[:1] - 0.5)
        depth = ramp((Y - crest) * 2.2 + (noise(seed + 30 + hill, 9) - 0.5) * 0.8 + hill * 0.16, *land)
        scene = over(scene, depth, smooth(Y - crest, -0.002, 0.003))
    return scene


def strokes(
    scene: Picture,
    angles: Picture,
    count: int,
    length: float,
    width: float,
    seed: int,
    jitter: float = 0.06,
    under: Picture | None = None,
) -> tuple[Picture, Picture]:
    """``scene`` painted with brush strokes that follow ``angles``, the last on top; and the height of the paint.

    Parameters:
        length, width: of a stroke, pixels; widths vary by half.
        jitter: how much a stroke's colour may leave the scene's.
    """
    chance = np.random.default_rng(seed)
    canvas = np.ascontiguousarray(scene if under is None else under)
    height = np.zeros((HEIGHT, WIDTH), np.float32)
    for _ in range(count):
        x, y = chance.uniform(0, WIDTH), chance.uniform(0, HEIGHT)
        colour = scene[int(y), int(x)] * (1 + chance.normal(0, jitter)) + chance.normal(0, jitter * 0.22, 3)
        thick = max(1, round(width * chance.uniform(0.5, 1.2)))
        path = _follow(angles, x, y, length * chance.uniform(0.6, 1.2))
        cv2.polylines(canvas, [path], False, np.clip(colour, 0, 1).tolist(), thick, cv2.LINE_AA, 4)
        cv2.polylines(height, [path], False, float(chance.uniform(0.3, 0.7)), thick, cv2.LINE_AA, 4)
        for _ in range(max(1, thick // 2)):
            aside = chance.normal(0, thick / 4, 2)
            moved = (path + np.round(aside * 16)).astype(np.int32)
            hair = np.clip(colour * (1 + chance.normal(0, 0.16)), 0, 1).tolist()
            cv2.polylines(canvas, [moved], False, hair, 1, cv2.LINE_AA, 4)
            cv2.polylines(height, [moved], False, float(chance.uniform(0.1, 1)), 1, cv2.LINE_AA, 4)
    return canvas, height


def _follow(angles: Picture, x: float, y: float, length: float, step: float = 3.0) -> NDArray[np.int32]:
    points = []
    for _ in range(max(2, int(length / step))):
        points.append((x * 16, y * 16))
        angle = angles[min(max(int(y), 0), HEIGHT - 1), min(max(int(x), 0), WIDTH - 1)]
        x, y = x + float(np.cos(angle)) * step, y + float(np.sin(angle)) * step
    return np.round(points).astype(np.int32)


def cells(points: NDArray[np.float32]) -> tuple[NDArray[np.int64], Picture]:
    """Which of ``points`` (pixels, x and y) is nearest to each pixel, and how far its cell's edge is, in pixels."""
    where = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), -1).reshape(-1, 2).astype(np.float32)
    finder = cv2.flann.Index(points.astype(np.float32), {"algorithm": 1, "trees": 1})
    near, squares = finder.knnSearch(where, 2, params={"checks": 64})
    first, second = points[near[:, 0]], points[near[:, 1]]
    apart = np.maximum(np.hypot(*(first - second).T), 1e-3)
    edge = (squares[:, 1] - squares[:, 0]) / (2 * apart)
    return near[:, 0].reshape(HEIGHT, WIDTH).astype(np.int64), edge.reshape(HEIGHT, WIDTH).astype(np.float32)


def spread(spacing: float, seed: int, jitter: float = 0.7) -> NDArray[np.float32]:
    """Points about ``spacing`` pixels apart, on a loosened hexagonal grid."""
    chance = np.random.default_rng(seed)
    xs, ys = np.meshgrid(np.arange(-1, WIDTH / spacing + 1), np.arange(-1, HEIGHT / spacing * 1.15 + 2))
    points = np.stack([(xs + 0.5 * (ys % 2)) * spacing, ys * spacing * 0.87], -1).reshape(-1, 2)
    return np.asarray(points + chance.uniform(-jitter / 2, jitter / 2, points.shape) * spacing, np.float32)


def paper(seed: int, strength: float) -> Picture:
    """The grain of rough paper: 0 in the mean."""
    return (relief(noise(seed, 90, 3), 9) * strength).astype(np.float32)


def ink() -> Picture:
    """Ink wash: mountains in mist on warm paper, a pine, a red seal."""
    canvas = ramp(noise(1, 2), "f1e8d3", "e4d8bd")
    for layer in range(6):
        # Ridges are noise folded at its middle.
        ridge = 1 - np.abs(2 * noise(40 + layer, 1.3 + 0.5 * layer, 6)[300:301] - 1)
        crest = 0.2 + layer * 0.13 - 0.34 * (ridge - 0.55) + 0.012 * (noise(70 + layer, 20)[300:301] - 0.5)
        below = Y - crest
        tone = np.exp(-np.maximum(below, 0) / (0.11 + 0.02 * layer)) * (0.25 + 0.13 * layer)
        tone = tone * (0.75 + 0.6 * (noise(90 + layer, 14, 4, (0.35, 1.6)) - 0.5))
        line = np.exp(-((below - 0.003) ** 2) / 2.5e-5) * 0.35 * smooth(noise(110 + layer, 8), 0.4, 0.6)
        cover = smooth(below, -0.004, 0.004) * tone + line
        canvas = over(canvas, (0.1, 0.1, 0.13), np.clip(cover, 0, 0.97).astype(np.float32))
        canvas = over(canvas, (0.945, 0.91, 0.83), smooth(-np.abs(below - 0.2), -0.1, 0) * 0.35)
    canvas = _pine(canvas)
    stroke = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.rectangle(stroke, (705, 505), (747, 555), 1.0, -1)
    for at in (((715, 517), (737, 517)), ((726, 512), (726, 548)), ((715, 532), (737, 546)), ((737, 530), (715, 546))):
        cv2.line(stroke, *at, 0.1, 3, cv2.LINE_AA)
    canvas = over(canvas, (0.72, 0.13, 0.1), blur(stroke, 0.8) * (0.75 + 0.4 * (noise(9, 60) - 0.5)))
    return canvas + paper(3, 0.05)[..., None]


def _pine(canvas: Picture) -> Picture:
    chance, cover = np.random.default_rng(8), np.zeros((HEIGHT, WIDTH), np.float32)
    trunk = [(60, 600), (92, 500), (82, 420), (120, 340), (108, 268), (150, 200)]
    for (x, y), (u, v), thick in zip(trunk, trunk[1:], (22, 18, 14, 10, 6), strict=False):
        cv2.line(cover, (x, y), (u, v), 0.9, thick, cv2.LINE_AA)
    for x, y, reach in [(150, 200, 120), (112, 270, 170), (118, 340, -100), (84, 420, 150), (150, 215, -110)]:
        end = (x + reach, y - 30)
        cv2.line(cover, (x, y), end, 0.85, 5, cv2.LINE_AA)
        for _ in range(320):
            t, spreading = chance.uniform(0.25, 1.1), chance.normal(0, 11)
            px, py = x + reach * t + chance.normal(0, 12), y - 30 * t - abs(spreading)
            angle = chance.uniform(-2.8, -0.3)
            tip = (round(px + 13 * np.cos(angle)), round(py + 13 * np.sin(angle)))
            cv2.line(cover, (round(px), round(py)), tip, chance.uniform(0.5, 0.95), 1, cv2.LINE_AA)
    return over(canvas, (0.07, 0.07, 0.09), blur(cover, 0.6))


def mosaic() -> Picture:
    """Small stone tiles in grout, gold among them."""
    scene = landscape(
        5, ("0e3f7a", "2f8fc0", "9fd3cf", "f4d58a"), ("2f7a4c", "8fb24a", "d98b2b", "a83b22", "4a1d3a"), "ffd34d"
    )
    scene = np.asarray(cv2.medianBlur((np.clip(scene, 0, 1) * 255).astype(np.uint8), 15), np.float32) / 255
    points = spread(15, 2, 0.55)
    owner, edge = cells(points)
    at = np.clip(points.round().astype(int), 0, (WIDTH - 1, HEIGHT - 1))
    chance = np.random.default_rng(4)
    colours = scene[at[:, 1], at[:, 0]] * chance.normal(1, 0.13, (len(at), 1)) + chance.normal(0, 0.035, (len(at), 3))
    gold = chance.random(len(at)) < 0.05
    colours[gold] = (0.93, 0.74, 0.25)
    colours = np.clip(colours, 0.02, 1).astype(np.float32)
    tilt = chance.normal(0, 0.06, (len(at), 2)).astype(np.float32)
    offset = (np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), -1) - points[owner]) / 8
    shine = (tilt[owner] * offset).sum(-1)
    canvas = colours[owner] * (1 + shine[..., None]) + 0.18 * relief(np.minimum(edge, 4.0), 0.8)[..., None]
    canvas = canvas + (noise(6, 70, 2)[..., None] - 0.5) * 0.1
    grout = ramp(noise(7, 60), "57504a", "8d8478")
    return over(grout, canvas.astype(np.float32), smooth(edge, 0.9, 2.0))


def glass() -> Picture:
    """Stained glass: lead lines around luminous panes, in a rose."""
    far, turn = np.hypot(X - 0.667, Y - 0.5), np.arctan2(Y - 0.5, X - 0.667)
    chance = np.random.default_rng(11)
    points = [np.array([[400.0, 300.0]])]
    for ring, (radius, panes) in enumerate([(52, 8), (108, 16), (172, 16), (240, 32), (318, 32), (400, 48), (480, 48)]):
        angles = (np.arange(panes) + 0.5 * (ring % 2)) * 2 * np.pi / panes
        reach = radius + chance.normal(0, 3, panes)
        points.append(np.stack([400 + reach * np.cos(angles), 300 + reach * np.sin(angles)], -1))
    places = np.concatenate(points).astype(np.float32)
    owner, edge = cells(places)
    radii = np.hypot(places[:, 0] - 400, places[:, 1] - 300) / 480
    picks = ["c8102e", "0b4fb3", "f2b705", "0f8a5f", "6a1b9a", "e8641b", "1499c9", "8e0f3c"]
    choice = (np.round(radii * 7).astype(int) * 3 + chance.integers(0, 3, len(places))) % len(picks)
    panes = np.stack([ramp(np.zeros(1, np.float32), picks[index])[0] for index in choice])
    panes = panes * chance.uniform(0.75, 1.25, (len(places), 1))
    streaks = noise(12, 5, 5, (4, 0.6)) - 0.5
    light = 1.15 - 0.6 * far + 0.55 * streaks + 0.06 * np.sin(turn * 40 + far * 60)
    canvas = panes[owner].astype(np.float32) * light[..., None] + 0.22 * np.exp(-(far**2) / 0.02)[..., None]
    canvas = canvas + 0.10 * (blur(np.asarray(canvas, np.float32), 18))
    width = 3.2 + 1.2 * (noise(13, 12) - 0.5)
    lead = 0.09 + 0.12 * np.maximum(relief(-np.minimum(edge, 4), 1.2), 0)
    glow = blur(np.asarray(canvas, np.float32), 5)
    canvas = np.maximum(canvas, 0.8 * glow)
    return over(
        np.repeat(lead[..., None], 3, 2).astype(np.float32), canvas.astype(np.float32), smooth(edge - width, -0.7, 0.7)
    )


def woodblock() -> Picture:
    """A woodblock print: waves in rows, outlined, in Prussian blue on paper."""
    canvas = ramp(Y * 1.5 + 0.05 * noise(21, 3), "f3d9b1", "f6e6c8", "f2ead6")
    far = np.hypot(X - 0.95, Y - 0.2)
    canvas = over(canvas, (0.80, 0.25, 0.16), smooth(-far, -0.112, -0.109))
    clouds = smooth(noise(22, 4, 3, (5, 1)) - np.abs(Y - 0.28), 0.45, 0.46)
    canvas = over(canvas, (0.86, 0.82, 0.74), clouds)
    for row in range(13):
        canvas = _wave_row(canvas, row)
    ink_grain = smooth(noise(28, 25, 3, (6, 0.5)), 0.25, 0.6)
    return canvas * (0.93 + 0.07 * ink_grain[..., None]) + paper(29, 0.035)[..., None]


def _wave_row(canvas: Picture, row: int) -> Picture:
    base = 0.34 + row * 0.058 + 0.05 * np.sin(X * (2.2 + 0.13 * row) + row * 2.1)
    pitch = 0.17 + 0.011 * row
    phase = X / pitch + 0.5 * (row % 2) + 0.35 * np.sin(row)
    local = (phase - np.floor(phase)) - 0.5
    lean = local + 0.22 * np.sin(np.pi * (local + 0.5))
    crest = base - pitch * 0.62 * np.sqrt(np.clip(0.25 - (np.clip(lean, -0.5, 0.5)) ** 2, 0, 1))
    below = Y - crest
    deep = ramp(below / (pitch * 1.1) + 0.05 * row, "8fb8c9", "3f7ea6", "174a7c", "0d2c54")
    canvas = over(canvas, deep, smooth(below, -0.0015, 0.0015))
    shell = np.hypot(local * pitch, Y - base) / pitch
    rings = np.abs((shell * 9) % 1 - 0.5)
    canvas = over(
        canvas,
        (0.94, 0.93, 0.87),
        smooth(rings, 0.36, 0.4) * smooth(below, 0, 0.004) * smooth(0.5 - shell, 0, 0.05) * 0.9,
    )
    foam = smooth(-np.abs(below - 0.006), -0.0065, -0.004) * smooth(noise(220 + row, 26, 2), 0.3, 0.36)
    canvas = over(canvas, (0.97, 0.95, 0.9), foam)
    return over(canvas, (0.05, 0.12, 0.25), smooth(-np.abs(below + 0.001), -0.0032, -0.0018))


def points() -> Picture:
    """Points of pure colour, beside each other, that mix in the eye."""
    scene = landscape(
        31, ("6a7fd0", "a9b8ea", "f6d9c0", "ffe9a8"), ("4f9a57", "8cc069", "d9c25a", "c76f4e", "5a4a8a"), "fff0a0", 0.5
    )
    chance = np.random.default_rng(32)
    canvas = ramp(noise(33, 3), "efe6d6", "e6dccb")
    for size, spacing, loose in ((5, 6.5, 1.0), (4, 6.0, 1.2), (3, 5.5, 1.4)):
        for x, y in spread(spacing, 34 + size, loose)[chance.permutation(len(spread(spacing, 34 + size, loose)))]:
            px, py = min(max(int(x), 0), WIDTH - 1), min(max(int(y), 0), HEIGHT - 1)
            colour = scene[py, px]
            grey = colour.mean()
            pure = grey + (colour - grey) * chance.uniform(1.0, 2.2)
            if chance.random() < 0.16:
                pure = grey * 0.9 - (colour - grey) * 0.9
            pure = np.clip(pure + chance.normal(0, 0.07, 3), 0, 1)
            cv2.circle(
                canvas,
                (round(x * 16), round(y * 16)),
                round(size * 8 * chance.uniform(0.8, 1.15)),
                pure.tolist(),
                -1,
                cv2.LINE_AA,
                4,
            )
    return canvas + paper(36, 0.04)[..., None]


def swirl() -> Picture:
    """Oil in whirls: a night of turning stars, thick paint."""
    angles = np.zeros((HEIGHT, WIDTH), np.complex64) + np.exp(1j * (0.25 * np.sin(X * 4) + 0.2 * np.sin(Y * 7 + X)))
    glow = np.zeros((HEIGHT, WIDTH), np.float32)
    for x, y, size, way in [
        (0.28, 0.22, 0.16, 1),
        (0.72, 0.36, 0.22, -1),
        (1.12, 0.18, 0.13, 1),
        (0.45, 0.55, 0.1, 1),
        (1.15, 0.52, 0.12, -1),
    ]:
        dx, dy = X - x, Y - y
        far = np.hypot(dx, dy)
        angles += 5 * np.exp(-((far / size) ** 2)) * way * (-dy + 1j * dx) / np.maximum(far, 1e-3)
        glow += np.exp(-((far / (size * 0.42)) ** 2)) + 0.55 * np.exp(-(((far - size * 0.75) / (size * 0.12)) ** 2))
    direction = np.angle(angles).astype(np.float32)
    sky = ramp(0.55 * noise(41, 3) + 0.5 * (1 - Y), "0b1d4d", "123a7d", "1f63ad", "4b9ac9", "9cc9d6")
    scene = over(sky, ramp(glow, "f3c23a", "ffe58a", "fff6cf"), np.clip(glow, 0, 1))
    crest = 0.74 + 0.16 * (noise(42, 2)[:1] - 0.5)
    hills = ramp(noise(43, 6), "0d1b33", "17375a", "2f5d52", "6f8f45")
    scene = over(scene, hills, smooth(Y - crest, -0.005, 0.005))
    base, _ = strokes(scene, direction, 5000, 40, 11, 44, 0.08)
    canvas, height = strokes(scene, direction, 9000, 34, 6, 45, 0.11, base)
    return canvas + 0.16 * relief(blur(height, 0.7), 2.5)[..., None]


def pencil() -> Picture:
    """Graphite hatching, crossed where it is dark, on drawing paper."""
    scene = landscape(51, ("9a9a9a", "e8e8e8", "ffffff"), ("d0d0d0", "808080", "404040", "101010"), "ffffff", 0.5).mean(
        -1
    )
    ball = np.clip(1 - np.hypot((X - 0.42) / 0.21, (Y - 0.63) / 0.21), 0, 1)
    lit = 0.25 + 0.75 * np.clip(1 - np.hypot(X - 0.35, Y - 0.54) / 0.3, 0, 1)
    scene = np.where(ball > 0, lit, scene) * (
        1 - 0.7 * np.exp(-(((X - 0.5) / 0.24) ** 2 + ((Y - 0.86) / 0.035) ** 2)) * (ball <= 0)
    )
    chance, dark = np.random.default_rng(52), np.zeros((HEIGHT, WIDTH), np.float32)
    for angle, level, count in ((-0.8, 0.86, 9500), (0.75, 0.6, 8500), (-0.15, 0.42, 7000), (1.5, 0.28, 6000)):
        for _ in range(count):
            x, y = chance.uniform(-20, WIDTH + 20), chance.uniform(-20, HEIGHT + 20)
            tone = scene[min(max(int(y), 0), HEIGHT - 1), min(max(int(x), 0), WIDTH - 1)]
            if tone > level + chance.normal(0, 0.05):
                continue
            a, reach = angle + chance.normal(0, 0.05), chance.uniform(10, 24)
            dx, dy = np.cos(a) * reach, np.sin(a) * reach
            stroke = np.array([[x - dx, y - dy], [x + chance.normal(0, 1), y + chance.normal(0, 1)], [x + dx, y + dy]])
            layer = float(np.clip(0.4 + (level - tone) * 1.2, 0.35, 1))
            cv2.polylines(
                dark, [np.round(stroke * 16).astype(np.int32)], False, layer, 1 + (tone < 0.3), cv2.LINE_AA, 4
            )
    edges = np.hypot(*np.gradient(blur(scene.astype(np.float32), 1.2)))
    dark = np.maximum(dark, smooth(edges.astype(np.float32), 0.03, 0.1) * (0.5 + noise(53, 20) * 0.6))
    tooth = smooth(noise(54, 150, 2), 0.25, 0.6)
    canvas = over(
        ramp(noise(55, 2), "f4f1ea", "ece8de"), (0.16, 0.16, 0.19), np.clip(blur(dark, 0.5) * (0.7 + 0.4 * tooth), 0, 1)
    )
    return canvas + paper(56, 0.03)[..., None]


def watercolour() -> Picture:
    """Washes that run into each other, darker at their edges, on cold-pressed paper."""
    canvas = ramp(noise(61, 2), "fbf8f1", "f4efe4")
    chance = np.random.default_rng(62)
    hues = ["2a6f97", "61a5c2", "e07a5f", "f2cc8f", "81b29a", "b56576", "6d597a", "355070", "e9c46a", "90be6d"]
    wobble_x, wobble_y = (noise(seed, 4, 6) - 0.5 for seed in (63, 64))
    for wash in range(34):
        cx, cy = chance.uniform(0, 1.33), chance.uniform(0, 1)
        size, flat = chance.uniform(0.08, 0.28), chance.uniform(0.35, 1.1)
        far = np.hypot(X - cx + wobble_x * 0.3, (Y - cy + wobble_y * 0.3) / flat) / size
        far = far + 0.5 * (noise(600 + wash, 5, 6) - 0.5)
        soft = chance.choice([0.02, 0.03, 0.35])
        inside = smooth(1 - far, 0, soft)
        rim = np.exp(-(((far - 0.985) / 0.02) ** 2)) * (0.5 if soft < 0.1 else 0.0)
        pigment = 0.3 + 0.5 * noise(640 + wash, 3, 5) + 0.25 * (noise(680 + wash, 60, 3) - 0.5)
        density = np.clip(inside * pigment * chance.uniform(0.5, 1.0) + rim * inside, 0, 1).astype(np.float32)
        colour = ramp(noise(720 + wash, 2), hues[wash % len(hues)], hues[(wash * 3 + 1) % len(hues)])
        # Pigment absorbs: washes multiply (Lambert and Beer).
        canvas = canvas * np.exp(density[..., None] * np.log(np.maximum(colour, 0.03)) * 0.95)
    drops = smooth(noise(65, 30, 1), 0.93, 0.97)
    canvas = over(canvas.astype(np.float32), (0.97, 0.95, 0.9), drops * 0.6)
    return canvas + paper(66, 0.07)[..., None]


def knife() -> Picture:
    """Thick slabs of autumn colour, laid with a palette knife."""
    scene = landscape(
        71, ("274060", "5b8aa8", "e8b04a", "f7d794"), ("c8502a", "e58a2c", "8a2c1f", "4a3b2a", "d9b13b"), "fff1b8", 0.45
    )
    chance, canvas = np.random.default_rng(72), np.ascontiguousarray(blur(scene, 6))
    height = np.zeros((HEIGHT, WIDTH), np.float32)
    tilt = noise(73, 2.5) * 2.4 - 1.2
    for size, count in ((62, 500), (38, 1500), (22, 2600)):
        for _ in range(count):
            x, y = chance.uniform(0, WIDTH), chance.uniform(0, HEIGHT)
            angle = tilt[int(y), int(x)] + chance.normal(0, 0.25) + (np.pi / 2 if chance.random() < 0.2 else 0)
            long, wide = size * chance.uniform(0.5, 1.1), size * chance.uniform(0.2, 0.42)
            along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
            corners = [
                (x, y) + long * a * along + wide * b * across for a, b in ((-1, -1), (1, -0.8), (1.05, 0.9), (-0.95, 1))
            ]
            slab = np.round(np.array(corners) * 16).astype(np.int32)
            colour = scene[int(y), int(x)] * chance.normal(1, 0.13) + chance.normal(0, 0.045, 3)
            cv2.fillConvexPoly(canvas, slab, np.clip(colour, 0, 1).tolist(), cv2.LINE_AA, 4)
            cv2.fillConvexPoly(height, slab, float(chance.uniform(0, 1)), cv2.LINE_AA, 4)
            for _ in range(int(wide / 2)):
                b = chance.uniform(-0.9, 0.9)
                ends = [(x, y) + long * a * along + wide * b * across for a in (-0.95, chance.uniform(0.3, 1))]
                line = np.round(np.array(ends) * 16).astype(np.int32)
                cv2.polylines(
                    canvas, [line], False, np.clip(colour * chance.normal(1, 0.1), 0, 1).tolist(), 1, cv2.LINE_AA, 4
                )
                cv2.polylines(height, [line], False, float(chance.uniform(0, 1)), 1, cv2.LINE_AA, 4)
    return canvas + 0.14 * relief(blur(height, 0.8), 2.2)[..., None]


STYLES: dict[str, Callable[[], Picture]] = {
    "glass": glass,
    "ink": ink,
    "knife": knife,
    "mosaic": mosaic,
    "pencil": pencil,
    "points": points,
    "swirl": swirl,
    "watercolour": watercolour,
    "woodblock": woodblock,
}


def main() -> None:
    """Paint what is asked for."""
    from PIL import Image

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "minimoto" / "engines" / "styles")
    arguments.add_argument("--quality", type=int, default=88)
    arguments.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(STYLES)}; all when none is given")
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or STYLES:
        pixels = np.round(np.clip(STYLES[name](), 0, 1) * 255).astype(np.uint8)
        path = options.out / f"{name}.jpg"
        Image.fromarray(pixels).save(path, quality=options.quality, optimize=True)
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
