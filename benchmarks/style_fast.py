"""``fast`` against the networks of Johnson et al. and AdaIN in eager PyTorch: seconds and peak memory a photo.

    python -m benchmarks.style_fast [--sizes 1024x1024,4000x3000] [--runs 5] [--peers johnson,adain] [--weights FILE]
                                    [--cpu] [--way kernels|openvino]

Each way has a process of its own, started and warmed up beforehand; they take turns. Timed is the work from decoded
pixels to styled pixels, all of it, with the style's own part computed before. Peak memory is that of the whole process
with its libraries (VmHWM). ``--cpu`` counts CPU seconds, user and system: for cores that other work shares.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Contender, in_turn, report

Pixels = NDArray[np.uint8]
PEERS = {"johnson": "Johnson et al., torch eager", "adain": "AdaIN, torch eager"}
OURS = "minimoto fast"
MEMORY_WANTED = 0.25
"""Of the peers' peak, at 12 megapixels."""


def photo_of(size: tuple[int, int]) -> Pixels:
    """A picture of (width, height) with smooth shapes and grain, always the same."""
    import cv2

    chance = np.random.default_rng(1)
    coarse = cv2.resize(chance.integers(0, 256, (12, 16, 3), np.uint8), size, interpolation=cv2.INTER_CUBIC)
    grain = cv2.resize(chance.integers(0, 40, (size[1] // 3, size[0] // 3, 3), np.uint8), size)
    return np.asarray(cv2.add(coarse, grain), np.uint8)


def peak_bytes() -> int:
    """The largest resident size that this process ever had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not say how much memory was used")


def _ours(weights: Path, whole: int | None, tile: int, way: str | None = None) -> Callable[[Pixels], Pixels]:
    from PIL import Image

    from minimoto.engines import network_kernel
    from minimoto.engines.runtime_device import threads
    from minimoto.engines.style import fast_style
    from minimoto.engines.style_settings import MADE

    if way is not None:
        made = network_kernel.compiled_kernels(threads()) if way == "kernels" else None
        network_kernel.kernels = lambda device: made
    engine = fast_style(weights)
    look = engine.look([np.asarray(Image.open(MADE / "swirl.jpg"))])
    return lambda photo: engine.apply(photo, look, whole=whole, tile=tile)


def _serve(pipe: Connection, name: str, size: tuple[int, int], ours: dict[str, Any], threads: int, cpu: bool) -> None:
    """The process of one way: a photo for each request; answers seconds, and at last the peak."""
    photo = photo_of(size)
    if name == OURS:
        run = _ours(**ours)
    else:
        from benchmarks import style_peers

        run = style_peers.runner({"johnson": style_peers.johnson, "adain": style_peers.AdaIn}[name], threads)
    clock = time.process_time if cpu else time.perf_counter
    pipe.send("ready")
    while pipe.recv():
        started = clock()
        result = run(photo)
        seconds = clock() - started
        assert abs(result.shape[0] - photo.shape[0]) < 8
        pipe.send(seconds)
    pipe.send(peak_bytes())


class Way:
    """A process that does the work in one way."""

    def __init__(self, name: str, *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, *arguments), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def run(self) -> float:
        """Does the work once; the seconds that it took."""
        self._pipe.send(True)
        return float(self._pipe.recv())

    def end(self) -> int:
        """Ends the process; its peak memory in bytes."""
        self._pipe.send(False)
        peak = int(self._pipe.recv())
        self._process.join()
        return peak


def compare(size: tuple[int, int], options: argparse.Namespace, ours: dict[str, Any]) -> None:
    """All ways in turn on one size; prints one table for each peer."""
    from minimoto.engines.runtime_device import threads

    names = [*options.peers.split(","), OURS]
    ways = {name: Way(name, size, ours, threads(), options.cpu) for name in names}
    contenders = [Contender(PEERS.get(name, name), ways[name].run) for name in names]
    figures = in_turn(contenders, options.runs, note=lambda text: print(f"  {text}", flush=True))
    peaks = [ways[name].end() for name in names]
    for index in range(len(names) - 1):
        title = f"Styling a photo of {size[0]}x{size[1]}: minimoto fast and {contenders[index].name}"
        pair = [contenders[index], contenders[-1]]
        report(
            title, pair, [figures[index], figures[-1]], "CPU s" if options.cpu else "s", ("torch", "openvino", "numpy")
        )
        share = peaks[-1] / peaks[index]
        print(f"Peak memory: {peaks[index] / 2**20:.0f} MiB and {peaks[-1] / 2**20:.0f} MiB, a share of {share:.2f}\n")


def main() -> None:
    """Compare at each size."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sizes", default="1024x1024,4000x3000")
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--peers", default="johnson,adain")
    arguments.add_argument("--weights", type=Path, help="other weights than the shipped ones")
    arguments.add_argument("--whole", type=int, help="pixels up to which a photo is computed at once")
    arguments.add_argument("--tile", type=int, default=768, help="pixels a side of a tile")
    arguments.add_argument("--cpu", action="store_true", help="count CPU seconds")
    arguments.add_argument("--way", choices=("kernels", "openvino"), help="ours, whatever would be chosen here")
    options = arguments.parse_args()
    weights = options.weights
    if weights is None:
        from minimoto.engines.registry import model_path

        weights = model_path("style")
    ours = {"weights": weights, "whole": options.whole, "tile": options.tile, "way": options.way}
    for text in options.sizes.split(","):
        width, height = map(int, text.split("x"))
        compare((width, height), options, ours)


if __name__ == "__main__":
    main()
