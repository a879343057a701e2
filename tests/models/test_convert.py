"""Published layouts, made small, to the tensors of our networks; idealo's against their definition in plain NumPy."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from minimoto.engines.rdn import RDN
from minimoto.engines.registry_convert import convert, keras_layer
from minimoto.engines.registry_layouts import LAYOUTS, Layout, rdn, rrdbnet, rrdn, vgg
from minimoto.engines.rrdn import RRDN
from minimoto.errors import ModelMissing

from .conftest import Tensors, numbers

h5py = pytest.importorskip("h5py")

Layers = dict[str, tuple[Any, Any]]


@pytest.fixture
def known_as(monkeypatch: pytest.MonkeyPatch) -> Callable[[Layout], None]:
    return lambda layout: monkeypatch.setitem(LAYOUTS, "tiny", lambda: layout)


def keras_file(path: Path, layers: Layers, *, whole_model: bool = False) -> Path:
    """As Keras's ``save_weights`` writes HDF5 (or ``save``: then all lies in one more group)."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole_model else file
        root.attrs["layer_names"] = [name.encode() for name in ["LR", *layers]]
        root.create_group("LR").attrs["weight_names"] = []
        for name, (kernel, bias) in layers.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()]
            group.create_dataset(f"{name}/kernel:0", data=kernel)
            group.create_dataset(f"{name}/bias:0", data=bias)
    return path


def layer(random: np.random.Generator, inputs: int, outputs: int, kernel: int = 3) -> tuple[Any, Any]:
    """A kernel (height, width, in, out) and a bias."""
    shape = (kernel, kernel, inputs, outputs)
    return (random.random(shape) - 0.5).astype(np.float32) / 2, random.random(outputs).astype(np.float32) - 0.5


def conv(photo: Any, weights: tuple[Any, Any]) -> Any:
    """A convolution with zeros around, (H, W, C)."""
    kernel, bias = weights
    side = kernel.shape[0]
    padded = np.pad(photo, [(side // 2,) * 2] * 2 + [(0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (0, 1))
    return np.einsum("hwcij,ijco->hwo", windows, kernel) + bias


def relu(value: Any) -> Any:
    return np.maximum(value, 0)


def rdn_layers(c: int, d: int, g: int, g0: int) -> Layers:
    random = np.random.default_rng(2)
    layers = {"F_m1": layer(random, 3, g0), "F_0": layer(random, g0, g0)}
    for block in range(1, d + 1):
        for k in range(1, c + 1):
            layers[f"F_{block}_{k}"] = layer(random, g0 + (k - 1) * g, g)
        layers[f"LFF_{block}"] = layer(random, g0 + c * g, g0, 1)
    layers |= {"GFF_1": layer(random, d * g0, g0, 1), "GFF_2": layer(random, g0, g0)}
    layers |= {"UPN1": layer(random, g0, 64, 5), "UPN2": layer(random, 64, 32), "UPN3": layer(random, 32, 12)}
    return layers | {"SR": layer(random, 12, 3)}


def rdn_by_definition(photo: Any, w: Layers, c: int, d: int) -> Any:
    """(H, W, 3) to (2 H, 2 W, 3): Zhang et al. 2018 with idealo's last part."""
    outer = conv(photo, w["F_m1"])
    features, found = conv(outer, w["F_0"]), []
    for block in range(1, d + 1):
        seen = features
        for k in range(1, c + 1):
            seen = np.concatenate([seen, relu(conv(seen, w[f"F_{block}_{k}"]))], 2)
        features = features + conv(seen, w[f"LFF_{block}"])
        found.append(features)
    features = conv(conv(np.concatenate(found, 2), w["GFF_1"]), w["GFF_2"]) + outer
    features = conv(relu(conv(relu(conv(features, w["UPN1"])), w["UPN2"])), w["UPN3"])
    return conv(features.repeat(2, 0).repeat(2, 1), w["SR"])


def rrdn_layers(c: int, d: int, t: int, g: int) -> Layers:
    random = np.random.default_rng(3)
    layers = {"Pre_blocks_conv": layer(random, 3, g)}
    for block in range(1, t + 1):
        for dense in range(1, d + 1):
            for k in range(1, c + 1):
                layers[f"F_{block}_{dense}_{k}"] = layer(random, k * g, g)
            layers[f"LFF_{block}_{dense}"] = layer(random, (c + 1) * g, g)
    layers |= {"post_blocks_conv": layer(random, g, g), "PreShuffle": layer(random, g, 48)}
    return layers | {"SR": layer(random, 3, 3)}


def rrdn_by_definition(photo: Any, w: Layers, c: int, d: int, t: int) -> Any:
    """(H, W, 3) to (4 H, 4 W, 3): Wang et al. 2018 with idealo's last part."""
    outer = features = conv(photo, w["Pre_blocks_conv"])
    for block in range(1, t + 1):
        inner = features
        for dense in range(1, d + 1):
            seen = inner
            for k in range(1, c + 1):
                seen = np.concatenate([seen, relu(conv(seen, w[f"F_{block}_{dense}_{k}"]))], 2)
            inner = inner + 0.2 * conv(seen, w[f"LFF_{block}_{dense}"])
        features = features + 0.2 * inner
    shuffled = conv(conv(features, w["post_blocks_conv"]) + outer, w["PreShuffle"])
    # TensorFlow's depth_to_space, NHWC: channels are (row in the block, column in the block, colour).
    height, width, _ = shuffled.shape
    blocks = shuffled.reshape(height, width, 4, 4, 3).transpose(0, 2, 1, 3, 4)
    return conv(blocks.reshape(4 * height, 4 * width, 3), w["SR"])


def run(network: torch.nn.Module, tensors: Tensors, photo: Any) -> Any:
    network.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
    with torch.inference_mode():
        result = network(torch.from_numpy(photo.transpose(2, 0, 1))[None])
    return result[0].numpy().transpose(1, 2, 0)


@pytest.mark.parametrize("whole_model", [False, True])
def test_idealos_rdn_computes_what_its_definition_says(
    tmp_path: Path, known_as: Callable[[Layout], None], whole_model: bool
) -> None:
    c, d, g, g0 = 2, 3, 5, 7
    known_as(rdn(c, d, g, g0))
    layers = rdn_layers(c, d, g, g0)
    tensors = convert("tiny", "keras-rdn", keras_file(tmp_path / "rdn.hdf5", layers, whole_model=whole_model))
    photo = np.random.default_rng(4).random((9, 11, 3), np.float32)
    ours = run(RDN(c, d, g, g0), tensors, photo)
    assert np.abs(ours - rdn_by_definition(photo, layers, c, d)).max() < 1e-4 * np.abs(ours).max()


def test_idealos_rrdn_computes_what_its_definition_says(tmp_path: Path, known_as: Callable[[Layout], None]) -> None:
    c, d, t, g = 2, 3, 2, 6
    known_as(rrdn(c, d, t, g, g))
    layers = rrdn_layers(c, d, t, g)
    tensors = convert("tiny", "keras-rrdn", keras_file(tmp_path / "rrdn.hdf5", layers))
    photo = np.random.default_rng(5).random((7, 8, 3), np.float32)
    ours = run(RRDN(c, d, t, g, g), tensors, photo)
    assert np.abs(ours - rrdn_by_definition(photo, layers, c, d, t)).max() < 1e-4 * np.abs(ours).max()


def test_idealos_names_count_from_one() -> None:
    assert keras_layer("blocks.0.dense.2", {}) == "F_1_3"
    assert keras_layer("blocks.4.1.dense.0", {}) == "F_5_2_1"
    assert keras_layer("blocks.19.fuse", {}) == "LFF_20"


def test_a_keras_file_that_lacks_a_layer_is_refused(tmp_path: Path, known_as: Callable[[Layout], None]) -> None:
    known_as(rdn(1, 1, 4, 4))
    layers = rdn_layers(1, 1, 4, 4)
    del layers["LFF_1"]
    with pytest.raises(ModelMissing, match="the layer LFF_1 is missing"):
        convert("tiny", "keras-rdn", keras_file(tmp_path / "rdn.hdf5", layers))
    (tmp_path / "text.hdf5").write_text("no HDF5")
    with pytest.raises(ModelMissing, match="not read as HDF5"):
        convert("tiny", "keras-rdn", tmp_path / "text.hdf5")


def test_without_h5py_one_line_says_what_to_install(
    tmp_path: Path, known_as: Callable[[Layout], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    known_as(rdn(1, 1, 4, 4))
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ModelMissing, match=r"pip install 'minimoto\[models\]'"):
        convert("tiny", "keras-rdn", tmp_path / "rdn.hdf5")


def test_flax_kernels_become_torchs(tmp_path: Path, known_as: Callable[[Layout], None]) -> None:
    layout = {
        name: shape for name, shape in vgg((2, 2, 3, 3, 3)).items() if name.startswith(("features.0", "features.2."))
    }
    known_as(layout)
    tensors = numbers(layout)
    layers = {
        f"Conv_{number}": {
            "kernel": np.ascontiguousarray(tensors[f"features.{index}.weight"].transpose(2, 3, 1, 0)),
            "bias": tensors[f"features.{index}.bias"],
        }
        for number, index in enumerate((0, 2))
    }
    path = tmp_path / "vgg.ckpt"
    path.write_bytes(pickle.dumps({"VGG16_0": layers}, 3))
    found = convert("tiny", "vgg-flax", path)
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)
    del layers["Conv_1"]
    path.write_bytes(pickle.dumps({"VGG16_0": layers}, 3))
    with pytest.raises(ModelMissing, match="Conv_1 is missing"):
        convert("tiny", "vgg-flax", path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_of_torchvisions_vgg_only_the_convolutions_are_kept(
    tmp_path: Path, known_as: Callable[[Layout], None], zipped: bool
) -> None:
    layout = {name: shape for name, shape in vgg((2, 2, 3, 3, 3)).items() if name.startswith("features.0")}
    known_as(layout)
    tensors = numbers(layout)
    saved = {name: torch.from_numpy(value) for name, value in tensors.items()}
    path = tmp_path / "vgg.pth"
    torch.save({**saved, "classifier.0.weight": torch.zeros(5, 5)}, path, _use_new_zipfile_serialization=zipped)
    found = convert("tiny", "vgg-torch", path)
    assert set(found) == set(layout)
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("half", [True, False])
def test_ncnns_files_are_read_in_the_order_of_the_forward_pass(
    tmp_path: Path, tiny: Tensors, tiny_layout: Layout, known_as: Callable[[Layout], None], half: bool
) -> None:
    known_as(tiny_layout)
    data = b""
    for value in tiny.values():
        if value.ndim > 1:
            tag = 0x01306B47 if half else 0
            stored = value.astype(np.float16 if half else np.float32).tobytes()
            data += tag.to_bytes(4, "little") + stored + bytes(-len(stored) % 4)
        else:
            data += value.tobytes()
    path = tmp_path / "tiny.bin"
    path.write_bytes(data)
    found = convert("tiny", "ncnn", path)
    for name, value in tiny.items():
        assert np.array_equal(found[name], value.astype(np.float16) if half and value.ndim > 1 else value)
    for wrong, why in ((data[:-4], "too early"), (data + bytes(4), "left over"), (b"\1\2\3\4" + data[4:], "tag")):
        path.write_bytes(wrong)
        with pytest.raises(ModelMissing, match=why):
            convert("tiny", "ncnn", path)


def test_averaged_weights_are_preferred(tmp_path: Path, tiny: Tensors, tiny_layout: Layout, known_as: Any) -> None:
    known_as(tiny_layout)
    plain = {name: torch.from_numpy(value) for name, value in tiny.items()}
    averaged = {name: 2 * value for name, value in plain.items()}
    path = tmp_path / "both.pth"
    torch.save({"params": plain, "params_ema": averaged}, path)
    assert np.array_equal(convert("tiny", "basicsr", path)["body.0.bias"], 2 * tiny["body.0.bias"])
    torch.save({"params": plain}, path)
    assert np.array_equal(convert("tiny", "basicsr", path)["body.0.bias"], tiny["body.0.bias"])
    torch.save([1, 2], path)
    with pytest.raises(ModelMissing):
        convert("tiny", "basicsr", path)


def test_safetensors_are_read(tmp_path: Path, tiny: Tensors, tiny_layout: Layout, known_as: Any) -> None:
    known_as(tiny_layout)
    path = tmp_path / "tiny.safetensors"
    save_file(tiny, path)
    assert np.array_equal(convert("tiny", "safetensors", path)["body.0.bias"], tiny["body.0.bias"])
    path.write_bytes(b"nothing")
    with pytest.raises(ModelMissing):
        convert("tiny", "safetensors", path)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("vgg16", 14_714_688),
        ("vgg19", 20_024_384),
        ("realesrgan-x4plus", 16_697_987),
        ("realesr-general-x4v3", 1_213_296),
        ("realesr-animevideov3", 621_424),
        ("psnr-small", 2_619_635),
        ("psnr-large", 16_347_635),
        ("gans", 4_176_100),
    ],
)
def test_layouts_have_the_published_number_of_parameters(name: str, parameters: int) -> None:
    assert sum(int(np.prod(shape)) for shape in LAYOUTS[name]().values()) == parameters


def test_torchvisions_numbers() -> None:
    assert [name for name in vgg((2, 2, 4, 4, 4)) if name.endswith("weight")] == [
        f"features.{number}.weight" for number in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
    ]
    assert rrdbnet(1, inputs=12)["conv_first.weight"] == (64, 12, 3, 3)
