"""Train the networks of ``upscale``: factor 2 from nothing, then 3 and 4 from its trunk, within a given time.

    python -m training.upscale --photos PHOTOS --photos MORE:2 --eval SET5 --out FOLDER --seconds 7200

``PHOTOS:2`` shrinks the photos of that folder by 2 first (or by 1.5, say), which removes the traces of JPEG, and
``PHOTOS:800px`` to 800 pixels on their longest side (and leaves out those of less than 1000): large photos then hold as
much in as few pixels as the pictures do that everybody measures on.

The run can be stopped and started again with the same command, on the same kind of device: it goes on from its last
checkpoint.
``FOLDER/upscale2.safetensors`` and its like are the shipped form; ``FOLDER/log.tsv`` holds factor, step, seconds,
learning rate, loss and PSNR-Y on ``--eval``. A longer ``--seconds`` than before goes on with the learning rate that
belongs to that point.

It runs on a GPU of NVIDIA where torch finds one. Seconds are then those of the clock, reading the photos included; on
the CPU they are the processor's, so that a run may be held, or share its core, without losing any of them.

To ship the result::

    cp FOLDER/upscale?.safetensors minimoto/engines/weights/
    python -m minimoto.engines.runtime_shipped upscale2 upscale3 upscale4
    python training/sums.py

and set ``COMPACT_LAYERS`` of ``minimoto/engines/upscale_settings.py`` to the number of layers, if that was changed.
"""

from __future__ import annotations

import argparse
import functools
import time
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from minimoto.engines.upscale_net import CHANNELS
from minimoto.engines.upscale_settings import COMPACT_LAYERS
from training.reparameterised import TrainedUpscaleNet
from training.upscale_data import Measured, evaluate, make_pairs, read_measured, read_photos
from training.upscale_sampler import Patches
from training.upscale_step import Plan, State, Steps, half_precision, optimisers, schedule

EVERY = {"cpu": 240.0, "cuda": 40.0}
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
TOGETHER = {"cpu": 4, "cuda": 20}
"""Steps between two looks at the clock and changes of the learning rate."""

PLANS = {
    "cpu": (Plan(2, 0.5), Plan(3, 0.22), Plan(4, 0.28, patch=44)),
    "cuda": (Plan(2, 0.45, 64, 32), Plan(3, 0.2, 52, 40), Plan(4, 0.35, 44, 48)),
}
"""By device. Patches are large, as most pixels of a small one see its edge, but no larger than what most photos of
500x375 allow once they are shrunk by 1.6 or 2 and by the factor."""


def save(state: State, plan: Plan, out: Path) -> None:
    """Write the shipped form of the averaged weights and the checkpoint, each whole or not at all."""
    merged = state.average.merged(plan.factor).state_dict()
    shipped = out / f"upscale{plan.factor}.safetensors"
    save_file({k: v.half().contiguous() for k, v in merged.items()}, shipped.with_suffix(".part"))
    shipped.with_suffix(".part").chmod(0o644)
    shipped.with_suffix(".part").replace(shipped)
    checkpoint = out / f"checkpoint{plan.factor}.pt"
    kept = {
        "network": state.network.state_dict(), "average": state.average.state_dict(), "step": state.step,
        "seconds": state.seconds, "optimisers": [o.state_dict() for o in state.optimisers],
    }  # fmt: skip
    torch.save(kept, checkpoint.with_suffix(".part"))
    checkpoint.with_suffix(".part").replace(checkpoint)


def restore(plan: Plan, args: argparse.Namespace, trunk: Path | None = None) -> State:
    """The state of the last checkpoint, or a fresh one (from the trunk of another factor if there is one)."""
    torch.manual_seed(args.seed)
    layers = args.layers or COMPACT_LAYERS[plan.factor]
    network, average = (TrainedUpscaleNet(plan.factor, args.channels, layers).to(args.device) for _ in range(2))
    checkpoint = args.out / f"checkpoint{plan.factor}.pt"
    state = State(network, average, optimisers(network, plan))
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True, map_location=args.device)
        network.load_state_dict(kept["network"])
        average.load_state_dict(kept["average"])
        for optimiser, saved in zip(state.optimisers, kept["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        state.step, state.seconds = kept["step"], kept["seconds"]
    else:
        if args.begin:
            network.begin(load_file(args.begin / f"upscale{plan.factor}.safetensors"), plan.factor)
        elif trunk is not None and trunk.exists():
            other = torch.load(trunk, weights_only=True, map_location=args.device)["average"]
            network.load_state_dict({k: v for k, v in other.items() if k.startswith(("first.", "body."))}, strict=False)
        average.load_state_dict(network.state_dict())
    # Other patches than those before the checkpoint, and other ones for each factor.
    torch.manual_seed(args.seed + 10 * state.step + plan.factor)
    return state


@functools.lru_cache(maxsize=1)
def _photos(folders: tuple[str, ...], device: torch.device) -> list[Tensor]:
    return read_photos(folders, device)


def note(
    state: State, plan: Plan, args: argparse.Namespace, measured: list[Measured], loss: float, progress: float
) -> str:
    """Measure PSNR-Y, write the checkpoint and a line of the log; return both for people."""
    figure = evaluate(state.average.merged(plan.factor).to(args.device), measured, plan.factor)
    save(state, plan, args.out)
    rate = schedule(progress, state.step)
    with (args.out / "log.tsv").open("a") as log:
        log.write(f"{plan.factor}\t{state.step}\t{state.seconds:.0f}\t{rate:.5f}\t{loss:.6f}\t{figure:.3f}\n")
    return f"rate {rate:.4f}, loss {loss:.6f}, PSNR {figure:.3f} dB"


def train(plan: Plan, args: argparse.Namespace) -> None:
    """Train one factor for its share of the time."""
    clock = time.monotonic if args.device.type == "cuda" else time.process_time
    entered, budget = clock(), plan.share * args.seconds
    first = args.plans[0].factor
    state = restore(plan, args, None if plan.factor == first else args.out / f"checkpoint{first}.pt")
    if state.seconds >= budget:
        return
    begun = entered - state.seconds
    pairs = make_pairs(_photos(tuple(args.photos), args.device), plan.factor, plan.patch, args.shifts)
    measured = read_measured(args.eval, plan.factor, args.device)
    print(f"x{plan.factor}: {len(pairs.height)} photos, ready after {clock() - entered:.1f} s; {plan}", flush=True)
    patches = Patches(pairs, plan.patch, plan.batch, contrast=args.contrast)
    steps = Steps(state, plan, patches, not args.eager, args.dtype)

    def tell(since: float, done: int, progress: float) -> None:
        loss = steps.loss()
        state.seconds = clock() - begun
        speed = (state.step - done) / max(state.seconds - since, 1e-9)
        told = note(state, plan, args, measured, loss, progress)
        print(f"x{plan.factor} step {state.step}, {state.seconds:.0f} s, {speed:.1f} steps/s, {told}", flush=True)

    state.seconds = clock() - begun
    kept, since, done = time.monotonic(), state.seconds, state.step
    while (progress := state.seconds / budget) < 1:
        steps.run(TOGETHER[args.device.type], progress)
        state.seconds = clock() - begun
        if time.monotonic() - kept > args.every:
            tell(since, done, progress)
            kept, since, done = time.monotonic(), clock() - begun, state.step
    tell(since, done, 1.0)


def plans(args: argparse.Namespace) -> list[Plan]:
    """The plans of the device with what the command line changes in them.

    Raises:
        ValueError: an option has neither one value nor one for each factor, or one is no number.
    """
    made: tuple[Plan, ...] = PLANS[args.device.type]
    for field, kind in {
        "share": float, "patch": int, "batch": int, "rate_adam": float, "rate_muon": float, "mse_share": float,
    }.items():  # fmt: skip
        given = getattr(args, field)
        if given is not None:
            values = [kind(value) for value in given.split(",")]
            values = values * len(made) if len(values) == 1 else values
            made = tuple(replace(plan, **{field: v}) for plan, v in zip(made, values, strict=True))
    return list(made)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", action="append", required=True, help="a folder, optionally :SHRINK or :PIXELSpx")
    parser.add_argument("--eval", type=Path, required=True, help="a folder of pictures to measure PSNR-Y on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="for all factors together")
    parser.add_argument("--factors", default="2,3,4")
    parser.add_argument(
        "--begin", type=Path, help="a folder of shipped weights to go on from, of as many layers and channels or fewer"
    )
    parser.add_argument("--channels", type=int, default=CHANNELS, help="of the body")
    parser.add_argument("--layers", type=int, help="convolutions of the body; as many as the shipped one has by itself")
    parser.add_argument("--contrast", type=float, default=0.0, help="share of the patches whose contrast is raised")
    parser.add_argument(
        "--shifts", type=int, default=1, help="ways of shrinking each photo: from how many first pixels on"
    )
    parser.add_argument("--every", type=float, help="seconds between checkpoints")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", type=torch.device, help="cuda or cpu; cuda where there is one")
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="of the stack; bf16 on GPUs and CPUs with AMX, else fp32"
    )
    parser.add_argument("--eager", action="store_true", help="do without a CUDA graph")
    each = parser.add_argument_group("for every factor, or one each for 2, 3 and 4 (0.5,0.2,0.3)")
    each.add_argument("--share", help="of the seconds")
    each.add_argument("--patch", help="side of a small patch in pixels")
    each.add_argument("--batch", help="patches a step")
    each.add_argument("--rate-adam", help="highest learning rate of Adam")
    each.add_argument("--rate-muon", help="highest learning rate of Muon")
    each.add_argument("--mse-share", help="last part of the time in which the squared error is the loss")
    return parser


def main(words: list[str] | None = None) -> None:
    """Read the command line and train every factor in turn."""
    args = arguments().parse_args(words)
    args.device = args.device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if args.device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False
        warnings.filterwarnings("ignore", message=".*capturable=True.*")
    args.every = args.every or EVERY[args.device.type]
    args.plans = plans(args)
    args.dtype = PRECISIONS[args.precision] if args.precision else half_precision(args.device)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    for plan in args.plans:
        if str(plan.factor) in args.factors.split(","):
            train(plan, args)


if __name__ == "__main__":
    main()
