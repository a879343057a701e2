"""Train the networks of ``upscale``: factor 2 from nothing, then 3 and 4 from its trunk, within a given time.

    python -m training.upscale --photos PHOTOS --photos MORE:2 --eval SET5 --out FOLDER --seconds 7200

``PHOTOS:2`` shrinks the photos of that folder by 2 first, which removes the traces of JPEG. The run can be stopped and
started again with the same command: it goes on from its last checkpoint. ``FOLDER/upscale2.safetensors`` and its like
are the shipped form; ``FOLDER/log.tsv`` holds factor, step, seconds, learning rate, loss and PSNR-Y on ``--eval``. A
longer ``--seconds`` than before goes on with the learning rate that belongs to that point. Seconds are the processor's,
so that a run may be held, or share its core, without losing any of them.

To ship the result::

    cp FOLDER/upscale?.safetensors minimoto/engines/weights/
    python -m minimoto.engines.runtime_shipped upscale2 upscale3 upscale4
    python training/sums.py
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from minimoto.engines.runtime_device import choose_device
from minimoto.engines.upscale_net import CHANNELS, LAYERS, UpscaleNet
from training.bicubic import imresize
from training.muon import Muon
from training.reparameterised import TrainedUpscaleNet
from training.upscale_data import Patches, evaluate, read_pairs

EMA = 0.999
CHECKPOINT_SECONDS = 240.0
MSE_SHARE = 0.15
BFLOAT16 = choose_device("cpu").precision == "bf16"
"""Where the CPU multiplies bfloat16 a step takes half as long."""


@dataclass(frozen=True)
class Plan:
    """What one factor gets: its share of the time, its patches and its highest learning rates."""

    factor: int
    share: float
    patch: int = 48
    batch: int = 6
    rate_adam: float = 2e-3
    rate_muon: float = 2e-2


PLANS = (Plan(2, 0.5), Plan(3, 0.22), Plan(4, 0.28, patch=44))


@dataclass
class State:
    """All that a checkpoint keeps."""

    network: TrainedUpscaleNet
    average: TrainedUpscaleNet
    optimisers: list[torch.optim.Optimizer]
    step: int = 0
    seconds: float = 0.0
    best: float = field(default=-math.inf)


def schedule(progress: float, warm: float = 0.02) -> float:
    """The share of the highest learning rate at `progress` 0..1: a short rise, then a cosine to zero."""
    if progress < warm:
        return max(progress / warm, 0.02)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm) / (1 - warm))))


def optimisers(network: TrainedUpscaleNet, plan: Plan) -> list[torch.optim.Optimizer]:
    """Return Muon for the kernels of the body and Adam for everything else."""
    kernels = [p for name, p in network.named_parameters() if name.startswith("body.") and name.endswith("kernel")]
    chosen = {id(p) for p in kernels}
    rest = [p for p in network.parameters() if id(p) not in chosen]
    return [Muon(kernels, lr=plan.rate_muon), torch.optim.Adam(rest, lr=plan.rate_adam, betas=(0.9, 0.99))]


def loss_of(enlarged: Tensor, wanted: Tensor, progress: float) -> Tensor:
    """The mean Charbonnier distance; near the end the root of the mean squared error, which is what PSNR measures."""
    squared = (enlarged - wanted) ** 2
    if progress > 1 - MSE_SHARE:
        return torch.sqrt(squared.mean(dim=(1, 2, 3)) + 1e-8).mean()
    return torch.sqrt(squared + 1e-6).mean()


def save(state: State, plan: Plan, out: Path) -> None:
    """Write the shipped form of the averaged weights and the checkpoint, each whole or not at all."""
    merged = state.average.merged(plan.factor).state_dict()
    shipped = out / f"upscale{plan.factor}.safetensors"
    save_file({k: v.contiguous() for k, v in merged.items()}, shipped.with_suffix(".part"))
    shipped.with_suffix(".part").chmod(0o644)
    shipped.with_suffix(".part").replace(shipped)
    checkpoint = out / f"checkpoint{plan.factor}.pt"
    kept = {
        "network": state.network.state_dict(), "average": state.average.state_dict(), "step": state.step,
        "seconds": state.seconds, "optimisers": [o.state_dict() for o in state.optimisers],
    }  # fmt: skip
    torch.save(kept, checkpoint.with_suffix(".part"))
    checkpoint.with_suffix(".part").replace(checkpoint)


def restore(plan: Plan, out: Path, seed: int, trunk: Path | None) -> State:
    """The state of the last checkpoint, or a fresh one (from the trunk of another factor if there is one)."""
    torch.manual_seed(seed)
    network, average = (
        TrainedUpscaleNet(plan.factor, CHANNELS, LAYERS).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for _ in range(2)
    )
    checkpoint = out / f"checkpoint{plan.factor}.pt"
    state = State(network, average, optimisers(network, plan))
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(kept["network"])
        average.load_state_dict(kept["average"])
        for optimiser, saved in zip(state.optimisers, kept["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        state.step, state.seconds = kept["step"], kept["seconds"]
        return state
    if trunk is not None and trunk.exists():
        other = torch.load(trunk, weights_only=True)["average"]
        network.load_state_dict({k: v for k, v in other.items() if k.startswith(("first.", "body."))}, strict=False)
    average.load_state_dict(network.state_dict())
    return state


def one_step(state: State, plan: Plan, patches: Patches, progress: float) -> float:
    """Do one step of training; return its loss."""
    small, large = patches.draw()
    for optimiser, rate in zip(state.optimisers, (plan.rate_muon, plan.rate_adam), strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate * schedule(progress)
        optimiser.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=BFLOAT16):
        enlarged = state.network(small.contiguous(memory_format=torch.channels_last))
    loss = loss_of(enlarged, large, progress)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
    for optimiser in state.optimisers:
        optimiser.step()
    state.step += 1
    decay = min(EMA, 1 - 10 / (state.step + 20))
    with torch.no_grad():
        for slow, fast in zip(state.average.parameters(), state.network.parameters(), strict=True):
            slow.lerp_(fast, 1 - decay)
    return float(loss.detach())


def note(state: State, plan: Plan, args: argparse.Namespace, loss: float, rate: float) -> None:
    """Measure PSNR-Y, write the checkpoint and a line of the log."""
    network: UpscaleNet = state.average.merged(plan.factor)
    figure = evaluate(network, args.eval, plan.factor)
    save(state, plan, args.out)
    line = f"{plan.factor}\t{state.step}\t{state.seconds:.0f}\t{rate:.5f}\t{loss:.6f}\t{figure:.3f}"
    print(line, flush=True)
    with (args.out / "log.tsv").open("a") as log:
        log.write(line + "\n")


def train(plan: Plan, args: argparse.Namespace) -> None:
    """Train one factor for its share of the time."""
    budget = plan.share * args.seconds
    trunk = None if plan.factor == PLANS[0].factor else args.out / f"checkpoint{PLANS[0].factor}.pt"
    state = restore(plan, args.out, args.seed, trunk)
    if state.seconds >= budget:
        return
    rng = np.random.default_rng([args.seed, plan.factor, state.step])
    patches = Patches(
        read_pairs(args.photos, plan.factor, plan.patch, imresize), plan.factor, plan.patch, plan.batch, rng
    )
    begun, kept, total, count = time.process_time() - state.seconds, time.monotonic(), 0.0, 0
    while (progress := state.seconds / budget) < 1:
        total, count = total + one_step(state, plan, patches, progress), count + 1
        state.seconds = time.process_time() - begun
        if time.monotonic() - kept > args.every:
            note(state, plan, args, total / count, schedule(progress))
            kept, total, count = time.monotonic(), 0.0, 0
    note(state, plan, args, total / max(count, 1), 0.0)


def main() -> None:
    """Read the command line and train every factor in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", action="append", required=True, help="a folder of photos, optionally :SHRINK")
    parser.add_argument("--eval", type=Path, required=True, help="a folder of pictures to measure PSNR-Y on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="for all factors together")
    parser.add_argument("--factors", default="2,3,4")
    parser.add_argument("--every", type=float, default=CHECKPOINT_SECONDS, help="seconds between checkpoints")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    for plan in PLANS:
        if str(plan.factor) in args.factors.split(","):
            train(plan, args)


if __name__ == "__main__":
    main()
