"""Our film against one ffmpeg filter graph (zoompan, xfade) with the same encoder settings and the same paths.

    python -m benchmarks.film_ffmpeg [--photos 15 125] [--runs 5] [--quality-photos 3] [--only-quality]

Both show the same part of each photo at each frame: zoompan is given our path as an expression. A reference is
rendered from the full photos (Lanczos, blended in float); SSIM and VMAF of both films to it are printed, and what they
cost in time, memory and bytes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.film_work import SETTINGS, frames, make_photos, ours, timed_command, turns
from benchmarks.measure import machine, versions
from minimoto.core.timeline import moments, timing
from minimoto.engines.film_canvas import centre
from minimoto.engines.film_encoder import encoding
from minimoto.engines.film_frame import from_rgb
from minimoto.engines.film_motion import path
from minimoto.engines.film_slide import canvas_size
from minimoto.media import ffmpeg_path

STEP = 7
"""Every so many frames of the films are compared with the reference."""


def graph(photos: list[Path], film: Path) -> list[str]:
    """The command that does the same work with ffmpeg alone."""
    (width, height), (across, down) = SETTINGS.size, canvas_size(SETTINGS)
    shown = int(SETTINGS.fps * SETTINGS.seconds)
    at = f"(on/{shown - 1})"
    eased = f"(0.6*{at}+0.4*{at}*{at}*(3-2*{at}))"
    steps = []
    for index in range(len(photos)):
        way = path(index, SETTINGS.seed)
        zoom = f"{across}/({width}*{way.start!r}*pow({way.end / way.start!r},{eased}))"
        steps.append(
            f"[{index}:v]scale={across}:{down}:force_original_aspect_ratio=increase:flags=bicubic,crop={across}:{down},"
            f"zoompan=z='{zoom}':x='{way.focus[0]!r}*(iw-iw/zoom)':y='{way.focus[1]!r}*(ih-ih/zoom)'"
            f":d={shown}:s={width}x{height}:fps={SETTINGS.fps},format=yuv420p,setsar=1[v{index}]"
        )
    apart = float(SETTINGS.seconds - SETTINGS.transition_seconds)
    last = "v0"
    for index in range(1, len(photos)):
        fade = f"xfade=transition=fade:duration={float(SETTINGS.transition_seconds)}:offset={apart * index}"
        steps.append(f"[{last}][v{index}]{fade}[x{index}]")
        last = f"x{index}"
    options: dict[str, Any] = {**encoding(SETTINGS.crf, SETTINGS.fps, nvenc=False), "movflags": "+faststart"}
    words = [part for name, value in options.items() for part in (f"-{name}", str(value))]
    inputs = [part for photo in photos for part in ("-i", str(photo))]
    script = film.with_suffix(".txt")
    script.write_text(";\n".join(steps))
    return [
        ffmpeg_path(), "-v", "error", "-y", *inputs, "-/filter_complex", str(script), "-map", f"[{last}]", *words,
        str(film),
    ]  # fmt: skip


def reference(photos: list[Path]) -> Iterator[bytes]:
    """Every :data:`STEP` th frame as it should be, I420."""
    rhythm = timing(SETTINGS.fps, SETTINGS.seconds, SETTINGS.transition_seconds)
    for slide in range(len(photos)):
        for moment in moments(slide, rhythm, last=slide == len(photos) - 1):
            if moment.frame % STEP:
                continue
            shown = _seen(photos, slide, moment.at)
            if moment.entering is not None:
                shown = shown * (1 - moment.mix) + _seen(photos, slide + 1, moment.entering) * moment.mix
            yield from_rgb(np.clip(shown + 0.5, 0, 255).astype(np.uint8)).tobytes()


def _seen(photos: list[Path], slide: int, at: float) -> Any:
    canvas = canvas_size(SETTINGS)
    view = path(slide, SETTINGS.seed).view(at, canvas, SETTINGS.size)
    image = Image.open(photos[slide])
    left, top, right, _ = centre(image.size, canvas)
    share = (right - left) / canvas[0]
    # View speaks of pixels by their centres; a box of their edges.
    x, y = (left + share * (view.left - (view.scale - 1) / 2), top + share * (view.top - (view.scale - 1) / 2))
    box = (x, y, x + share * view.scale * SETTINGS.size[0], y + share * view.scale * SETTINGS.size[1])
    return np.asarray(image.resize(SETTINGS.size, Image.Resampling.LANCZOS, box=_inside(box, image.size)), np.float32)


def _inside(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    return max(0.0, box[0]), max(0.0, box[1]), min(size[0], box[2]), min(size[1], box[3])


def quality(film: Path, photos: list[Path], folder: Path) -> tuple[float, float]:
    """SSIM of luma and mean VMAF of a film to the reference."""
    size, log = f"{SETTINGS.size[0]}x{SETTINGS.size[1]}", folder / "vmaf.json"
    raw = folder / "reference.yuv"
    if not raw.exists():
        with raw.open("wb") as file:
            file.writelines(reference(photos))
    words = [
        ffmpeg_path(), "-hide_banner", "-nostats", "-i", str(film), "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size,
        "-r", str(SETTINGS.fps), "-i", str(raw), "-lavfi",
        f"[0:v]select='not(mod(n,{STEP}))',setpts=N/30/TB,format=yuv420p,split[a][b];"
        f"[1:v]setpts=N/30/TB,split[c][d];[a][c]ssim;[b][d]libvmaf=log_fmt=json:log_path={log}:n_threads=2",
        "-f", "null", "-",
    ]  # fmt: skip
    said = subprocess.run(words, capture_output=True, text=True, check=True).stderr
    return float(said.split("SSIM Y:")[1].split()[0]), json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"]


def main() -> int:
    """Exit status 1 when a target was missed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--photos", type=int, nargs="+", default=[15, 125])
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--quality-photos", type=int, default=3)
    arguments.add_argument("--only-quality", action="store_true")
    options = arguments.parse_args()
    print(f"## Film against zoompan and xfade\n\n{machine()}\n{versions('minimoto', 'opencv-python-headless')}\n")
    with tempfile.TemporaryDirectory() as place:
        good = compare_quality(Path(place), options.quality_photos)
        for count in [] if options.only_quality else options.photos:
            good &= compare_speed(Path(place), count, options.runs)
    return 0 if good else 1


def compare_quality(place: Path, count: int) -> bool:
    """Prints SSIM and VMAF of both; whether ours is not below in either."""
    photos = make_photos(place / "few", count)
    theirs, own = place / "theirs.mp4", place / "ours.mp4"
    timed_command(graph(photos, theirs))
    timed_command(ours(place / "few", own))
    print("| film | SSIM (luma) | VMAF | bytes |\n|---|---|---|---|")
    seen = []
    for name, film in (("zoompan and xfade", theirs), ("minimoto", own)):
        seen.append(quality(film, photos, place))
        print(f"| {name} | {seen[-1][0]:.5f} | {seen[-1][1]:.2f} | {film.stat().st_size} |", flush=True)
    return seen[1][0] >= seen[0][0] and seen[1][1] >= seen[0][1]


def compare_speed(place: Path, count: int, runs: int) -> bool:
    """Prints times and memory of both for ``count`` photos; whether the targets are met."""
    photos = make_photos(place / str(count), count)
    theirs, own = turns(graph(photos, place / "theirs.mp4"), ours(place / str(count), place / "ours.mp4"), runs)
    seconds = statistics.median(a[0] / b[0] for a, b in zip(theirs, own, strict=True))
    memory = statistics.median(a[1] / b[1] for a, b in zip(theirs, own, strict=True))
    print(f"\n{count} photos, {frames(count)} frames, {len(own)} runs\n\n| way | median s | MiB |\n|---|---|---|")
    for name, kept in (("zoompan and xfade", theirs), ("minimoto", own)):
        print(f"| {name} | {statistics.median(k[0] for k in kept):.1f} | {max(k[1] for k in kept):.0f} |")
    print(f"\nminimoto is {seconds:.2f}x as fast, in 1/{memory:.1f} of the memory", flush=True)
    return seconds >= (1.8 if count >= 125 else 1.7) and (count < 125 or memory >= 10)


if __name__ == "__main__":
    sys.exit(main())
