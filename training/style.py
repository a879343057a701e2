"""Train the network of the ``fast`` style, on the CPU or on one GPU.

    python -m training.style --photos PHOTOS --styles STYLES --styles minimoto/engines/styles:6 \\
        --vgg VGG16.safetensors --out RUN --seconds 7200

The losses are those of ``training/style_losses.py``; on a CPU without bfloat16 they, and their gradients, are computed
by the compiled kernels (``training/style_judge.py``). Gram matrices of styles are kept after their first use. Seconds
are the processor's, so that a run may be held, or share its cores, without losing any of them.

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
from training.style_data import PHOTO_SIZE, Photos, Styles, listing, read
from training.style_judge import CompiledJudge
from training.style_losses import Perception
from training.style_steps import painted

LARGER_FROM = 0.85
"""Of the time, after which crops are larger: what is learnt from small ones must hold for whole photos."""


@dataclass
class Training:
    """The networks, their optimisers and how far they are.

    Parameters:
        network: what is trained.
        mean: the running mean of its weights, which is shipped.
        step, seconds: done so far, over all runs; seconds are the processor's.
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
                optimiser.load_state_dict(state)
            training.step, training.seconds = kept["step"], 0.0 if options.again else kept["seconds"]
        return training

    def update(self, loss: Tensor, share: float) -> None:
        """One step down ``loss``, at ``share`` of the highest learning rates."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["highest"] * share
            optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        decay = min(0.998, self.step / (self.step + 20))
        with torch.no_grad():
            for slow, fast in zip(self.mean.parameters(), self.network.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)

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
    made: tuple[torch.optim.Optimizer, ...] = (torch.optim.Adam(rest, lr=options.rate, betas=(0.9, 0.99)),)
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


def pictures(options: argparse.Namespace, eye: Perception | CompiledJudge) -> tuple[Photos, Styles]:
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
    return (
        Photos([read(path, PHOTO_SIZE) for path in photos]),
        Styles([read(path, STYLE_SIZE) for path in styles], list(styles.values()), eye.grams, options.style_crops),
    )


def train(options: argparse.Namespace) -> None:
    """Train until ``--seconds`` are used, counting those of the runs before."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = device.type == "cuda" or choose_device("cpu").precision == "bf16"
    perception = Perception(options.vgg, device, torch.bfloat16 if half else torch.float32)
    compiled = None if half else kernels(options.threads)
    eye = CompiledJudge(options.vgg, compiled) if compiled else perception
    options.out.mkdir(parents=True, exist_ok=True)
    photos, styles = pictures(options, eye)
    training = Training.resumed(options, device)
    choice = random.Random(options.seed + training.step)
    begun_at, saved = time.process_time() - training.seconds, time.monotonic()
    seen: list[tuple[float, float]] = []
    while training.seconds < options.seconds:
        done = training.seconds / options.seconds
        size = options.size if done < LARGER_FROM else options.size * 3 // 2
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss, figures = painted(training.network, eye.judge, photos, styles, options, size, choice)
        training.update(loss, schedule(done))
        seen += figures
        training.seconds = time.process_time() - begun_at
        if training.step % 25 == 0:
            note(options.out, training, schedule(done) * options.rate, seen)
        if time.monotonic() - saved > 180:
            training.save(options.out)
            saved = time.monotonic()
    training.save(options.out)


def note(out: Path, training: Training, rate: float, seen: list[tuple[float, float]]) -> None:
    """Write a line of the log, and forget what it sums up."""
    style, content = np.mean(seen, axis=0)
    seen.clear()
    with (out / "log.tsv").open("a") as log:
        log.write(f"{training.step}\t{training.seconds:.0f}\t{rate:.6f}\t{style:.4f}\t{content:.4f}\n")


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


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos, searched in depth")
    parser.add_argument("--styles", type=times, action="append", required=True, metavar="FOLDER[:TIMES]",
                        help="folder of style pictures, each shown TIMES as often; may be given again")  # fmt: skip
    parser.add_argument("--vgg", type=Path, required=True, help="safetensors of VGG16's convolutions")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--seconds", type=float, default=7200.0, help="processor time to train, with the runs before")
    parser.add_argument("--again", action="store_true", help="start the schedule anew from the checkpoint's weights")
    parser.add_argument("--size", type=int, default=144, help="pixels a side of a crop, half as many more near the end")
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
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    train(options())
