"""Seconds and memory of enlarging: ours against Real-ESRGAN's compact network (eager) and SPAN (ncnn).

    python -m benchmarks.upscale_speed [--size 1000x1000] [--runs 5] [--threads 2] [--peers compact,span]
    python -m benchmarks.upscale_speed --memory 6000x4000

Each way has a process of its own, started and warmed up beforehand; they take turns. Timed is the work from decoded
pixels to enlarged pixels, all of it. Peak memory is that of the whole process with its libraries (VmHWM); with
``--memory`` it is that of the step, from a JPEG to a JPEG.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import upscale_peers
from benchmarks.measure import Contender, in_turn, report

OURS = "minimoto upscale"
PEERS = {"compact": "Real-ESRGAN compact x2 (16 convolutions), torch eager", "span": "SPAN x2, ncnn"}
WANTED = {"compact": 8.0, "span": 3.0}
MEMORY_WANTED = 2 * 2**30


def peak_bytes() -> int:
    """The largest resident size that this process ever had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not say how much memory was used")


def _serve(pipe: Connection, name: str, size: tuple[int, int], threads: int) -> None:
    """The process of one way: enlarges for each request; answers seconds, and at last the peak."""
    os.environ["MINIMOTO_THREADS"] = str(threads)
    photo = upscale_peers.photo_of(*size)
    enlarge: Callable[[Any], Any]
    if name == OURS:
        enlarge = upscale_peers.ours(factor=2)
    elif name == PEERS["span"]:
        enlarge = upscale_peers.Span(2, threads).rgb
    else:
        enlarge = upscale_peers.compact_eager(2, 16, threads)
    pipe.send("ready")
    while pipe.recv():
        started = time.perf_counter()
        result = enlarge(photo)
        seconds = time.perf_counter() - started
        assert result.shape == (2 * size[1], 2 * size[0], 3)
        pipe.send(seconds)
    pipe.send(peak_bytes())


class Way:
    """One way in a process of its own."""

    def __init__(self, name: str, size: tuple[int, int], threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, size, threads), daemon=True)
        self._process.start()
        assert self._pipe.recv() == "ready"

    def __call__(self) -> float:
        """Seconds of one run."""
        self._pipe.send(True)
        seconds: float = self._pipe.recv()
        return seconds

    def end(self) -> int:
        """Ends the process; its peak in bytes."""
        self._pipe.send(False)
        peak: int = self._pipe.recv()
        self._process.join()
        return peak


def speed(size: tuple[int, int], runs: int, threads: int, chosen: list[str]) -> bool:
    """Prints a table for each peer and the peaks; whether every ratio was reached."""
    ways = [Way(PEERS[name], size, threads) for name in chosen] + [Way(OURS, size, threads)]
    contenders = [Contender(way.name, way) for way in ways]
    figures = in_turn(contenders, runs, note=lambda line: print(line, file=sys.stderr))
    reached = True
    packages = ("torch", "openvino", "ncnn")
    for name, contender, figure in zip(chosen, contenders, figures, strict=False):
        title = f"upscale x2, {size[0]}x{size[1]} in, {threads} threads"
        ratio = report(title, [contender, contenders[-1]], [figure, figures[-1]], "s", packages)
        reached &= ratio >= WANTED[name]
    for way in ways:
        print(f"{way.name}: {way.end() / 2**20:.0f} MiB at most")
    return reached


def _step(size: tuple[int, int], folder: Path, pipe: Connection) -> None:
    from PIL import Image

    from minimoto.steps.base import Context
    from minimoto.steps.upscale import parse, run

    photo = folder / "photo.jpg"
    if not photo.exists():
        Image.fromarray(upscale_peers.photo_of(*size)).save(photo, quality=92)
        pipe.send(0)
        return
    started = time.perf_counter()
    (folder / "out").mkdir()
    result = run(Context((photo,), {}, folder / "out", "photo", lambda _: None), parse({"factor": "2"}))
    assert len(result.outputs) == 1
    print(f"{time.perf_counter() - started:.1f} s, {result.outputs[0].stat().st_size / 1e6:.1f} MB written")
    pipe.send(peak_bytes())


def memory(size: tuple[int, int]) -> bool:
    """Prints the step's peak for a photo of this size; whether it is under 2 GiB."""
    context = multiprocessing.get_context("spawn")
    peak = 0
    with tempfile.TemporaryDirectory() as name:
        # The photo is made by another process than the one that is measured.
        for _ in range(2):
            ours, theirs = context.Pipe()
            process = context.Process(target=_step, args=(size, Path(name), theirs))
            process.start()
            peak = ours.recv()
            process.join()
    print(f"upscale:2 of {size[0]}x{size[1]}: {peak / 2**20:.0f} MiB at most")
    return peak < MEMORY_WANTED


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main() -> int:
    """Exit status 1 when a ratio or the memory was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=_size, default=(1000, 1000))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", default="compact,span")
    parser.add_argument("--memory", type=_size)
    args = parser.parse_args()
    if args.memory:
        return 0 if memory(args.memory) else 1
    return 0 if speed(args.size, args.runs, args.threads, args.peers.split(",")) else 1


if __name__ == "__main__":
    sys.exit(main())
