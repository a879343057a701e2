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
from pathlib import Path

import numpy as np
import torch

from minimoto.engines.runtime_device import choose_device
from minimoto.engines.style_net import STYLE_SIZE
from minimoto.engines.winograd import kernels
from training.style_data import PHOTO_SIZE, Photos, Styles, listing, read_all
from training.style_judge import CompiledJudge
from training.style_losses import Perception
from training.style_pattern import WINDOW
from training.style_steps import means
from training.style_training import Steps, Training

SAVED_EVERY = 60.0
"""Seconds between checkpoints."""
NOTED_EVERY, NOTED_STEPS = 10.0, 25
"""Seconds and steps, at least, between lines of the log."""
TOGETHER = {"cpu": 1, "cuda": 10}
"""Steps between two looks at the clock."""


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
        print(
            f"{len(styles.pictures) * styles.kinds} crops of styles, {torch.cuda.memory_allocated() >> 20} MiB",
            flush=True,
        )
        # From here on arrays come in few sizes, each of which is worth a choice among kernels.
        torch.backends.cudnn.benchmark = True
    choice = random.Random(options.seed + training.step)
    steps = Steps(training, eye.judge, photos, styles, options, graph=not options.eager)
    clock = time.monotonic if on_gpu else time.process_time
    begun_at, saved, noted, last = clock() - training.seconds, time.monotonic(), time.monotonic(), training.step
    while training.seconds < options.seconds:
        done = training.seconds / options.seconds
        for _ in range(TOGETHER[device.type]):
            steps.one(side(options.size, done), schedule(done), choice)
        if on_gpu:
            # Not to run far ahead of it: the schedule follows the clock.
            torch.cuda.synchronize()
        training.seconds = clock() - begun_at
        if training.step - last >= NOTED_STEPS and time.monotonic() - noted > NOTED_EVERY:
            speed = (training.step - last) / (time.monotonic() - noted)
            note(options.out, training, schedule(done) * options.rate, means(steps.sums()), speed)
            noted, last = time.monotonic(), training.step
        if time.monotonic() - saved > SAVED_EVERY:
            training.save(options.out)
            saved = time.monotonic()
    if training.step > last:
        speed = (training.step - last) / max(1e-6, time.monotonic() - noted)
        note(options.out, training, 0.0, means(steps.sums()), speed)
    training.save(options.out)


def note(out: Path, training: Training, rate: float, figures: tuple[float, ...], speed: float) -> None:
    """Write and print a line of the log, with ``figures`` since the last one, at ``speed`` steps a second."""
    line = "\t".join([f"{training.step}", f"{training.seconds:.0f}", f"{rate:.6f}", *(f"{f:.4f}" for f in figures)])
    print(f"{line}\t{speed:.2f} steps/s", flush=True)
    with (out / "log.tsv").open("a") as log:
        log.write(line + "\n")


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
    parser.add_argument("--eager", action="store_true", help="do without CUDA graphs")
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
