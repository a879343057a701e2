"""Peak memory of the whole process tree while a film is made of many large photos.

    python -m benchmarks.film_memory [--photos 125] [--megapixels 12] [name=value …]

Photos are made on the spot (JPEG, detailed enough to cost what real ones do); what follows are parameters of the step
``video``, such as ``fps=15``. Prints the film's length, the time it took and the peak of the resident memory of this
process and its ffmpeg together, and fails above 1.5 GiB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks.measure import machine, versions

LIMIT = 1536 * 2**20


def make_photos(folder: Path, count: int, megapixels: float) -> list[Path]:
    """``count`` JPEGs of 4:3 with smooth shapes and noise, each one different."""
    import cv2
    import numpy as np

    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = height * 4 // 3
    photos = []
    for number in range(count):
        chance = np.random.default_rng(number)
        coarse = chance.integers(0, 256, (12, 16, 3), np.uint8)
        pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        grain = chance.integers(0, 24, (height // 2, width // 2, 3), np.uint8)
        pixels = cv2.add(pixels, cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR))
        photos.append(folder / f"photo{number:04d}.jpg")
        cv2.imwrite(str(photos[-1]), pixels)
    return photos


class PeakMemory(threading.Thread):
    """Samples the resident memory of this process and its children until stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        self.peak = 0
        self._me = psutil.Process()

    def run(self) -> None:
        """Sample twenty times a second."""
        while not self.stopped.wait(0.05):
            self.peak = max(self.peak, sum(map(_resident, [self._me, *self._me.children(recursive=True)])))


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def main() -> int:
    """Make the photos in a process of their own time, then the film, and print what it took."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--photos", type=int, default=125)
    arguments.add_argument("--megapixels", type=float, default=12.0)
    arguments.add_argument("parameters", nargs="*", help="parameters of the step video, name=value")
    options = arguments.parse_args()

    from minimoto.steps import STEPS
    from minimoto.steps.base import Context

    step = STEPS["video"]
    params = step.parse(dict(parameter.split("=", 1) for parameter in options.parameters))
    with tempfile.TemporaryDirectory() as place:
        inputs, out = Path(place, "in"), Path(place, "out")
        inputs.mkdir()
        out.mkdir()
        photos = make_photos(inputs, options.photos, options.megapixels)
        memory = PeakMemory()
        memory.start()
        started = time.monotonic()
        result = step.run(Context(tuple(photos), {}, out, "film", lambda progress: None), params)
        took = time.monotonic() - started
        memory.stopped.set()
        memory.join()
        size = result.outputs[0].stat().st_size
    print(f"## The film's memory\n\n{machine()}\n{versions('minimoto', 'opencv-python-headless')}\n")
    print(f"photos: {options.photos} of {options.megapixels:g} megapixels, {len(result.skipped)} skipped")
    print(f"time: {took:.1f} s")
    print(f"film: {size / 1e6:.1f} MB")
    print(f"peak memory of the process tree: {memory.peak / 2**20:.0f} MiB (limit {LIMIT / 2**20:.0f})")
    return 0 if memory.peak < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
