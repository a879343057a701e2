"""How long the first styled photo takes: a whole process each time, from nothing to the written file.

``python -m benchmarks.start_up_engines [--weights FILE] [--runs N]``. The photo, one megapixel, and the style picture
are made here. With other weights than the shipped ones, their graphs are made first, so that a cold start means the
same for both.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.measure import Contender, in_turn, machine, timed, versions

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "minimoto/engines/weights/style.safetensors"
MOST_SECONDS = 3.0
SIZE = (1224, 816)

STYLE = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from minimoto.engines.style import FastStyle
from minimoto.media import open_picture

weights, photo, style, out = map(Path, sys.argv[1:])
def pixels(path):
    with open_picture(path) as picture:
        return np.asarray(picture.decode().convert("RGB"))
engine = FastStyle(weights)
styled = engine.apply(pixels(photo), engine.look([pixels(style)]))
Image.fromarray(styled).save(out, quality=92)
print("torch" in sys.modules)
"""


def main() -> int:
    """Prints the medians; exit status 1 when a warm start takes more than 3 s, or imports torch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="of the style's network (default: the shipped)")
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="minimoto-") as name:
        folder = Path(name)
        weights = shutil.copy(asked.weights, folder / "style.safetensors")
        _make_graphs(Path(weights))
        _make_pictures(folder)
        arguments = [str(weights), *(str(folder / file) for file in ("photo.jpg", "style.jpg", "out.jpg"))]
        return _compare(folder, arguments, asked.runs)


def _compare(folder: Path, arguments: list[str], runs: int) -> int:
    warm, cold = str(folder / "warm"), str(folder / "cold")
    torch_seen: list[str] = []

    def style(cache: str, device: str) -> Callable[[], object]:
        def run() -> None:
            if cache == cold:
                shutil.rmtree(cold, ignore_errors=True)
            said = _python(["-c", STYLE, *arguments], {"MINIMOTO_CACHE": cache, "MINIMOTO_DEVICE": device})
            if cache == warm and device == "cpu":
                torch_seen.append(said.strip())

        return run

    contenders = [
        Contender("fast, eager torch", timed(style(warm, "torch"))),
        Contender("fast, OpenVINO, nothing cached", timed(style(cold, "cpu"))),
        Contender("import openvino", timed(lambda: _python(["-c", "import openvino"], {}))),
        Contender("import numpy, cv2", timed(lambda: _python(["-c", "import numpy, cv2"], {}))),
        Contender("fast, OpenVINO, cached", timed(style(warm, "cpu"))),
    ]
    figures = in_turn(contenders, runs=runs)
    print(f"## First styled photo, {SIZE[0]}x{SIZE[1]}, whole processes\n\n{machine()}")
    print(f"{versions('openvino', 'torch', 'numpy')}\n\n| what | median s | min | max |\n|---|---|---|---|")
    for contender, kept in zip(contenders, figures, strict=True):
        print(f"| {contender.name} | {statistics.median(kept):.2f} | {min(kept):.2f} | {max(kept):.2f} |")
    print(f"\ntorch imported by a warm start: {', '.join(sorted(set(torch_seen)))}\n")
    return 0 if statistics.median(figures[-1]) <= MOST_SECONDS and set(torch_seen) == {"False"} else 1


def _python(arguments: list[str], environ: Mapping[str, str]) -> str:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
    ).stdout


def _make_graphs(weights: Path) -> None:
    from minimoto.engines import style_network
    from minimoto.engines.runtime_graph import graph_file, write_graph
    from minimoto.engines.runtime_openvino import convert

    for spec in style_network.specs(weights).values():
        shipped = graph_file(WEIGHTS, spec.name)
        if shipped.is_file():
            shutil.copy(shipped, graph_file(weights, spec.name))
        else:
            write_graph(convert(spec.module(), spec.inputs, spec.probe()), weights, spec.name)


def _make_pictures(folder: Path) -> None:
    import cv2
    import numpy as np

    random = np.random.default_rng(11)
    for name, size, grain in (("photo.jpg", SIZE, 12), ("style.jpg", (640, 480), 40)):
        small = random.integers(0, 256, (size[1] // grain, size[0] // grain, 3), np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(small, size, interpolation=cv2.INTER_CUBIC))


if __name__ == "__main__":
    sys.exit(main())
