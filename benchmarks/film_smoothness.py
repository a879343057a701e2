"""How evenly a point moves in a zoom: ours, zoompan's and moviepy's, in pixels off the path.

    python -m benchmarks.film_smoothness

A soft spot on grey is zoomed over for 4 s at 1080p30 and found again in each raw frame by its centre of mass. Printed
is how far it is off the place that the way's own path gives it, and how much that changes from one frame to the next,
which is what is seen as trembling. editly, which needs Node with native modules, is not run; 0.03 to 0.10 px was seen.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.film_work import SETTINGS
from benchmarks.measure import machine, versions
from minimoto.engines.film_frame import empty, from_rgb, planes
from minimoto.engines.film_motion import path
from minimoto.engines.film_slide import canvas_size
from minimoto.engines.film_zoom import Zoom
from minimoto.media import ffmpeg_path

SHOWN = int(SETTINGS.fps * SETTINGS.seconds)
LIMIT = 0.05

Way = Iterator[tuple[NDArray[Any], tuple[float, float]]]
"""Frames, grey, and where the spot should be in each, (x, y)."""


def spot(size: tuple[int, int], centre: tuple[float, float], sigma: float = 12.0) -> NDArray[np.uint8]:
    """A soft white spot on grey, RGB."""
    y, x = np.mgrid[: size[1], : size[0]].astype(float)
    level = 40 + 200 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
    return np.repeat((level + 0.5).astype(np.uint8)[..., None], 3, 2)


def found(grey: NDArray[Any]) -> tuple[float, float]:
    """The centre of mass of what is clearly above the grey around it."""
    weight = np.clip(grey.astype(float) - np.median(grey) - 12, 0, None)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    return float((weight * x).sum() / weight.sum()), float((weight * y).sum() / weight.sum())


def ours(canvas: NDArray[np.uint8], centre: tuple[float, float]) -> Way:
    """Our zoom."""
    way = path(0, SETTINGS.seed)
    zoom, out = Zoom(from_rgb(canvas), way.focus, SETTINGS.size), empty(SETTINGS.size)
    for frame in range(SHOWN):
        scale = way.scale(frame / (SHOWN - 1))
        view = zoom.view(scale)
        yield planes(zoom.draw(scale, out))[0], ((centre[0] - view.left) / scale, (centre[1] - view.top) / scale)


def zoompan(canvas: NDArray[np.uint8], centre: tuple[float, float]) -> Way:
    """ffmpeg's filter along the same path."""
    (width, height), across, way = SETTINGS.size, canvas.shape[1], path(0, SETTINGS.seed)
    at = f"(on/{SHOWN - 1})"
    scale = f"{way.start!r}*pow({way.end / way.start!r},0.6*{at}+0.4*{at}*{at}*(3-2*{at}))"
    with tempfile.TemporaryDirectory() as place:
        Image.fromarray(canvas).save(f"{place}/spot.png")
        words = [
            ffmpeg_path(), "-v", "error", "-i", f"{place}/spot.png", "-vf",
            f"zoompan=z='{across}/({width}*{scale})':x='{way.focus[0]!r}*(iw-iw/zoom)':y='{way.focus[1]!r}*(ih-ih/zoom)'"
            f":d={SHOWN}:s={width}x{height}:fps={SETTINGS.fps},format=gray",
            "-frames:v", str(SHOWN), "-f", "rawvideo", "-",
        ]  # fmt: skip
        raw = subprocess.run(words, capture_output=True, check=True).stdout
    for frame, grey in enumerate(np.frombuffer(raw, np.uint8).reshape(-1, height, width)):
        view = way.view(frame / (SHOWN - 1), (canvas.shape[1], canvas.shape[0]), SETTINGS.size)
        yield grey, ((centre[0] - view.left) / view.scale, (centre[1] - view.top) / view.scale)


def moviepy(canvas: NDArray[np.uint8], centre: tuple[float, float]) -> Way:
    """Resize over time, centred: how moviepy's own examples zoom."""
    import moviepy as editor
    from moviepy import vfx

    (width, height), (down, across) = SETTINGS.size, canvas.shape[:2]
    seconds, base = float(SETTINGS.seconds), width / across
    moving = editor.ImageClip(canvas, duration=seconds).with_effects(
        [vfx.Resize(lambda t: base * (1 + 0.14 * t / seconds))]
    )
    view = editor.CompositeVideoClip([moving.with_position("center")], size=(width, height)).with_duration(seconds)
    for frame in range(SHOWN):
        at = frame / float(SETTINGS.fps)
        share = base * (1 + 0.14 * at / seconds)
        x, y = (
            side / 2 + share * (place + 0.5 - room / 2) - 0.5
            for side, place, room in ((width, centre[0], across), (height, centre[1], down))
        )
        yield np.asarray(view.get_frame(at))[..., 1], (x, y)


def main() -> int:
    """Exit status 1 when ours is not below the limit."""
    size = canvas_size(SETTINGS)
    centre = (size[0] * 0.31, size[1] * 0.66)
    canvas = spot(size, centre)
    print(f"## Smoothness of a zoom\n\n{machine()}\n{versions('moviepy', 'opencv-python-headless')}\n")
    print("| way | off its path, px | change from frame to frame, px |\n|---|---|---|")
    worst = 0.0
    for name, way in (("zoompan", zoompan), ("moviepy", moviepy), ("minimoto", ours)):
        off = np.array([np.subtract(found(grey), place) for grey, place in way(canvas, centre)])
        worst = float(np.abs(off).max())
        print(f"| {name} | {worst:.3f} | {np.abs(np.diff(off, axis=0)).max():.3f} |", flush=True)
    return 0 if worst < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
