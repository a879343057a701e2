"""Kernels of ours for NVIDIA's GPUs: CUDA C++ beside this file, compiled by NVRTC where they are first needed.

NVRTC comes with torch's CUDA packages and needs neither a compiler nor headers; a file of ours takes it up to a second,
once a machine. Kernels are launched on torch's current stream, so that a CUDA graph captures them with torch's own.
Whoever asks for kernels has another way by torch's operations, which is also what they are tested against.

Source: NVIDIA, "NVRTC" and "CUDA Driver API", ``cuModuleLoadData`` and ``cuLaunchKernel``.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import operator
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from minimoto.engines.runtime_cache import cache_dir

log = logging.getLogger("minimoto.runtime")

USED = True
"""Whether there are any; without them torch's own operations do the work."""
_FOLDER = Path(__file__).parent
_NO_CONTEXT = 201
Argument = Tensor | int | float | None


class Kernels(Protocol):
    """The kernels of one file."""

    def launch(self, name: str, grid: Sequence[int], block: Sequence[int], *arguments: Argument) -> None:
        """Starts one on the current stream.

        Parameters:
            grid, block: blocks of the grid and threads of a block, three numbers each.
            arguments: tensors by their memory, ``None`` for none, whole numbers as ``int``, others as ``float``. The
                kernel cannot tell whether they are what it takes.

        Raises:
            RuntimeError: it could not be started.
        """


class Compiled:
    """Kernels that NVRTC compiles for the current GPU.

    Parameters:
        source: CUDA C++; kernels are ``extern "C"``.
        options: of the compiler.

    Raises:
        OSError: there is no NVRTC.
        RuntimeError: it does not compile, or the GPU does not take it.
    """

    def __init__(self, source: str, options: Sequence[str] = ()) -> None:
        self._driver = ctypes.CDLL("libcuda.so.1")
        code = image(source, options)
        # A module is loaded to the context that torch made current.
        torch.zeros(1, device="cuda")
        self._module = ctypes.c_void_p()
        self._check(self._driver.cuModuleLoadData(ctypes.byref(self._module), code), "cuModuleLoadData")
        self._functions: dict[str, ctypes.c_void_p] = {}

    def launch(self, name: str, grid: Sequence[int], block: Sequence[int], *arguments: Argument) -> None:
        """See :class:`Kernels`."""
        function = self._functions.get(name) or self._found(name)
        values = [_value(one) for one in arguments]
        places = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        asked = function, *grid, *block, 0, stream, places, None
        code = self._driver.cuLaunchKernel(*asked)
        if code == _NO_CONTEXT:
            # A thread in which torch has done nothing yet.
            torch.zeros(1, device="cuda")
            code = self._driver.cuLaunchKernel(*asked)
        self._check(code, name)

    def _found(self, name: str) -> ctypes.c_void_p:
        function = ctypes.c_void_p()
        self._check(self._driver.cuModuleGetFunction(ctypes.byref(function), self._module, name.encode()), name)
        self._functions[name] = function
        return function

    def _check(self, code: int, what: str) -> None:
        if code:
            raise RuntimeError(f"CUDA error {code}: {what}")


def kernels(name: str, instead: str, **defined: object) -> Kernels | None:
    """The kernels of ``<name>.cu`` for the current GPU, compiled once a process; ``None``, said in the log, without.

    Parameters:
        instead: what happens without them, for the log: "torch's operations enlarge, more slowly".
        defined: macros of the preprocessor.
    """
    if not USED:
        return None
    return _kernels(name, instead, tuple(f"-D{key}={value}" for key, value in sorted(defined.items())))


def blocks(count: int, size: int) -> int:
    """How many blocks of ``size`` threads take ``count``."""
    return -(-count // size)


def source_of(name: str) -> str:
    """``<name>.cu``, behind what all of them share."""
    return "".join((_FOLDER / file).read_text("utf-8") for file in ("cuda_kernel.cuh", f"{name}.cu"))


def image(source: str, options: Sequence[str] = ()) -> bytes:
    """The machine code of CUDA C++ for the current GPU, kept for the next process.

    Raises:
        OSError: there is no NVRTC.
        RuntimeError: it does not compile; the message is the compiler's.
    """
    compiler = _compiler()
    version = (ctypes.c_int * 2)()
    compiler.nvrtcVersion(ctypes.byref(version, 0), ctypes.byref(version, ctypes.sizeof(ctypes.c_int)))
    major, minor = torch.cuda.get_device_capability()
    given = [f"--gpu-architecture=sm_{major}{minor}", "--std=c++17", *options]
    written = "\0".join([source, *given, *map(str, version)])
    kept = cache_dir() / "kernels" / f"{hashlib.sha256(written.encode()).hexdigest()[:32]}.cubin"
    if kept.exists():
        return kept.read_bytes()
    made = _compiled(compiler, source, given)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as file:
            file.write(made)
        os.replace(file.name, kept)
    except OSError as error:
        log.warning("machine code of kernels cannot be kept, so it is compiled in every process: %s", error)
    return made


def _compiled(compiler: ctypes.CDLL, source: str, options: Sequence[str]) -> bytes:
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    code = compiler.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    if code:
        raise RuntimeError(f"NVRTC error {code}")
    try:
        array = (ctypes.c_char_p * len(options))(*[one.encode() for one in options])
        code = compiler.nvrtcCompileProgram(program, len(options), array)
        if code:
            compiler.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            said = ctypes.create_string_buffer(size.value)
            compiler.nvrtcGetProgramLog(program, said)
            raise RuntimeError(f"NVRTC error {code}: {said.value.decode(errors='replace').strip()}")
        compiler.nvrtcGetCUBINSize(program, ctypes.byref(size))
        found = ctypes.create_string_buffer(size.value)
        compiler.nvrtcGetCUBIN(program, found)
        return found.raw
    finally:
        compiler.nvrtcDestroyProgram(ctypes.byref(program))


@functools.cache
def _kernels(name: str, instead: str, options: tuple[str, ...]) -> Kernels | None:
    return made(lambda: Compiled(source_of(name), options), name, instead)


def made(make: Callable[[], Kernels], name: str, instead: str) -> Kernels | None:
    """What ``make`` makes; ``None``, said in the log, where it cannot."""
    try:
        return make()
    except (OSError, RuntimeError) as error:
        log.warning("the kernels of %s.cu cannot be had, so %s: %s", name, instead, error)
        return None


def _compiler() -> ctypes.CDLL:
    version = (torch.version.cuda or "").partition(".")[0]
    error: OSError | None = None
    for number in dict.fromkeys((version, "13", "12")):
        try:
            return ctypes.CDLL(f"libnvrtc.so.{number}")
        except OSError as missing:
            error = error or missing
    assert error is not None
    raise error


def _value(argument: Argument) -> ctypes._SimpleCData[object]:
    if argument is None or isinstance(argument, Tensor):
        return ctypes.c_void_p(None if argument is None else argument.data_ptr())  # type: ignore[return-value]
    if isinstance(argument, float):
        return ctypes.c_float(argument)  # type: ignore[return-value]
    return ctypes.c_int(operator.index(argument))  # type: ignore[return-value]
