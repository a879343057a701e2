"""Arrays out of files that are pickles, without running anything that such a file names.

A pickle is a program that may call whatever it names. Here a name is looked up in a short table of our own stand-ins,
which only take data in; any other name ends the reading. Neither torch nor NumPy's own unpickling has a part in it.

Formats: NumPy arrays of protocol 2 and later (``ndarray.__reduce__``); ``torch.save`` as a zip archive (since 1.6) and
as the stream of pickles before that (``torch/serialization.py``, ``_legacy_save``).
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from minimoto.errors import ModelMissing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MOST_DIMENSIONS = 8
_STORAGES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}


def load_numpy(path: Path) -> Any:
    """The nested dictionaries and arrays of a pickle of NumPy arrays.

    Raises:
        ModelMissing: the file names anything else, or is damaged.
    """
    return _read(path, lambda file: _resolve(_Unpickler(file, _NUMPY_NAMES).load()))


def load_torch(path: Path) -> Any:
    """The nested dictionaries and arrays of a file that ``torch.save`` wrote, of either kind.

    Raises:
        ModelMissing: the file names anything but tensors, or is damaged.
    """
    return _read(path, _from_zip if zipfile.is_zipfile(path) else _from_stream)


def _read(path: Path, load: Callable[[BinaryIO], Any]) -> Any:
    try:
        with path.open("rb") as file:
            return load(file)
    except OSError as error:
        raise ModelMissing(f"{path}: {error.strerror or error}") from error
    # A broken pickle can fail in any way: what it makes of our stand-ins is not ours to foresee.
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise ModelMissing(f"{path}: not read: {why}") from error


class _Array:
    """Stands for a NumPy array until its data has come."""

    def __init__(self) -> None:
        self.value: Array | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, columns_first, data = state
        if not isinstance(kind, _Kind) or not isinstance(data, bytes) or columns_first:
            raise pickle.UnpicklingError("an array of a kind that is not read")
        self.value = _array(data, kind.text, shape)


class _Kind:
    """Stands for ``numpy.dtype``."""

    def __init__(self, text: Any, *_: Any) -> None:
        if text not in ("f4", "f2", "f8", "i8", "i4"):
            raise pickle.UnpicklingError(f"an array of type {text!r}")
        self.text = f"<{text}"

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", "="):
            raise pickle.UnpicklingError("an array in an other byte order")


class _Mapping(dict[Any, Any]):
    """Stands for ``OrderedDict``; what torch hangs on it is left out."""

    def __setstate__(self, state: Any) -> None:
        """Takes nothing in."""


class _Parameter:
    """Stands for ``torch.nn.Parameter``."""

    def __init__(self, tensor: Any, *_: Any) -> None:
        self.tensor = tensor

    def __setstate__(self, state: Any) -> None:
        """Takes nothing in."""


class _Storage:
    """The numbers behind tensors, whose data may come after the tensors."""

    def __init__(self, kind: str, numbers: int) -> None:
        self.kind, self.numbers, self.data = kind, numbers, b""


class _Tensor:
    """A view of a storage."""

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> None:
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("a tensor without numbers")
        self.storage, self.offset, self.shape, self.strides = storage, int(offset), tuple(shape), tuple(strides)

    def __setstate__(self, state: Any) -> None:
        """Takes nothing in."""

    def array(self) -> Array:
        """Its numbers, copied; strided views that are not plain are refused."""
        import numpy as np

        if self.strides != _plain_strides(self.shape):
            raise pickle.UnpicklingError("a tensor whose numbers do not lie in order")
        size = np.dtype(self.storage.kind).itemsize
        first, count = self.offset * size, math.prod(self.shape) * size
        if self.offset < 0 or first + count > len(self.storage.data):
            raise pickle.UnpicklingError("a tensor beyond the end of its numbers")
        return _array(memoryview(self.storage.data)[first : first + count], self.storage.kind, self.shape)


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError("an array of a class of its own")
    return _Array()


_NUMPY_NAMES: Mapping[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
}
_TORCH_NAMES: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Mapping,
    ("torch._utils", "_rebuild_tensor"): _Tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
    ("torch.nn.parameter", "Parameter"): _Parameter,
    **{("torch", name): kind for name, kind in _STORAGES.items()},
}


class _Unpickler(pickle.Unpickler):
    """Looks names up in a table, and nowhere else."""

    def __init__(self, file: Any, names: Mapping[tuple[str, str], Any], storage: Callable[[Any], Any] | None = None):
        super().__init__(file, encoding="latin1")
        self._names, self._storage = names, storage

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._names[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is never run") from None

    def persistent_load(self, pid: Any) -> Any:
        if self._storage is None:
            raise pickle.UnpicklingError("it refers to data outside of itself")
        return self._storage(pid)


def _from_zip(file: BinaryIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = {info.filename: info for info in archive.infolist()}
        root = next(name[: -len("data.pkl")] for name in names if name.count("/") == 1 and name.endswith("/data.pkl"))
        if any(info.compress_type != zipfile.ZIP_STORED for info in names.values()):
            raise pickle.UnpicklingError("it is compressed, which torch does not do")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise pickle.UnpicklingError("its numbers are in an other byte order")
        storages: dict[str, _Storage] = {}

        def storage(pid: Any) -> _Storage:
            kind, key, numbers = _identity(pid)
            if key not in storages:
                storages[key] = _Storage(kind, numbers)
                storages[key].data = archive.read(f"{root}data/{key}")
            return storages[key]

        with archive.open(f"{root}data.pkl") as document:
            return _resolve(_Unpickler(document, _TORCH_NAMES, storage).load())


def _from_stream(file: BinaryIO) -> Any:
    import numpy as np

    storages: dict[str, _Storage] = {}

    def storage(pid: Any) -> _Storage:
        kind, key, numbers = _identity(pid)
        if len(pid) > 5 and pid[5] is not None:
            raise pickle.UnpicklingError("a storage that is a part of an other one")
        return storages.setdefault(key, _Storage(kind, numbers))

    magic, protocol, _ = (_Unpickler(file, {}).load() for _ in range(3))
    if (magic, protocol) != (_LEGACY_MAGIC, _LEGACY_PROTOCOL):
        raise pickle.UnpicklingError("torch did not write it")
    document = _Unpickler(file, _TORCH_NAMES, storage).load()
    for key in _Unpickler(file, {}).load():
        numbers = int.from_bytes(file.read(8), "little")
        found = storages[key]
        if numbers != found.numbers:
            raise pickle.UnpicklingError("a storage of another size than it says")
        found.data = file.read(numbers * np.dtype(found.kind).itemsize)
    return _resolve(document)


def _identity(pid: Any) -> tuple[str, str, int]:
    """Number type, key and length of a storage, from the tuple by which torch refers to it."""
    if not isinstance(pid, tuple) or pid[0] != "storage" or pid[1] not in _STORAGES.values():
        raise pickle.UnpicklingError("it refers to something that is no storage")
    return pid[1], str(pid[2]), int(pid[4])


def _resolve(value: Any) -> Any:
    """The value with arrays in place of their stand-ins; anything that is not data becomes ``None``."""
    if isinstance(value, dict):
        return {str(key): _resolve(item) for key, item in value.items()}
    if isinstance(value, _Parameter):
        return _resolve(value.tensor)
    if isinstance(value, _Tensor):
        return value.array()
    if isinstance(value, _Array):
        return value.value
    return value if isinstance(value, int | float | str | bytes) else None


def _array(data: bytes | memoryview, kind: str, shape: Any) -> Array:
    import numpy as np

    if len(shape) > _MOST_DIMENSIONS or any(not isinstance(side, int) or side < 0 for side in shape):
        raise pickle.UnpicklingError("an array of an impossible shape")
    dtype: np.dtype[Any] = np.dtype(kind)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise pickle.UnpicklingError("an array of another size than its shape")
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _plain_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
