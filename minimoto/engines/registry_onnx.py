"""Networks that are kept as ONNX, which OpenCV reads: block-quantised weights become plain numbers, which any does.

Format: ``onnx.proto`` of ONNX, in Protocol Buffers' wire format, of which only the few fields below are looked into;
all others go through as they are.
The same file gives the same bytes everywhere: each weight is one product of two numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimoto.errors import ModelMissing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "yunet": tuple(f"{what}_{stride}" for what in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)),
}
"""What a model of that name must put out: what OpenCV's ``FaceDetectorYN`` asks for."""

_GRAPH, _OPSET = 7, 8  # ModelProto
_NODE, _INITIALIZER, _OUTPUT, _VALUE_INFO = 1, 5, 12, 13  # GraphProto
_INPUTS, _RESULTS, _OPERATOR, _ATTRIBUTE = 1, 2, 4, 5  # NodeProto
_DIMS, _TYPE, _TENSOR_NAME, _RAW, _EXTERNAL = 1, 2, 8, 9, 14  # TensorProto
_KINDS = {1: "<f4", 3: "<i1", 7: "<i8"}
_PLAIN_OPSET = 12
"""An operator set from before blocks; nothing that is left needs a newer one."""

Value = int | bytes


@dataclass(frozen=True)
class Field:
    """A field of a message: its number, and an integer (wire type 0) or bytes (2; 1 and 5 where they are so long)."""

    number: int
    wire: int
    value: Value


Message = list[Field]


def plain(name: str, path: Path) -> bytes:
    """The model ``name`` as ONNX without quantised weights; a file that has none stays as it is, byte for byte.

    Raises:
        ModelMissing: the file is damaged, or holds another network.
    """
    data = path.read_bytes()
    try:
        model = _read(data)
        graph = _read(_bytes(model, _GRAPH))
        found = [_text(_read(each), 1) for each in _all(graph, _OUTPUT)]
        if sorted(found) != sorted(OUTPUTS[name]):
            raise ModelMissing(f"{path}: this is not {name}: it puts out {', '.join(found) or 'nothing'}")
        unfolded = _unfold(graph)
    except (IndexError, KeyError, ValueError, OverflowError, struct.error) as error:
        raise ModelMissing(f"{path}: not read as ONNX: {error}") from error
    if unfolded is None:
        return data
    opset = _write([Field(1, 2, b""), Field(2, 0, _PLAIN_OPSET)])
    parts = {_GRAPH: _write(unfolded), _OPSET: opset}
    return _write([replace(field, value=parts.get(field.number, field.value)) for field in model])


def _unfold(graph: Message) -> Message | None:
    """The graph with each ``DequantizeLinear`` of weights, and the ``Reshape`` after it, replaced by their result; None
    where there is nothing of the kind."""
    tensors = {_text(tensor, _TENSOR_NAME): tensor for tensor in map(_read, _all(graph, _INITIALIZER))}
    made: dict[str, npt.NDArray[Any]] = {}
    nodes: list[bytes] = []
    for data in _all(graph, _NODE):
        node = _read(data)
        operator, inputs = _text(node, _OPERATOR), [each.decode() for each in _all(node, _INPUTS)]
        if operator == "DequantizeLinear":
            values, scales, zero = (_array(tensors[name]) for name in inputs)
            numbers = _integers(node)
            made[_text(node, _RESULTS)] = _dequantized(values, scales, zero, numbers["axis"], numbers["block_size"])
        elif operator == "Reshape" and inputs[0] in made:
            made[_text(node, _RESULTS)] = made[inputs[0]].reshape(_array(tensors[inputs[1]]).tolist())
        else:
            nodes.append(data)
    if not made:
        return None
    used = {each.decode() for data in nodes for each in _all(_read(data), _INPUTS)}
    weights = [_write(tensor) for name, tensor in tensors.items() if name in used]
    weights += [_tensor(name, array) for name, array in made.items() if name in used]
    kept = [field for field in graph if field.number not in {_NODE, _INITIALIZER, _VALUE_INFO}]
    fields = [*kept, *(Field(_NODE, 2, node) for node in nodes), *(Field(_INITIALIZER, 2, each) for each in weights)]
    return sorted(fields, key=lambda field: field.number)


def _dequantized(
    values: npt.NDArray[Any], scales: npt.NDArray[Any], zero: npt.NDArray[Any], axis: int, block_size: int
) -> npt.NDArray[np.float32]:
    """``(values - zero) * scales``, where one scale is that of ``block_size`` values along ``axis``."""
    import numpy as np

    if block_size < 1 or not np.isfinite(scales).all():
        raise ValueError("scales that are not finite, or not of blocks")
    shape = list(values.shape)
    block_size = min(block_size, shape[axis])
    shape[axis] = -(-shape[axis] // block_size)
    if list(scales.shape) != shape or zero.shape != scales.shape:
        raise ValueError("scales of another shape than the weights have")

    def spread(blocks: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.repeat(blocks, block_size, axis).take(range(values.shape[axis]), axis)

    result: npt.NDArray[np.float32]
    with np.errstate(over="ignore"):
        result = (values.astype(np.float32) - spread(zero).astype(np.float32)) * spread(scales)
    if not np.isfinite(result).all():
        raise ValueError("scales that are too large")
    return result


def _array(tensor: Message) -> npt.NDArray[Any]:
    import numpy as np

    if any(field.number == _EXTERNAL and field.value for field in tensor):
        raise ValueError("weights that lie in another file")
    kind = _KINDS[_integer(tensor, _TYPE)]
    return np.frombuffer(_bytes(tensor, _RAW), kind).reshape(_dims(tensor))


def _dims(tensor: Message) -> list[int]:
    """Written one by one, or packed."""
    dims: list[int] = []
    for field in tensor:
        if field.number == _DIMS and isinstance(field.value, bytes):
            at = 0
            while at < len(field.value):
                value, at = _varint(field.value, at)
                dims.append(value)
        elif field.number == _DIMS:
            dims.append(int(field.value))
    return dims


def _tensor(name: str, array: npt.NDArray[np.float32]) -> bytes:
    dims = [Field(_DIMS, 0, side) for side in array.shape]
    rest = [Field(_TYPE, 0, 1), Field(_TENSOR_NAME, 2, name.encode()), Field(_RAW, 2, array.astype("<f4").tobytes())]
    return _write([*dims, *rest])


def _integers(node: Message) -> dict[str, int]:
    """A node's attributes that are integers."""
    found = {}
    for attribute in map(_read, _all(node, _ATTRIBUTE)):
        found[_text(attribute, 1)] = _integer(attribute, 3)
    return found


def _integer(message: Message, number: int) -> int:
    for field in message:
        if field.number == number and isinstance(field.value, int):
            return field.value
    raise ValueError(f"the field {number} is missing")


def _all(message: Message, number: int) -> Iterator[bytes]:
    return (field.value for field in message if field.number == number and isinstance(field.value, bytes))


def _bytes(message: Message, number: int) -> bytes:
    found = next(_all(message, number), None)
    if found is None:
        raise ValueError(f"the field {number} is missing")
    return found


def _text(message: Message, number: int) -> str:
    return _bytes(message, number).decode()


def _read(data: bytes) -> Message:
    fields: Message = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            fields.append(Field(number, wire, value))
            continue
        if wire not in {1, 2, 5}:
            raise ValueError(f"a field of wire type {wire}")
        size, at = _varint(data, at) if wire == 2 else (8 if wire == 1 else 4, at)
        if at + size > len(data):
            raise ValueError("it ends too early")
        fields.append(Field(number, wire, data[at : at + size]))
        at += size
    return fields


def _write(message: Message) -> bytes:
    parts: list[bytes] = []
    for field in message:
        parts.append(_packed(field.number << 3 | field.wire))
        if isinstance(field.value, int):
            parts.append(_packed(field.value))
        else:
            parts += [_packed(len(field.value)), field.value] if field.wire == 2 else [field.value]
    return b"".join(parts)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
    raise ValueError("a number of more than 64 bits")


def _packed(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
