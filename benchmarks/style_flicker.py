"""How much styled frames flicker: the warping error of Lai et al. (2018, equation 3), with ``temporal`` off and on.

    python -m benchmarks.style_flicker [--photo FILE] [--styles swirl,ink] [--frames 12] [--side 640] [--weights FILE]
        [--keep FOLDER]

A camera moves over a photo: pan, slow zoom and turn, with the noise and the small changes of exposure that a real one
has. Where each pixel was in the frame before is known exactly. Printed are root mean squared differences, in levels of
255, between a frame and the one before moved to its place: of the photos (what noise and exposure alone make), of each
frame styled for itself, and of the frames styled with ``temporal=on``; and how sharp the results are (mean gradient).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import machine, versions

Pixels = NDArray[np.uint8]
Frame = tuple[Pixels, NDArray[np.float32], NDArray[np.bool_]]
"""A frame; where its pixels were in the frame before (flow); where that is inside it."""


def moving_camera(photo: Pixels, count: int, size: tuple[int, int], seed: int = 0, noise: float = 2.0) -> list[Frame]:
    """``count`` frames of ``size`` (width, height) of a camera that moves over ``photo``."""
    import cv2

    chance = np.random.default_rng(seed)
    fit = 1.25 * max(size[0] / photo.shape[1], size[1] / photo.shape[0])
    # At about the frames' scale and as soft as through a lens: what is sharper than pixels would shimmer by itself.
    photo = np.asarray(cv2.resize(photo, None, fx=fit, fy=fit, interpolation=cv2.INTER_AREA), np.uint8)
    photo = np.asarray(cv2.GaussianBlur(photo, (0, 0), 0.7), np.uint8)
    frames: list[Frame] = []
    before: NDArray[np.float64] | None = None
    for number in range(count):
        place = _view(photo, number, size)
        pixels = cv2.warpAffine(photo, place[:2], size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        light = 1 + 0.015 * np.sin(number * 2.4)
        noisy = pixels * light + chance.normal(0, noise, pixels.shape)
        flow, valid = _flow(place, before if before is not None else place, size)
        frames.append((np.clip(noisy, 0, 255).astype(np.uint8), flow, valid))
        before = place
    return frames


def _view(photo: Pixels, number: int, size: tuple[int, int]) -> NDArray[np.float64]:
    """The map from the photo to frame ``number``."""
    fit = 1.25 * max(size[0] / photo.shape[1], size[1] / photo.shape[0])
    scale, turn = fit * (1 + 0.004 * number), np.deg2rad(0.25 * number)
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    centre = np.array([photo.shape[1] / 2 + 3.1 * number / fit, photo.shape[0] / 2 - 1.7 * number / fit])
    turned = np.array([[c, -s], [s, c]])
    shift = np.array(size) / 2 - turned @ centre
    return np.array([[c, -s, shift[0]], [s, c, shift[1]], [0, 0, 1]])


def _flow(
    now: NDArray[np.float64], before: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    x, y = np.meshgrid(np.arange(size[0], dtype=np.float64), np.arange(size[1], dtype=np.float64))
    back = before @ np.linalg.inv(now)
    there = [back[row, 0] * x + back[row, 1] * y + back[row, 2] for row in (0, 1)]
    valid = (there[0] >= 1) & (there[1] >= 1) & (there[0] <= size[0] - 2) & (there[1] <= size[1] - 2)
    return np.stack([there[0] - x, there[1] - y], -1).astype(np.float32), valid


def flicker(results: list[Pixels], frames: list[Frame]) -> float:
    """Root of the mean warping error over the sequence, in levels of 255."""
    from minimoto.engines.style_video import warping_error

    pairs = zip(results, results[1:], frames[1:], strict=False)
    errors = [warping_error(before, after, flow, valid) for before, after, (_, flow, valid) in pairs]
    return float(np.sqrt(np.mean(errors)) * 255)


def sharpness(results: list[Pixels]) -> float:
    """Mean length of the gradient of the luma, in levels a pixel, of the later half of the sequence."""
    half = results[len(results) // 2 :]
    lengths = [np.hypot(*np.gradient(one.astype(np.float32).mean(-1))).mean() for one in half]
    return float(np.mean(lengths))


def styled(frames: list[Frame], name: str, weights: Path, *, temporal: bool) -> list[Pixels]:
    """The frames in one of our styles."""
    from PIL import Image

    from minimoto.engines.style import fast_style
    from minimoto.engines.style_settings import MADE
    from minimoto.engines.style_video import Frames, glance_at

    engine = fast_style(weights)
    look = engine.look([np.asarray(Image.open(MADE / f"{name}.jpg"))])
    if not temporal:
        return [engine.apply(photo, look) for photo, _, _ in frames]
    sequence = Frames([glance_at(photo) for photo, _, _ in frames])
    return [
        sequence.steadied(index, photo, engine.apply(photo, look, own=sequence.colours(index)))
        for index, (photo, _, _) in enumerate(frames)
    ]


def main() -> None:
    """Style the moving camera's frames both ways, and print."""
    from PIL import Image

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--photo", type=Path, default=Path("examples/photos/5-temple.jpg"))
    arguments.add_argument("--styles", default="swirl,ink,mosaic")
    arguments.add_argument("--frames", type=int, default=12)
    arguments.add_argument("--side", type=int, default=640)
    arguments.add_argument("--weights", type=Path, help="other weights than the shipped ones")
    arguments.add_argument("--keep", type=Path, metavar="FOLDER", help="write the styled frames there")
    options = arguments.parse_args()
    weights = options.weights
    if weights is None:
        from minimoto.engines.registry import model_path

        weights = model_path("style")
    photo = np.asarray(Image.open(options.photo).convert("RGB"))
    frames = moving_camera(photo, options.frames, (options.side, options.side * 3 // 4))
    print(f"## Flicker of {options.frames} styled frames, {options.side}x{options.side * 3 // 4}\n\n{machine()}")
    print(f"{versions('numpy', 'opencv-python-headless')}\n")
    print("| style | photos | frame by frame | temporal=on | of frame by frame | sharpness kept |")
    print("|---|---|---|---|---|---|")
    own = flicker([frame for frame, _, _ in frames], frames)
    for name in options.styles.split(","):
        apart, steady = (styled(frames, name, weights, temporal=temporal) for temporal in (False, True))
        errors = flicker(apart, frames), flicker(steady, frames)
        kept = sharpness(steady) / sharpness(apart)
        ratio = errors[1] / errors[0]
        print(f"| {name} | {own:.2f} | {errors[0]:.2f} | {errors[1]:.2f} | {ratio:.0%} | {kept:.0%} |", flush=True)
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            for number, pair in enumerate(zip(apart, steady, strict=True)):
                Image.fromarray(np.hstack(pair)).save(options.keep / f"{name}-{number:03d}.jpg", quality=92)


if __name__ == "__main__":
    main()
