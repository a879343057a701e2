"""The engines on a GPU against the networks that people run there, in eager PyTorch on the same GPU.

    python -m benchmarks.gpu [--runs 7] [--only fast,upscale,optimise]

All in one process, in turn: for ``fast`` and ``upscale`` from decoded pixels in the host's memory to pixels there, for
``optimise`` one iteration, targets and set-up left out. Convolutions of the peers are PyTorch's own choice (TF32). The
share of the peak is that of what our networks compute (multiplications and additions, counted by torch) at the median,
by what the GPU does in a product of two matrices of 8192 x 8192 in half precision, measured in the same run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.measure import Contender, in_turn, report, timed

FAST = {"1024x1024": 10.0, "4000x3000": 12.0}
"""Sizes, and how many times as fast as each peer is wanted."""
UPSCALE, OPTIMISE = 8.0, 3.5
PACKAGES = ("torch", "numpy")


def peak(side: int = 8192) -> float:
    """Operations a second in a product of two matrices in half precision."""
    import torch

    one, other = (torch.randn(side, side, device="cuda", dtype=torch.float16) for _ in range(2))
    for _ in range(3):
        one @ other
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(10):
        one @ other
    torch.cuda.synchronize()
    return 10 * 2 * side**3 / (time.perf_counter() - started)


def operations(work: Callable[[], object]) -> int:
    """Those of the products and convolutions that torch is asked for by ``work``."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def _compare(
    title: str, ways: Sequence[tuple[str, Callable[[], object]]], runs: int, count: int, highest: float, wanted: float
) -> bool:
    """Prints a table for each peer; ours is the last of ``ways``, and does ``count`` operations."""
    contenders = [Contender(name, timed(work)) for name, work in ways]
    figures = in_turn(contenders, runs, warm=3)
    met = True
    for place in range(len(ways) - 1):
        pair = [contenders[place], contenders[-1]], [figures[place], figures[-1]]
        met &= report(title, *pair, "s", PACKAGES) >= wanted
    median = sorted(figures[-1])[runs // 2]
    print(f"{1 / median:.1f} a second; {count / 1e9:.1f} billion operations each, ", end="")
    print(f"{100 * count / median / highest:.1f} % of {highest / 1e12:.0f} trillion a second\n", flush=True)
    return met


def fast(runs: int, highest: float) -> bool:
    """The ``fast`` style against Johnson's network and AdaIN."""
    import numpy as np
    from PIL import Image

    from benchmarks import style_peers
    from benchmarks.style_fast import photo_of
    from minimoto.engines.registry import model_path
    from minimoto.engines.style import fast_style
    from minimoto.engines.style_settings import MADE

    engine = fast_style(model_path("style"))
    look = engine.look([np.asarray(Image.open(MADE / "swirl.jpg"))])
    peers = {"Johnson et al., torch eager": style_peers.johnson, "AdaIN, torch eager": style_peers.AdaIn}
    met = True
    for text, wanted in FAST.items():
        width, height = map(int, text.split("x"))
        photo = photo_of((width, height))
        ways: list[tuple[str, Callable[[], object]]] = []
        for name, build in peers.items():
            run = style_peers.runner(build, 16, "cuda")
            ways.append((name, lambda run=run, photo=photo: run(photo)))  # type: ignore[misc]
        ways.append(("minimoto fast", lambda photo=photo: engine.apply(photo, look)))  # type: ignore[misc]
        count = operations(lambda photo=photo: _uncaptured(engine, photo, look))  # type: ignore[misc]
        met &= _compare(f"Styling a photo of {text}", ways, runs, count, highest, wanted)
    return met


def _uncaptured(engine: Any, photo: Any, look: Any) -> None:
    """A painting whose operations torch is asked for one by one, so that it can count them."""
    from minimoto.engines import style_gpu

    painter = engine._networks.gpu
    kept, kernels = style_gpu.GRAPHED, painter._kernels
    style_gpu.GRAPHED, painter._kernels = 0, None
    try:
        engine.apply(photo, look)
    finally:
        style_gpu.GRAPHED, painter._kernels = kept, kernels


def upscale(runs: int, highest: float) -> bool:
    """Enlarging twice against Real-ESRGAN's compact network."""
    import torch

    from benchmarks import upscale_peers
    from minimoto.engines.registry import model_path
    from minimoto.engines.upscale_net import build_upscale

    photo = upscale_peers.photo_of(1000, 1000)
    ours = upscale_peers.ours(factor=2)
    peer = upscale_peers.compact_eager(2, 16, 16, "cuda")
    ways = [
        ("Real-ESRGAN compact x2 (16 convolutions), torch eager", lambda: peer(photo)),
        ("minimoto upscale", lambda: ours(photo)),
    ]
    # Without the channels that are filled up.
    network, luma = build_upscale(2)(model_path("upscale2")).to("meta"), torch.empty(1, 1, 1000, 1000, device="meta")
    return _compare("upscale x2, 1000x1000 in", ways, runs, operations(lambda: network(luma)), highest, UPSCALE)


def optimise(runs: int, highest: float) -> bool:
    """An iteration of L-BFGS with VGG19's shapes."""
    import torch

    from benchmarks import style_optimise
    from minimoto.engines.style_optimise_settings import OptimiseOptions
    from minimoto.engines.vgg_torch import TorchFeatures

    options, each, met = OptimiseOptions(optimizer="lbfgs"), 10, True
    for size in (512, 1024):
        vgg, _ = style_optimise.network(None)
        peer = style_optimise.peer(vgg, size, options, device="cuda")
        ours = style_optimise.ours(vgg, size, options)
        # By operations that torch can count, which a graph's are not.
        plain = TorchFeatures(vgg, {*options.content_layers, *options.style_layers}, device="cuda")
        minimised = style_optimise.objective(vgg, size, options, plain)
        photo = style_optimise.pictures(size)[0].cuda()
        count = each * operations(lambda m=minimised, p=photo: m(p))  # type: ignore[misc]
        ways = [(style_optimise.PEER, lambda p=peer: p(each)), ("minimoto", lambda o=ours: o(each))]
        title = f"optimise, {each} iterations, {size} px, VGG19's shapes, L-BFGS"
        met &= _compare(title, ways, runs, count, highest, OPTIMISE)
        torch.cuda.empty_cache()
    return met


def main() -> int:
    """Exit status 1 when a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--only", default="fast,upscale,optimise")
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        parser.error("there is no GPU of NVIDIA that torch can use")
    print(f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}\n")
    highest, met = peak(), True
    for name in options.only.split(","):
        met &= {"fast": fast, "upscale": upscale, "optimise": optimise}[name](options.runs, highest)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
