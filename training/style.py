"""Train the network of the ``fast`` style, on the CPU or on one GPU.

    python -m training.style --photos PHOTOS --styles STYLES --styles minimoto/engines/styles:6 \\
        --vgg VGG16.safetensors --out RUN --seconds 7200

The losses are those of ``training/style_losses.py``. Gram matrices of styles and content features of crops are kept
after their first use: that halves the work.

``RUN`` receives ``log.tsv``, ``data.tsv`` (what was trained on, what was kept back), ``checkpoint.pt`` (training goes
on from it when it is there) and ``style.safetensors`` (a running mean of the weights, what the product ships).
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from minimoto.engines.style_net import STYLE_SIZE, StyleNetwork, mirrored
from training.style_data import Photos, Styles, listing, read
from training.style_losses import CONTENT, Perception, content_loss, recolour, style_loss, variation


@dataclass
class Training:
    """The networks, their optimiser and how far they are.

    Parameters:
        network: what is trained.
        mean: the running mean of its weights, which is shipped.
        step, seconds: done so far, over all runs.
    """

    network: StyleNetwork
    mean: StyleNetwork
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def resumed(cls, options: argparse.Namespace, device: torch.device) -> Training:
        """From the checkpoint of the folder, or from the start."""
        network, mean = begun(options.begin).to(device), begun(options.begin).to(device)
        optimiser = torch.optim.Adam(network.parameters(), lr=options.rate, betas=(0.9, 0.99))
        training = cls(network, mean.requires_grad_(False), optimiser)
        checkpoint = options.out / "checkpoint.pt"
        if checkpoint.exists():
            kept = torch.load(checkpoint, weights_only=True)
            for part in ("network", "mean", "optimiser"):
                getattr(training, part).load_state_dict(kept[part])
            training.step, training.seconds = kept["step"], 0.0 if options.again else kept["seconds"]
        return training

    def update(self, loss: Tensor, rate: float) -> None:
        """One step down ``loss``."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        decay = min(0.998, self.step / (self.step + 20))
        with torch.no_grad():
            for slow, fast in zip(self.mean.parameters(), self.network.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)

    def save(self, out: Path) -> None:
        """Write checkpoint and weights, each whole or not at all."""
        parts = {part: getattr(self, part).state_dict() for part in ("network", "mean", "optimiser")}
        torch.save({**parts, "step": self.step, "seconds": self.seconds}, out / "checkpoint.part")
        (out / "checkpoint.part").replace(out / "checkpoint.pt")
        save_file({n: t.half().contiguous() for n, t in self.mean.state_dict().items()}, out / "style.part")
        (out / "style.part").replace(out / "style.safetensors")


@dataclass
class Losses:
    """The losses of one batch, and their gradient at its results."""

    perception: Perception
    options: argparse.Namespace
    seen: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self, result: Tensor, grams: list[dict[str, Tensor]], contents: list[Tensor]) -> Tensor:
        """A number whose gradient is that of the losses of ``result`` ``(N, 3, H, W)``."""
        gradients = [
            self.perception.gradient(one, partial(self._of, wanted=wanted, content=content))
            for one, wanted, content in zip(result, grams, contents, strict=True)
        ]
        perceived = (result * torch.stack(gradients)).sum() / len(grams)
        outside = (result - result.clamp(0, 1)).abs().mean()
        return cast(Tensor, perceived + self.options.variation * variation(result) + 10 * outside)

    def _of(self, features: dict[str, Tensor], wanted: dict[str, Tensor], content: Tensor) -> Tensor:
        style, kept = style_loss(features, wanted), content_loss(features[CONTENT], content)
        self.seen.append((style.item(), kept.item()))
        # The root keeps a few far styles from ruling the step.
        return cast(Tensor, self.options.style * (style + 0.01).sqrt() + kept)


def rate(options: argparse.Namespace, done: float) -> float:
    """The learning rate when ``done`` (0..1) of the time is used: a short rise, then a half cosine to nothing."""
    rise = min(1.0, done / 0.02 + 0.05)
    return float(options.rate * rise * (0.5 + 0.5 * np.cos(np.pi * min(1.0, done))) + 1e-6)


def pictures(options: argparse.Namespace, perception: Perception) -> tuple[Photos, Styles]:
    """The photos and styles to train on; writes which they are, and which are kept back, to ``data.tsv``."""
    photos, photos_back = listing(options.photos)
    styles: list[Path] = []
    styles_back: list[Path] = []
    for folder, shown in options.styles:
        used, back = listing(folder)
        # What is shown more often is our own, which nothing is measured on: none of it is kept back.
        styles += used if shown == 1 else (used + back) * shown
        styles_back += back if shown == 1 else []
    uses = {"photo": photos, "photo kept back": photos_back, "style": styles, "style kept back": styles_back}
    rows = [f"{use}\t{path.name}\n" for use, paths in uses.items() for path in dict.fromkeys(paths)]
    (options.out / "data.tsv").write_text("".join(rows))
    return (
        Photos([read(path, 200) for path in photos], perception, options.size, options.crops),
        Styles([read(path, STYLE_SIZE) for path in styles], perception, options.style_crops),
    )


def train(options: argparse.Namespace) -> None:
    """Train until ``--seconds`` are used, counting those of the runs before."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    perception = Perception(options.vgg, options.threads, device)
    options.out.mkdir(parents=True, exist_ok=True)
    photos, styles = pictures(options, perception)
    training, losses = Training.resumed(options, device), Losses(perception, options)
    choice = random.Random(options.seed + training.step)
    last = saved = time.monotonic()
    while training.seconds < options.seconds:
        crops, contents = photos.batch(options.batch, choice)
        looks, grams = styles.batch(options.batch, choice)
        result = training.network(recolour(crops, looks).to(device), looks.to(device))
        now_rate = rate(options, training.seconds / options.seconds)
        training.update(losses(result, grams, contents), now_rate)
        now = time.monotonic()
        training.seconds, last = training.seconds + now - last, now
        if training.step % 50 == 0:
            style, content = np.mean(losses.seen, axis=0)
            losses.seen.clear()
            with (options.out / "log.tsv").open("a") as log:
                log.write(f"{training.step}\t{training.seconds:.0f}\t{now_rate:.6f}\t{style:.4f}\t{content:.4f}\n")
        if now - saved > 180:
            training.save(options.out)
            saved = now
    training.save(options.out)


def begun(weights: Path | None) -> StyleNetwork:
    """A network with the tensors of ``weights`` that fit it, mirroring crops at their edges as photos are in use."""
    network = StyleNetwork()
    mirrored(network)
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
    parser.add_argument("--seconds", type=float, default=7200.0, help="time to train, with the runs before")
    parser.add_argument("--again", action="store_true", help="start the schedule anew from the checkpoint's weights")
    parser.add_argument("--size", type=int, default=128, help="pixels a side of a crop")
    parser.add_argument("--crops", type=int, default=3, help="crops of each photo")
    parser.add_argument("--style-crops", type=int, default=1, help="crops of each style picture")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--begin", type=Path, help="weights to begin with, as far as they fit")
    parser.add_argument("--style", type=float, default=4.0, help="weight of the style loss")
    parser.add_argument("--variation", type=float, default=0.5, help="weight of the total variation")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    train(options())
