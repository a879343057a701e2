"""Draws pictures of sharp edges for ``training.upscale``: leaves laid on each other, veins, stripes, cells and letters.

    python -m training.upscale_drawn --out FOLDER [--count 160] [--seed 1]

Photos of a few hundred pixels a side hold few long clean edges, and those are where a network that learnt from them
alone falls behind: wings of butterflies, stripes, print. Dead leaves have the edges and the sizes of natural pictures
(Lee, Mumford and Huang 2001) and teach networks of restoration almost as well as photos (Achddou et al. 2023). All is
drawn four times as large and averaged, so that edges lie anywhere between pixels, and most of it is blurred a little,
as lenses do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.float32]
"""``(H, W, 3)`` RGB or ``(H, W)``, 0..1."""
Draw = Callable[[np.random.Generator], Picture]

SIDE = 512
FINE = 4
"""Times as large as it is kept that a picture is drawn."""
DRAWN = SIDE * FINE
FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)  # fmt: skip
LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;-+=()&%?!/"))


def colour(chance: np.random.Generator) -> tuple[float, float, float]:
    """A colour: grey ones and strong ones, dark and light."""
    light, strength = chance.uniform(), chance.beta(1.2, 2.5)
    red, green, blue = light + strength * (chance.uniform(size=3) - light)
    return float(red), float(green), float(blue)


def noise(chance: np.random.Generator, cells: float, side: int = 0) -> Picture:
    """Smooth noise of mean 0 and deviation about 1, ``cells`` bumps to the side, as large as pictures are drawn."""
    side = side or DRAWN
    count = max(2, round(cells)) + 3
    grid = chance.standard_normal((count, count)).astype(np.float32)
    inner = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(inner / max(float(inner.std()), 1e-6), np.float32)


def flat(chance: np.random.Generator) -> Picture:
    """A ground of two colours that pass into each other."""
    share = 1 / (1 + np.exp(-noise(chance, chance.uniform(1, 5))))
    a, b = (np.array(colour(chance), np.float32) for _ in range(2))
    return np.asarray(a + (b - a) * share[..., None], np.float32)


def blob(chance: np.random.Generator, centre: NDArray[np.float64], radius: float) -> NDArray[np.int32]:
    """The outline of a leaf: an ellipse with waves, or a polygon of few corners; 1/16 pixels, ``(n, 1, 2)``."""
    corners = int(chance.integers(3, 7)) if chance.uniform() < 0.35 else 96
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False) + chance.uniform(0, 2 * np.pi)
    reach = np.ones(corners)
    if corners > 6:
        for wave in range(2, 6):
            reach += chance.normal(0, 0.25 / wave) * np.cos(wave * angle + chance.uniform(0, 2 * np.pi))
    else:
        reach = chance.uniform(0.6, 1.2, corners)
    turn, thin = chance.uniform(0, np.pi), chance.uniform(0.25, 1)
    x, y = reach * np.cos(angle), thin * reach * np.sin(angle)
    across = centre[0] + radius * (x * np.cos(turn) - y * np.sin(turn))
    down = centre[1] + radius * (x * np.sin(turn) + y * np.cos(turn))
    return np.rint(np.stack([across, down], -1) * 16).astype(np.int32)[:, None]


def leaves(chance: np.random.Generator) -> Picture:
    """Leaves of all sizes, small ones most often, some of them with a rim, the last ones on top."""
    canvas = flat(chance)
    least, most = 5.0 * FINE, 0.35 * DRAWN
    for _ in range(int(chance.integers(150, 700))):
        # Areas by a power of -1.5: radii by one of -3, as in natural pictures.
        share = chance.uniform()
        radius = (least**-2 + share * (most**-2 - least**-2)) ** -0.5
        outline = blob(chance, chance.uniform(-0.1, 1.1, 2) * DRAWN, radius)
        cv2.fillPoly(canvas, [outline], colour(chance), cv2.LINE_8, 4)
        if chance.uniform() < 0.25:
            cv2.polylines(canvas, [outline], True, colour(chance), int(chance.uniform(1, 4) * FINE), cv2.LINE_8, 4)
    return canvas


def wings(chance: np.random.Generator) -> Picture:
    """Cells between dark veins, each with its own passing colour, and spots along the rims."""
    count = int(chance.integers(12, 90))
    places = chance.uniform(0, DRAWN // 2, (count, 2))
    bend = [noise(chance, 5, DRAWN // 2) * chance.uniform(0, 30) for _ in range(2)]
    y, x = np.mgrid[: DRAWN // 2, : DRAWN // 2].astype(np.float32)
    x, y = x + bend[0], y + bend[1]
    nearest = np.full(x.shape, np.inf, np.float32)
    second = nearest.copy()
    owner = np.zeros(x.shape, np.int32)
    for i, (left, top) in enumerate(places):
        away = np.hypot(x - np.float32(left), y - np.float32(top))
        closer = away < nearest
        second = np.where(closer, nearest, np.minimum(second, away))
        owner[closer] = i
        nearest = np.minimum(nearest, away)
    rim = cv2.resize(second - nearest, (DRAWN, DRAWN), interpolation=cv2.INTER_LINEAR)
    owners = cv2.resize(owner, (DRAWN, DRAWN), interpolation=cv2.INTER_NEAREST)
    colours = np.array([colour(chance) for _ in range(count)], np.float32)
    if chance.uniform() < 0.7:
        colours = colours[0] + 0.25 * (colours - colours[0])
    canvas = np.clip(colours[owners] * (1 + 0.25 * noise(chance, 12)[..., None]), 0, 1)
    canvas[rim < chance.uniform(2, 9) * FINE] = colour(chance) if chance.uniform() < 0.4 else (0.05, 0.04, 0.04)
    for _ in range(int(chance.integers(0, 120))):
        centre = tuple(int(v) for v in chance.uniform(0, DRAWN * 16, 2))
        cv2.circle(canvas, centre, int(chance.uniform(2, 10) * FINE * 16), colour(chance), -1, cv2.LINE_8, 4)
    return np.asarray(canvas, np.float32)


def stripes(chance: np.random.Generator) -> Picture:
    """Where waves, bent by noise, are above a level one picture, else another: zebras, fingerprints, woodcuts."""
    y, x = np.mgrid[:DRAWN, :DRAWN].astype(np.float32) / DRAWN
    turn, count = chance.uniform(0, np.pi), chance.uniform(6, 45)
    along = x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn))
    bent = 2 * np.pi * count * along + chance.uniform(0.5, 6) * noise(chance, chance.uniform(2, 7))
    above = np.sin(bent) > chance.uniform(-0.6, 0.6) + 0.5 * noise(chance, 4)
    return np.where(above[..., None], flat(chance), flat(chance))


def spots(chance: np.random.Generator) -> Picture:
    """Patches with the outlines of noise of one size, and finer ones in them."""
    canvas = flat(chance)
    for cells in chance.uniform(8, 70, int(chance.integers(1, 4))):
        inside = noise(chance, cells) > chance.uniform(0, 1.2)
        canvas = np.where(inside[..., None], flat(chance), canvas)
    return canvas


def print_(chance: np.random.Generator) -> Picture:
    """Lines of letters on a page, with rules and boxes, as on slides and signs."""

    def ink() -> tuple[float, ...]:
        return tuple(round(255 * v) for v in colour(chance))

    page = ink() if chance.uniform() < 0.5 else (255,) * 3 if chance.uniform() < 0.7 else (0,) * 3
    canvas = np.full((DRAWN, DRAWN, 3), page, np.uint8)
    for _ in range(int(chance.integers(0, 12))):
        a, b = (tuple(int(v) for v in chance.uniform(0, DRAWN, 2)) for _ in range(2))
        width = -1 if chance.uniform() < 0.4 else int(chance.uniform(1, 4) * FINE)
        cv2.rectangle(canvas, a, b, ink(), width)
    down = chance.uniform(0, 40) * FINE
    while down < DRAWN:
        size = chance.choice([9, 12, 16, 22, 30, 48]) * FINE
        down += size * chance.uniform(1.2, 2)
        words = " ".join("".join(chance.choice(LETTERS, chance.integers(1, 10))) for _ in range(12))
        font, thick = int(chance.choice(FONTS)), max(1, round(size * chance.uniform(0.06, 0.2)))
        place = int(chance.uniform(-20, 60) * FINE), int(down)
        shade = ink() if chance.uniform() < 0.6 or page == (0,) * 3 else (0,) * 3
        cv2.putText(canvas, words, place, font, size / 30, shade, thick, cv2.LINE_AA)
    return np.asarray(canvas / np.float32(255), np.float32)


def veins(chance: np.random.Generator) -> Picture:
    """Curves of every width over a ground: branches, hair, ropes, pencil."""
    canvas = spots(chance) if chance.uniform() < 0.4 else flat(chance)
    for _ in range(int(chance.integers(40, 260))):
        steps = 60
        heading = chance.uniform(0, 2 * np.pi) + np.cumsum(chance.normal(0, 0.06, steps) + chance.normal(0, 0.03))
        stride = chance.uniform(4, 16) * FINE / 2
        x = chance.uniform(0, DRAWN) + np.cumsum(stride * np.cos(heading))
        y = chance.uniform(0, DRAWN) + np.cumsum(stride * np.sin(heading))
        line = np.rint(np.stack([x, y], -1) * 16).astype(np.int32)[:, None]
        width = max(1, round(float(FINE * np.exp(chance.uniform(np.log(0.7), np.log(9))))))
        cv2.polylines(canvas, [line], False, colour(chance), width, cv2.LINE_8, 4)
    return canvas


KINDS: tuple[Draw, ...] = (leaves, wings, stripes, spots, print_, veins, leaves, wings)
"""In turn; those that teach most come twice."""


def finished(canvas: Picture, chance: np.random.Generator) -> NDArray[np.uint8]:
    """The picture as it is kept: blurred as by a lens, averaged down, shaded, ``(SIDE, SIDE, 3)``."""
    sharpness = chance.uniform(0, 0.9) * FINE
    soft = cv2.GaussianBlur(canvas, (0, 0), sharpness) if sharpness > 1 else canvas
    small = cv2.resize(np.clip(soft, 0, 1), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    shaded = small * (1 + chance.uniform(0, 0.15) * noise(chance, chance.uniform(1, 30), SIDE)[..., None])
    return np.rint(np.clip(shaded, 0, 1) * 255).astype(np.uint8)


def draw(number: int, seed: int = 1) -> NDArray[np.uint8]:
    """Picture ``number`` of the set of ``seed``, ``(SIDE, SIDE, 3)`` RGB."""
    chance = np.random.default_rng((seed, number))
    return finished(KINDS[number % len(KINDS)](chance).astype(np.float32), chance)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=160)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for number in range(args.count):
        Image.fromarray(draw(number, args.seed)).save(args.out / f"{number:04}.png")


if __name__ == "__main__":
    main()
