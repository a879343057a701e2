"""The work that films are compared by: photos of 12 megapixels, 1080p30, 4 s each, zooming, a crossfade of 1 s.

    python -m benchmarks.film_work FOLDER FILM

makes the film of the photos in FOLDER with minimoto, in a process of its own, so that its memory can be measured.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

from minimoto.engines.film_settings import FilmSettings

EXAMPLES = Path(__file__).parent.parent / "examples" / "photos"
SETTINGS = FilmSettings(fill="crop", faces="off", encoder="x264")
PEER_TRIES_UNDER = 300.0
"""Peers whose first run takes longer, in seconds, are run no second time."""


def make_photos(folder: Path, count: int, megapixels: float = 12.0) -> list[Path]:
    """``count`` JPEGs made from the example photos: enlarged, every second round mirrored, with a camera's grain."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    sources, made = sorted(EXAMPLES.glob("*.jpg")), []
    for number in range(count):
        image = Image.open(sources[number % len(sources)]).convert("RGB")
        share = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
        image = image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.BICUBIC)
        if number // len(sources) % 2:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = np.asarray(image).astype(np.int16)
        grain = np.random.default_rng(number).normal(0, 3, (*pixels.shape[:2], 1)).astype(np.int16)
        made.append(folder / f"photo{number:04d}.jpg")
        Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)).save(made[-1], quality=90)
    return made


def frames(photos: int) -> int:
    """How many frames such a film has."""
    shown, shared = (int(SETTINGS.fps * seconds) for seconds in (SETTINGS.seconds, SETTINGS.transition_seconds))
    return photos * shown - (photos - 1) * shared


def timed_command(words: list[str]) -> tuple[float, float]:
    """Runs a command: the seconds it took, and the peak resident memory of it and its children in MiB."""
    started, peak = time.perf_counter(), 0
    process = psutil.Popen(words, stdin=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, sum(map(_resident, [process, *_children(process)])))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{words[0]} ended with status {process.returncode}")
    return time.perf_counter() - started, peak / 2**20


def ours(photos: Path, film: Path) -> list[str]:
    """The command that makes our film."""
    return [sys.executable, "-m", "benchmarks.film_work", str(photos), str(film)]


def turns(peer: list[str], own: list[str], runs: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Seconds and MiB of both, in turn; a peer that is too slow to be run again is said to be."""
    peers, owns = [timed_command(peer)], [timed_command(own)]
    if peers[0][0] > PEER_TRIES_UNDER:
        print(f"(the peer took {peers[0][0]:.0f} s: 1 run of each instead of {runs})", flush=True)
        runs = 1
    for _ in range(runs - 1):
        peers.append(timed_command(peer))
        owns.append(timed_command(own))
    return peers, owns


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def main() -> int:
    """Make a film."""
    from minimoto.engines.film import make_film

    folder, film = map(Path, sys.argv[1:])
    report = make_film(sorted(folder.glob("*.jpg")), film, SETTINGS, None, lambda done, note: None)
    expected = frames(len(list(folder.glob("*.jpg"))))
    assert report.frames == expected, (report.frames, expected)
    return 0


if __name__ == "__main__":
    sys.exit(main())
