"""ONNX with block-quantised weights to ONNX with plain ones: read back by OpenCV, by numbers that NumPy gives."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minimoto.engines import registry_onnx as onnx
from minimoto.engines.registry import fetch, model_path, state
from minimoto.engines.registry_download import digest
from minimoto.engines.registry_models import MODELS, Model, Source
from minimoto.engines.registry_onnx import OUTPUTS, Field, plain
from minimoto.errors import ModelMissing

INT8, INT64, FLOAT = 3, 7, 1
RANDOM = np.random.default_rng(7)
VALUES = RANDOM.integers(-127, 127, (4, 27)).astype(np.int8)
SCALES = RANDOM.random((4, 3)).astype(np.float32) / 50
ZEROS = RANDOM.integers(-5, 5, (4, 3)).astype(np.int8)
WEIGHTS = ((VALUES.astype(np.float32) - ZEROS.repeat(9, 1)) * SCALES.repeat(9, 1)).reshape(4, 3, 3, 3)


def text(number: int, value: str) -> Field:
    return Field(number, 2, value.encode())


def message(number: int, *fields: Field) -> Field:
    return Field(number, 2, onnx._write(list(fields)))


def tensor(name: str, kind: int, values: np.ndarray) -> Field:
    dims = [Field(1, 0, side) for side in values.shape]
    return message(5, *dims, Field(2, 0, kind), text(8, name), Field(9, 2, values.tobytes()))


def integer(name: str, value: int) -> Field:
    return message(5, text(1, name), Field(3, 0, value), Field(20, 0, 2))


def node(operator: str, inputs: list[str], output: str, *attributes: Field) -> Field:
    return message(1, *(text(1, name) for name in inputs), text(2, output), text(4, operator), *attributes)


def value(number: int, name: str, *shape: int) -> Field:
    sides = message(2, *(message(1, Field(1, 0, side)) for side in shape))
    return message(number, text(1, name), message(2, message(1, Field(1, 0, FLOAT), sides)))


def network(
    output: str = "out", *, block: int = 9, scales: np.ndarray = SCALES, zeros: np.ndarray = ZEROS, more: int = 0
) -> bytes:
    """A convolution of 3 colours to 4 channels, its weights (4, 27) in blocks of nine."""
    blocks = [integer("axis", 1), integer("block_size", block)]
    pads = message(5, text(1, "pads"), *(Field(8, 0, 1) for _ in range(4)), Field(20, 0, 7))
    side = message(5, text(1, "kernel_shape"), *(Field(8, 0, 3) for _ in range(2)), Field(20, 0, 7))
    graph = message(
        7,
        node("DequantizeLinear", ["w", "s", "z"], "dequantized", *blocks),
        node("Reshape", ["dequantized", "shape"], "kernel"),
        node("Conv", ["in", "kernel"], output, side, pads),
        text(2, "a test"),
        tensor("w", INT8, VALUES),
        tensor("s", FLOAT, scales),
        tensor("z", INT8, zeros),
        tensor("shape", INT64, np.array([4, 3, 3, 3])),
        value(11, "in", 1, 3, 8, 10),
        value(12, output, 1, 4, 8, 10),
        value(13, "dequantized", 4, 27),
    )
    version = message(8, text(1, ""), Field(2, 0, 21 + more))
    return onnx._write([Field(1, 0, 6), graph, version])


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model ``tiny``, as it is published."""
    file = tmp_path / "published" / "tiny_blocks.onnx"
    file.parent.mkdir()
    file.write_bytes(network())
    monkeypatch.setitem(OUTPUTS, "tiny", ("out",))  # type: ignore[arg-type]
    result = digest(save(tmp_path / "result.onnx", plain("tiny", file)))
    source = Source(
        file.name, digest(file), len(network()), "onnx", "https://localhost:1/tiny_blocks.onnx", result=result
    )
    monkeypatch.setitem(MODELS, "tiny", Model("tiny", "a test", "MIT", (source,), ".onnx"))
    return file


def save(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_weights_in_blocks_become_the_plain_numbers_that_they_stand_for(published: Path) -> None:
    data = plain("tiny", published)
    photo = RANDOM.random((1, 3, 8, 10), np.float32)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    net.setInput(photo)
    padded = np.pad(photo[0], [(0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    assert np.abs(net.forward()[0] - np.einsum("chwij,ocij->ohw", windows, WEIGHTS)).max() < 1e-4
    assert WEIGHTS.tobytes() in data
    assert b"DequantizeLinear" not in data
    assert VALUES.tobytes() not in data


def test_a_file_without_blocks_stays_as_it_is(published: Path, tmp_path: Path) -> None:
    data = plain("tiny", published)
    assert plain("tiny", save(tmp_path / "plain.onnx", data)) == data


def test_it_is_fetched_carried_and_checked_like_any_model(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelMissing, match="minimoto models fetch tiny"):
        model_path("tiny")
    stick = tmp_path / "stick"
    path = fetch("tiny", [published.parent], to=stick)
    assert path == stick / "tiny.onnx"
    assert digest(path) == MODELS["tiny"].sources[0].result == json.loads((stick / "tiny.json").read_text())["sha256"]
    assert fetch("tiny", [stick]) == model_path("tiny")
    model_path("tiny").write_bytes(b"something else")
    assert state("tiny") == "wrong"


def test_a_conversion_with_another_result_is_not_kept(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "_PLAIN_OPSET", 13)
    with pytest.raises(ModelMissing, match="what was made of it has the SHA-256"):
        fetch("tiny", [published])
    assert state("tiny") == "missing"


def test_a_digest_that_a_person_vouches_for_is_taken(published: Path, tmp_path: Path) -> None:
    other = save(tmp_path / "other.onnx", network(more=1))
    with pytest.raises(ModelMissing, match="--sha256"):
        fetch("tiny", [other])
    assert fetch("tiny", [other], sha256=digest(other)).is_file()
    tensors = save(tmp_path / "other.safetensors", b"")
    with pytest.raises(ModelMissing, match="no other kind of file is read"):
        fetch("tiny", [tensors], sha256=digest(tensors))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not read as ONNX: the field 7 is missing"),
        (b"\x08", "not read as ONNX"),
        (b"\xff" * 20, "not read as ONNX: a number of more than 64 bits"),
        (b"\x3b", "not read as ONNX: a field of wire type 3"),
        (b"\x3a\x7f\x00", "not read as ONNX: it ends too early"),
        (network("other"), "this is not tiny: it puts out other"),
        (network(block=5), "not read as ONNX: scales of another shape"),
        (network(block=0), "not read as ONNX: scales that are not finite, or not of blocks"),
        (network(scales=np.full_like(SCALES, np.inf)), "not read as ONNX: scales that are not finite"),
        (network(zeros=ZEROS[:2]), "not read as ONNX: scales of another shape"),
        (network()[:-40], "not read as ONNX"),
    ],
)
def test_what_is_damaged_or_another_network_is_one_line(
    published: Path, tmp_path: Path, data: bytes, says: str
) -> None:
    with pytest.raises(ModelMissing, match=says) as error:
        plain("tiny", save(tmp_path / "bad.onnx", data))
    assert "\n" not in str(error.value)


@given(st.integers(0, len(network()) - 1), st.integers(0, 255))
@example(358, 124)  # a scale of 4e36
def test_any_other_byte_is_read_or_refused(at: int, byte: int) -> None:
    data = bytearray(network())
    data[at] = byte
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, suppress(ModelMissing):
        patch.setitem(OUTPUTS, "tiny", ("out",))  # type: ignore[arg-type]
        assert plain("tiny", save(Path(folder) / "odd.onnx", bytes(data)))


def test_numbers_are_written_as_protocol_buffers_has_them() -> None:
    # The examples of its encoding guide.
    assert onnx._write([Field(1, 0, 150)]) == bytes.fromhex("089601")
    assert onnx._write([Field(2, 2, b"testing")]) == bytes.fromhex("120774657374696e67")
    packed = [Field(1, 2, bytes.fromhex("038e029ea705"))]
    assert onnx._dims(packed) == [3, 270, 86942]


FIELDS = st.one_of(
    st.builds(Field, st.integers(1, 500), st.just(0), st.integers(0, 2**64 - 1)),
    st.builds(Field, st.integers(1, 500), st.just(1), st.binary(min_size=8, max_size=8)),
    st.builds(Field, st.integers(1, 500), st.just(2), st.binary(max_size=300)),
    st.builds(Field, st.integers(1, 500), st.just(5), st.binary(min_size=4, max_size=4)),
)


@given(st.lists(FIELDS))
def test_what_is_written_is_what_is_read(fields: list[Field]) -> None:
    assert onnx._read(onnx._write(fields)) == fields
