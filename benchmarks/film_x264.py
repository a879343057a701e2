"""A whole film against x264 alone: the same raw frames, read from memory, with the same options.

    python -m benchmarks.film_x264 [--photos 5] [--runs 5] [--raw /dev/shm]

Writes the film's frames to ``--raw`` once (3.1 MB each; 96 a photo), then times, in turn, ffmpeg encoding that file and
our film from the photos. Prints the CPU time of drawing and of the encoder for each frame, too.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from benchmarks.film_work import SETTINGS, make_photos
from benchmarks.measure import machine, versions
from minimoto.engines import film
from minimoto.engines.film_encoder import FilmWriter, encoding
from minimoto.engines.film_frame import Frame
from minimoto.errors import StepFailed
from minimoto.media import ffmpeg_path


def write_frames(photos: list[Path], raw: Path, out: Path) -> int:
    """Every frame of the film as raw bytes; how many."""
    with raw.open("wb") as file:

        def write(writer: object, frame: Frame) -> None:
            file.write(frame.data)

        # ffmpeg is given nothing, and may say so.
        with mock.patch.object(FilmWriter, "write", write), contextlib.suppress(StepFailed):
            film.make_film(photos, out, SETTINGS, None, lambda done, note: None)
    return raw.stat().st_size // (SETTINGS.size[0] * SETTINGS.size[1] * 3 // 2)


def encoder_alone(raw: Path, out: Path) -> list[str]:
    """The command that encodes raw frames as the film's are."""
    options = {**encoding(SETTINGS.crf, SETTINGS.fps, nvenc=False), "movflags": "+faststart"}
    words = [part for name, value in options.items() for part in (f"-{name}", str(value))]
    size = f"{SETTINGS.size[0]}x{SETTINGS.size[1]}"
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size, "-r", str(SETTINGS.fps), "-i", str(raw)]
    return [ffmpeg_path(), "-v", "error", "-y", *source, *words, str(out)]


def main() -> int:
    """Exit status 1 when the target was missed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--photos", type=int, default=5)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--raw", type=Path, default=Path("/dev/shm"))
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory(dir=options.raw) as memory:
        photos = make_photos(Path(place, "photos"), options.photos)
        raw, out = Path(memory, "frames.yuv"), Path(place, "film.mp4")
        count = write_frames(photos, raw, out)
        alone, whole, cpu = [], [], []
        for turn in range(options.runs + 1):
            encoder, (seconds, drawing) = _encode(encoder_alone(raw, out)), _film(photos, out)
            if turn:  # the first is a warm-up
                alone.append(encoder[0])
                whole.append(seconds)
                cpu.append((encoder[1], *drawing))
    print(f"## Film against x264 alone\n\n{machine()}\n{versions('minimoto', 'opencv-python-headless')}\n")
    print(f"{options.photos} photos, {count} frames, {options.runs} runs\n")
    print("| | median s | frames a second |\n|---|---|---|")
    for name, kept in (("x264 alone", alone), ("the film", whole)):
        print(f"| {name} | {statistics.median(kept):.2f} | {count / statistics.median(kept):.1f} |")
    x264, draw, encode = (1000 * statistics.median(column) / count for column in zip(*cpu, strict=True))
    print(f"\nms of CPU a frame: x264 alone {x264:.1f}; the film {draw:.1f} drawing and {encode:.1f} encoding")
    ratio = statistics.median(b / a for a, b in zip(alone, whole, strict=True))
    print(f"\nthe film takes {ratio:.3f} times as long as x264 alone", flush=True)
    return 0 if ratio <= 1.15 else 1


def _encode(words: list[str]) -> tuple[float, float]:
    before, started = _cpu(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, stdin=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started, _cpu(resource.RUSAGE_CHILDREN) - before


def _film(photos: list[Path], out: Path) -> tuple[float, tuple[float, float]]:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    before, started = [_cpu(kind) for kind in kinds], time.perf_counter()
    film.make_film(photos, out, SETTINGS, None, lambda done, note: None)
    seconds = time.perf_counter() - started
    drawing, encoding_ = (_cpu(kind) - earlier for kind, earlier in zip(kinds, before, strict=True))
    return seconds, (drawing, encoding_)


def _cpu(kind: int) -> float:
    used = resource.getrusage(kind)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
