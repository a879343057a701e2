"""Shows that our RDN and RRDN are idealo's: built in Keras with random weights, saved by Keras, converted, compared.

``python -m benchmarks.models_keras [MODEL ...]``; needs Keras 3, on its torch backend. The graphs are those that
idealo/image-super-resolution describes (``ISR/models/rdn.py``, ``rrdn.py``), layer names included; the file is written
by Keras's own HDF5 writer, so names, nesting and the order of the axes are put to the test. What it cannot show is that
the published numbers are good: those files are held to their SHA-256.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

SIZES: dict[str, dict[str, int]] = {
    "psnr-small": {"c": 3, "d": 10, "g": 64},
    "psnr-large": {"c": 6, "d": 20, "g": 64},
    "gans": {"c": 4, "d": 3, "t": 10, "g": 32},
}


class Graph:
    """Keras layers by name."""

    def __init__(self) -> None:
        import keras

        self.keras = keras

    def convolution(self, x: Any, channels: int, name: str, kernel: int = 3, *, relu: bool = False) -> Any:
        layer = self.keras.layers.Conv2D(channels, kernel, padding="same", name=name, bias_initializer="normal")
        return self.keras.layers.Activation("relu", name=f"{name}_Relu")(layer(x)) if relu else layer(x)

    def dense(self, x: Any, c: int, g: int, name: str) -> Any:
        for k in range(1, c + 1):
            new = self.convolution(x, g, f"F_{name}_{k}", relu=True)
            x = self.keras.layers.Concatenate(name=f"RDB_Concat_{name}_{k}")([x, new])
        return x

    def rdn(self, c: int, d: int, g: int) -> Any:
        photo = self.keras.Input((None, None, 3), name="LR")
        outer = self.convolution(photo, g, "F_m1")
        features, found = self.convolution(outer, g, "F_0"), []
        for block in range(1, d + 1):
            fused = self.convolution(self.dense(features, c, g, str(block)), g, f"LFF_{block}", 1)
            features = self.keras.layers.Add(name=f"LRL_{block}")([fused, features])
            found.append(features)
        together = self.keras.layers.Concatenate(name="LRLs_Concat")(found)
        last = self.convolution(self.convolution(together, g, "GFF_1", 1), g, "GFF_2")
        x = self.keras.layers.Add(name="FDF")([last, outer])
        x = self.convolution(self.convolution(x, 64, "UPN1", 5, relu=True), 32, "UPN2", relu=True)
        x = self.keras.layers.UpSampling2D(2, name="UPsample")(self.convolution(x, 12, "UPN3"))
        return self.keras.Model(photo, self.convolution(x, 3, "SR"))

    def rrdn(self, c: int, d: int, t: int, g: int) -> Any:
        photo = self.keras.Input((None, None, 3), name="LR_input")
        outer = features = self.convolution(photo, g, "Pre_blocks_conv")
        for block in range(1, t + 1):
            inner = features
            for number in range(1, d + 1):
                name = f"{block}_{number}"
                fused = self.convolution(self.dense(inner, c, g, name), g, f"LFF_{name}")
                inner = self.keras.layers.Add(name=f"LRL_{name}")([inner, fused * 0.2])
            features = self.keras.layers.Add(name=f"RRDB_{block}_out")([features, inner * 0.2])
        x = self.keras.layers.Add(name="GRL")([self.convolution(features, g, "post_blocks_conv"), outer])
        shuffled = _DepthToSpace.of(self.keras)(self.convolution(x, 48, "PreShuffle"))
        return self.keras.Model(photo, self.convolution(shuffled, 3, "SR"))


class _DepthToSpace:
    """TensorFlow's ``depth_to_space`` of four, which Keras does not have."""

    @staticmethod
    def of(keras: Any) -> Any:
        class Layer(keras.layers.Layer):  # type: ignore[misc]
            def compute_output_shape(self, shape: Any) -> Any:
                return (shape[0], shape[1] and 4 * shape[1], shape[2] and 4 * shape[2], 3)

            def call(self, x: Any) -> Any:
                count, height, width, _ = keras.ops.shape(x)
                blocks = keras.ops.reshape(x, (count, height, width, 4, 4, 3))
                blocks = keras.ops.transpose(blocks, (0, 1, 3, 2, 4, 5))
                return keras.ops.reshape(blocks, (count, 4 * height, 4 * width, 3))

        return Layer(name="PixelShuffle")


def compare(name: str, side: int) -> tuple[float, int]:
    """PSNR in dB between Keras's picture and ours, against the range of Keras's; and the bytes of Keras's file."""
    import h5py
    import torch
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    from minimoto.engines.published import UPSCALERS
    from minimoto.engines.registry_convert import convert
    from minimoto.engines.registry_models import MODELS

    graph = Graph()
    model = (graph.rrdn if "t" in SIZES[name] else graph.rdn)(**SIZES[name])
    photo = np.random.default_rng(1).random((1, side, side, 3), np.float32)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        file, weights = Path(folder, "weights.hdf5"), Path(folder, "weights.safetensors")
        with h5py.File(file, "w") as written:
            save_weights_to_hdf5_group(written, model)
        from safetensors.numpy import save_file

        save_file(convert(name, MODELS[name].sources[0].format, file), weights)
        theirs = np.asarray(model(photo).detach().cpu())[0]
        ours = UPSCALERS[name].build(weights)(torch.from_numpy(photo.transpose(0, 3, 1, 2)))[0].numpy()
        error = float(np.mean((ours.transpose(1, 2, 0) - theirs) ** 2)) / float(np.ptp(theirs)) ** 2
        return -10 * float(np.log10(error)), file.stat().st_size


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(SIZES)} (default: all)")
    parser.add_argument("--side", type=int, default=24, help="of the picture, in pixels (default: %(default)s)")
    args = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "torch")
    from minimoto.engines.registry_models import MODELS

    for name in args.models or SIZES:
        psnr, size = compare(name, args.side)
        print(f"{name}: PSNR {psnr:.1f} dB; Keras wrote {size} bytes, published are {MODELS[name].size}")


if __name__ == "__main__":
    main()
