"""One iteration of styling by optimisation against the usual way of doing it, its memory, and whether the losses agree.

    python -m benchmarks.style_optimise [--sizes 512 1024] [--optimizer lbfgs] [--iterations 3] [--runs 5]
    python -m benchmarks.style_optimise --memory [--sizes 1024] [--iterations 100]
    python -m benchmarks.style_optimise --losses [--weights vgg16.safetensors] [--sizes 256] [--starts 5]

The peer is how neural-style-pt works, written anew from the papers: torch in eager mode, float32, an ``nn.Sequential``
with modules of losses between its layers, gradients by autograd, ``torch.optim``. Both minimise the same sum of losses
from the same start. VGG19's shapes with random weights, or VGG16's with ``--weights``. Memory is the peak of a process
of its own for each way. L-BFGS without a line search goes different ways for starts that differ by rounding, so losses
are compared twice: both ways' loss of the same pictures, and the mean of the lowest from several starts. Exits with 1
where a target is missed: 3.5 times as fast, half the memory, losses within 1 % (lower ones in the end are no miss).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Contender, in_turn, machine, report, timed, versions
from minimoto.engines.style_optimise_settings import OptimiseOptions

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.style_peer import Run, Watch
    from minimoto.engines.style_objective import Features, Objective
    from minimoto.engines.vgg import Vgg

FASTER, LIGHTER, AGREEING = 3.5, 2.0, 0.01
PEER, OURS = "eager, as neural-style-pt", "minimoto"


def network(weights: Path | None) -> tuple[Vgg, str]:
    """The network up to the last layer of the default losses, and its name."""
    from minimoto.engines.vgg import load_vgg, random_vgg

    options = OptimiseOptions()
    vgg = load_vgg(weights, "vgg16") if weights else random_vgg("vgg19")
    return vgg.until([*options.content_layers, *options.style_layers]), "vgg16" if weights else "vgg19"


def pictures(size: int) -> tuple[Tensor, Tensor]:
    """A photo and a style of ``size`` x ``size``, as the network sees them: shapes and grain, always the same."""
    import cv2
    import numpy as np

    from minimoto.engines.vgg import to_pixels

    found = []
    for number, cells in enumerate((6, 40)):
        chance = np.random.default_rng(number)
        coarse = chance.random((cells, cells, 3), np.float32)
        smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        found.append(to_pixels(np.clip(smooth + 0.05 * chance.standard_normal(smooth.shape), 0, 1).astype(np.float32)))
    return found[0], found[1]


def peer(vgg: Vgg, size: int, options: OptimiseOptions, watch: Watch | None = None, device: str = "cpu") -> Run:
    """The peer, ready to run a number of iterations; it returns the losses."""
    from benchmarks.style_peer import peer as written_anew

    photo, style = (picture.to(device) for picture in pictures(size))
    return written_anew(vgg, photo, style, options, watch)


def objective(vgg: Vgg, size: int, options: OptimiseOptions, features: Features | None = None) -> Objective:
    """What minimoto minimises; by ``features``, else in its fastest way."""
    from minimoto.engines.runtime import choose_device
    from minimoto.engines.style_objective import Objective
    from minimoto.engines.style_scales import features_on

    layers = {*options.content_layers, *options.style_layers}
    features = features or features_on(vgg, layers, options.pooling, choose_device())
    photo, style = (picture.to(features.device) for picture in pictures(size))
    return Objective(features, vgg, photo, [style], options)


def ours(vgg: Vgg, size: int, options: OptimiseOptions) -> Run:
    """minimoto's engine, as :func:`peer`."""
    from minimoto.engines.runtime import choose_device
    from minimoto.engines.style_descent import adam, lbfgs

    minimised, photo = objective(vgg, size, options), pictures(size)[0].to(choose_device().kind)

    def run(iterations: int, start: Tensor = photo) -> list[float]:
        seen: list[float] = []

        def evaluate(x: Tensor) -> tuple[float, Tensor]:
            losses, gradient = minimised(x)
            seen.append(losses.total)
            return losses.total, gradient

        if options.optimizer == "lbfgs":
            lbfgs(evaluate, start, iterations, options.lbfgs_num_correction)
        else:
            adam(evaluate, start, iterations, options.learning_rate)
        return seen

    return run


def speed(arguments: argparse.Namespace, options: OptimiseOptions) -> bool:
    """Time of an iteration, targets and set-up left out; whether the target is met at every size."""
    met, count = True, arguments.iterations
    for size in arguments.sizes:
        vgg, name = network(arguments.weights)
        ways = [(PEER, peer(vgg, size, options)), (OURS, ours(vgg, size, options))]
        contenders = [Contender(title, partial(_seconds, run, count)) for title, run in ways]
        figures = in_turn(contenders, arguments.runs, note=lambda text: print(text, file=sys.stderr))
        title = f"optimise, one iteration, {size} px, {name} shapes, {options.optimizer}, mean of {count}"
        met &= report(title, contenders, figures, "s", ("torch",)) >= FASTER
    return met


def _seconds(run: Run, count: int) -> float:
    return timed(lambda: run(count))() / count


def memory(arguments: argparse.Namespace) -> bool:
    """Peaks of both ways, each in a process of its own; whether ours is half of the peer's."""
    met = True
    for size in arguments.sizes:
        found = {}
        for way in ("peer", "ours"):
            command = [sys.executable, "-m", "benchmarks.style_optimise", "--child", way, "--sizes", str(size)]
            command += ["--iterations", str(arguments.iterations), "--optimizer", arguments.optimizer]
            command += ["--weights", str(arguments.weights)] if arguments.weights else []
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[way] = json.loads(done.stdout)
        ratio = found["peer"]["bytes"] / found["ours"]["bytes"]
        print(f"## optimise, peak memory, {size} px, {arguments.optimizer}, {arguments.iterations} iterations\n")
        print(f"{machine()}\n{versions('torch')}\n\n| way | GiB |\n|---|---|")
        for way, title in (("peer", PEER), ("ours", OURS)):
            print(f"| {title} | {found[way]['bytes'] / 2**30:.2f} |")
        print(f"\n{OURS} needs 1/{ratio:.2f} of the memory; last losses {found['peer']['loss']:.6g} and ", end="")
        print(f"{found['ours']['loss']:.6g}\n")
        met &= ratio >= LIGHTER
    return met


def child(arguments: argparse.Namespace, options: OptimiseOptions) -> None:
    """One way alone: prints its peak of resident memory and its last loss."""
    vgg, _ = network(arguments.weights)
    run = (peer if arguments.child == "peer" else ours)(vgg, arguments.sizes[0], options)
    # Each way has its own copy of the weights.
    del vgg
    seen = run(arguments.iterations)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"bytes": peak, "loss": min(seen)}))


def losses(arguments: argparse.Namespace, options: OptimiseOptions) -> bool:
    """Whether both count the same loss for the same pictures, and how low each comes from the same starts."""
    vgg, name = network(arguments.weights)
    met = True
    for size in arguments.sizes:
        minimised, apart = objective(vgg, size, options), list[float]()

        def watch(x: Tensor, loss: float, minimised: Objective = minimised, apart: list[float] = apart) -> None:
            if len(apart) < arguments.iterations:
                apart.append(abs(minimised(x)[0].total / loss - 1))

        ways = (PEER, peer(vgg, size, options, watch)), (OURS, ours(vgg, size, options))
        seen = {
            title: [run(arguments.iterations, one) for one in starts(size, arguments.starts)] for title, run in ways
        }
        print(f"## optimise, losses, {size} px, {name}, {options.optimizer}, {arguments.starts} starts\n")
        print(f"for the same {len(apart)} pictures, those the peer came by, they are {max(apart):.1e} apart at most\n")
        print("| lowest until | " + " | ".join(seen) + " |\n|---|---|---|")
        for at in sorted({1, 10, 20, 50, arguments.iterations}):
            if at <= arguments.iterations:
                print(
                    f"| {at} | " + " | ".join(_spread([min(one[:at]) for one in each]) for each in seen.values()) + " |"
                )
        means = [statistics.mean(min(one) for one in each) for each in seen.values()]
        print(f"\nthe means of the lowest are {means[1] / means[0] - 1:+.2%} apart\n")
        met &= max(apart) <= AGREEING and means[1] / means[0] - 1 <= AGREEING
    return met


def starts(size: int, count: int) -> list[Tensor]:
    """The photo, and the photo with noise of a thousandth of a level: the same picture, yet each goes its own way."""
    import torch

    photo, chance = pictures(size)[0], torch.Generator().manual_seed(0)
    return [photo, *(photo + 1e-3 * torch.randn(photo.shape, generator=chance) for _ in range(count - 1))]


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.5g} ({min(values):.5g} to {max(values):.5g})"


def main() -> int:
    """Exit status 1 when a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=None)
    parser.add_argument("--optimizer", choices=("lbfgs", "adam"), default="lbfgs")
    parser.add_argument("--iterations", type=int, default=None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--weights", type=Path, default=None, help="VGG16 as safetensors, with torchvision's names")
    parser.add_argument("--starts", type=int, default=5, help="of which --losses takes the mean")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--losses", action="store_true")
    parser.add_argument("--child", choices=("peer", "ours"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.sizes = arguments.sizes or ([1024] if arguments.memory else [256] if arguments.losses else [512, 1024])
    arguments.iterations = arguments.iterations or (100 if arguments.losses or arguments.memory else 3)
    options = OptimiseOptions(optimizer=arguments.optimizer)
    if arguments.child:
        child(arguments, options)
        return 0
    if arguments.memory:
        return 0 if memory(arguments) else 1
    return 0 if (losses if arguments.losses else speed)(arguments, options) else 1


if __name__ == "__main__":
    sys.exit(main())
