"""Train the network of the ``fast`` style, on the CPU or on one GPU.

    python -m training.style --photos PHOTOS --styles STYLES --styles minimoto/engines/styles:6 \\
        --vgg VGG16.safetensors --out RUN --seconds 7200

The losses are those of ``training/style_losses.py`` and ``training/style_pattern.py``; on a CPU without bfloat16 the
former, and their gradients, are computed by the compiled kernels (``training/style_judge.py``). Gram matrices of styles
are kept: from their first use on a CPU, where seconds are the processor's, so that a run may be held, or share its
cores, without losing any of them; from before the first step on a GPU, where seconds are the clock's, counted from that
step on. Nothing in a step waits for the GPU.

``RUN`` receives ``log.tsv``, ``data.tsv`` (what was trained on, what was kept back), ``checkpoint.pt`` (training goes
on from it when it is there) and ``style.safetensors`` (a running mean of the weights, what the product ships).
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from minimoto.engines.runtime_device import choose_device
from minimoto.engines.style_net import STYLE_SIZE, StyleNetwork, mirrored
from minimoto.engines.winograd import kernels
from training.muon import Muon
from training.style_data import PHOTO_SIZE, Photos, Styles, listing, read_all
from training.style_judge import CompiledJudge
from training.style_losses import Perception
from training.style_pattern import WINDOW
from training.style_steps import means, painted

SAVED_EVERY = 60.0
"""Seconds between checkpoints."""
NOTED_EVERY = 10.0
"""Seconds, at least, between lines of the log."""


@dataclass
class Training:
    """The networks, their optimisers and how far they are.

    Parameters:
        network: what is trained.
        mean: the running mean of its weights, which is shipped.
        step, seconds: done so far, over all runs.
    """

    network: StyleNetwork
    mean: StyleNetwork
    optimisers: tuple[torch.optim.Optimizer, ...]
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def resumed(cls, options: argparse.Namespace, device: torch.device) -> Training:
        """From the checkpoint of the folder, or from the start."""
        network, mean = (begun(options.begin).to(device, memory_format=torch.channels_last) for _ in range(2))
        training = cls(network, mean.requires_grad_(False), optimisers(network, options))
        checkpoint = options.out / "checkpoint.pt"
        if checkpoint.exists():
            kept = torch.load(checkpoint, weights_only=True, map_location=device)
            for part in ("network", "mean"):
                getattr(training, part).load_state_dict(kept[part])
            for optimiser, state in zip(training.optimisers, kept["optimisers"], strict=True):
                rates = [group["highest"] for group in optimiser.param_groups]
                optimiser.load_state_dict(state)
                for group, highest in zip(optimiser.param_groups, rates, strict=True):
                    group["highest"] = highest
            training.step, training.seconds = kept["step"], 0.0 if options.again else kept["seconds"]
        return training

    def update(self, loss: Tensor, share: float) -> None:
        """One step down ``loss``, at ``share`` of the highest learning rates."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["highest"] * share
            optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        # One step that went wrong must not be the end of all; to ask whether it did would be to wait for it.
        wrong = ~norm.isfinite()
        for parameter in self.network.parameters():
            if parameter.grad is not None:
                parameter.grad.masked_fill_(wrong, 0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        decay = min(0.998, self.step / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.mean.parameters()), list(self.network.parameters()), 1 - decay)

    def save(self, out: Path) -> None:
        """Write checkpoint and weights, each whole or not at all."""
        kept = {part: getattr(self, part).state_dict() for part in ("network", "mean")}
        states = [optimiser.state_dict() for optimiser in self.optimisers]
        torch.save({**kept, "optimisers": states, "step": self.step, "seconds": self.seconds}, out / "checkpoint.part")
        (out / "checkpoint.part").replace(out / "checkpoint.pt")
        save_file({n: t.half().cpu().contiguous() for n, t in self.mean.state_dict().items()}, out / "style.part")
        (out / "style.part").replace(out / "style.safetensors")


def optimisers(network: StyleNetwork, options: argparse.Namespace) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the 3x3 kernels between features, Adam for everything else."""
    kernels = [p for p in network.parameters() if p.ndim == 4 and min(p.shape[:2]) > 12] if options.muon else []
    chosen = {id(p) for p in kernels}
    rest = [p for p in network.parameters() if id(p) not in chosen]
    adam = torch.optim.Adam(rest, lr=options.rate, betas=(0.9, 0.99), fused=rest[0].is_cuda)
    made: tuple[torch.optim.Optimizer, ...] = (adam,)
    if kernels:
        made = (*made, Muon(kernels, lr=options.muon))
    for optimiser, highest in zip(made, (options.rate, options.muon), strict=False):
        for group in optimiser.param_groups:
            group["highest"] = highest
    return made


def schedule(done: float) -> float:
    """The share of the learning rate when ``done`` (0..1) of the time is used: a short rise, then a half cosine."""
    rise = min(1.0, done / 0.02 + 0.05)
    return float(rise * (0.5 + 0.5 * np.cos(np.pi * min(1.0, done))) + 1e-3)


def side(sizes: list[tuple[int, float]], done: float) -> int:
    """Of the sizes of crops, each with when it begins, the one at ``done`` (0..1) of the time."""
    return max((begin, size) for size, begin in sizes if begin <= done)[1]


def pictures(
    options: argparse.Namespace, eye: Perception | CompiledJudge, device: torch.device
) -> tuple[Photos, Styles]:
    """The photos and styles to train on; writes which they are, and which are kept back, to ``data.tsv``."""
    photos, photos_back = listing(options.photos)
    styles: dict[Path, int] = {}
    styles_back: list[Path] = []
    for folder, shown in options.styles:
        used, back = listing(folder)
        # What is shown more often is our own, which nothing is measured on: none of it is kept back.
        styles |= dict.fromkeys(used if shown == 1 else used + back, shown)
        styles_back += back if shown == 1 else []
    uses = {"photo": photos, "photo kept back": photos_back, "style": list(styles), "style kept back": styles_back}
    rows = [f"{use}\t{path.name}\n" for use, paths in uses.items() for path in dict.fromkeys(paths)]
    (options.out / "data.tsv").write_text("".join(rows))
    looks = [picture.to(device) for picture in read_all(list(styles), STYLE_SIZE)]
    return (
        Photos(read_all(photos, PHOTO_SIZE), device),
        Styles(looks, list(styles.values()), eye.grams, options.style_crops),
    )


def train(options: argparse.Namespace) -> None:
    """Train until ``--seconds`` are used, counting those of the runs before."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.type == "cuda"
    options.half = on_gpu or choose_device("cpu").precision == "bf16"
    perception = Perception(options.vgg, device, torch.bfloat16 if options.half else torch.float32)
    compiled = None if options.half else kernels(options.threads)
    eye = CompiledJudge(options.vgg, compiled) if compiled else perception
    options.out.mkdir(parents=True, exist_ok=True)
    photos, styles = pictures(options, eye, device)
    training = Training.resumed(options, device)
    print(f"{len(photos.sizes)} photos, {len(styles.pictures)} styles, {device}, step {training.step}", flush=True)
    if on_gpu:
        styles.prepare()
        print(f"{len(styles.kept)} crops of styles, {torch.cuda.memory_allocated() >> 20} MiB", flush=True)
        # From here on arrays come in few sizes, each of which is worth a choice among kernels.
        torch.backends.cudnn.benchmark = True
    choice = random.Random(options.seed + training.step)
    clock = time.monotonic if on_gpu else time.process_time
    begun_at, saved, noted = clock() - training.seconds, time.monotonic(), time.monotonic()
    seen: list[Tensor] = []
    while training.seconds < options.seconds:
        done = training.seconds / options.seconds
        loss, sums = painted(training.network, eye.judge, photos, styles, options, side(options.size, done), choice)
        training.update(loss, schedule(done))
        seen.append(sums)
        training.seconds = clock() - begun_at
        if training.step % 25 == 0 and time.monotonic() - noted > NOTED_EVERY:
            note(options.out, training, schedule(done) * options.rate, seen, time.monotonic() - noted)
            noted = time.monotonic()
        if time.monotonic() - saved > SAVED_EVERY:
            training.save(options.out)
            saved = time.monotonic()
    if seen:
        note(options.out, training, 0.0, seen, time.monotonic() - noted)
    training.save(options.out)


def note(out: Path, training: Training, rate: float, seen: list[Tensor], seconds: float) -> None:
    """Write and print a line of the log, and forget what it sums up: ``seen`` in so many seconds by the clock."""
    figures = means(seen)
    line = "\t".join([f"{training.step}", f"{training.seconds:.0f}", f"{rate:.6f}", *(f"{f:.4f}" for f in figures)])
    print(f"{line}\t{len(seen) / max(1e-6, seconds):.2f} steps/s", flush=True)
    seen.clear()
    with (out / "log.tsv").open("a") as log:
        log.write(line + "\n")


def begun(weights: Path | None) -> StyleNetwork:
    """A network with the tensors of ``weights`` that fit it, mirroring crops at their edges as photos are in use."""
    network = StyleNetwork()
    mirrored(network)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            # As large behind the layer as before it (He et al. 2015): torch's own start shrinks features to nothing.
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    with torch.no_grad():
        network.decoder.out.weight.mul_(0.3)
        for grain in (network.trunk.far_grain, network.trunk.near_grain):
            grain.weight.mul_(0.3)
    if weights:
        own = network.state_dict()
        fitting = {n: t.float() for n, t in load_file(weights).items() if n in own and own[n].shape == t.shape}
        network.load_state_dict({**own, **fitting})
    return network


def times(text: str) -> tuple[Path, int]:
    """``FOLDER:8`` to the folder and 8, ``FOLDER`` to the folder and 1."""
    folder, _, count = text.partition(":")
    return Path(folder), int(count or 1)


def crops(text: str) -> tuple[int, float]:
    """``216:0.85`` to 216 and 0.85, ``216`` to 216 and 0."""
    size, _, begin = text.partition(":")
    return int(size), float(begin or 0)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos, searched in depth")
    parser.add_argument("--styles", type=times, action="append", required=True, metavar="FOLDER[:TIMES]",
                        help="folder of style pictures, each shown TIMES as often; may be given again")  # fmt: skip
    parser.add_argument("--vgg", type=Path, required=True, help="safetensors of VGG16's convolutions")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--seconds", type=float, default=7200.0, help="time to train, with the runs before")
    parser.add_argument("--again", action="store_true", help="start the schedule anew from the checkpoint's weights")
    parser.add_argument("--size", type=crops, action="append", metavar="SIDE[:FROM]",
                        help="pixels a side of a crop, a multiple of 8, from FROM (0..1) of the time on; may be given "
                        "again; 144, and 216 from 0.85 on, if it is not given")  # fmt: skip
    parser.add_argument("--style-crops", type=int, default=2, help="crops of each style picture")
    parser.add_argument("--batch", type=int, default=4, help="crops of photos a step")
    parser.add_argument("--styles-a-step", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate of Adam")
    parser.add_argument("--muon", type=float, default=0.007, help="highest learning rate of Muon; 0: Adam does all")
    parser.add_argument("--begin", type=Path, help="weights to begin with, as far as they fit")
    parser.add_argument("--style", type=float, default=2.5, help="weight of the style loss")
    parser.add_argument(
        "--power", type=float, default=0.0, help="of the style loss that is descended; 0: its logarithm"
    )
    parser.add_argument("--others", type=float, default=0.7, help="share of the likeness to other styles taken off")
    parser.add_argument("--layout", type=float, default=10.0, help="weight of keeping where colours are")
    parser.add_argument("--variation", type=float, default=0.5, help="weight of the total variation")
    parser.add_argument("--lattice", type=float, default=2000.0, help="weight of patterns that repeat every 8 pixels")
    parser.add_argument("--weave", type=float, default=10.0, help="weight of regular patterns where photos are flat")
    parser.add_argument("--regular", type=float, default=0.2, help="how regular a pattern may be for nothing, 0 to 1")
    parser.add_argument("--plain", type=float, default=0.17, help="share of crops that are made plain, like skies")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    # What is larger near the end: what is learnt from small crops must hold for whole photos.
    given.size = given.size or [(144, 0.0), (216, 0.85)]
    if given.batch % given.styles_a_step or any(size % 8 or size < WINDOW for size, _ in given.size):
        parser.error(f"--batch must be a multiple of --styles-a-step, and --size of 8, {WINDOW} at least")
    return given


if __name__ == "__main__":
    train(options())
