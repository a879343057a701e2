"""Our CUDA kernels built for the CPU, for tests without a GPU: the same source, its threads taking turns."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from torch import Tensor

from minimoto.engines import cuda_kernel
from minimoto.engines.cuda_kernel import Argument

_HERE = Path(__file__).parent
_KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)', re.S)


class OnCpu:
    """As :class:`minimoto.engines.cuda_kernel.Compiled`, for tensors on the CPU."""

    def __init__(self, text: str, options: Sequence[str]) -> None:
        self.launched: list[str] = []
        with tempfile.TemporaryDirectory() as place:
            file, built = Path(place, "kernels.cpp"), Path(place, "kernels.so")
            shims = "\n".join(map(_shim, *zip(*_KERNEL.findall(text), strict=True)))
            file.write_text(f'#include "{_HERE / "cuda_on_cpu.h"}"\n{text}\n{shims}\n')
            command = ["g++", "-O1", "-w", "-std=c++17", "-mf16c", "-shared", "-fPIC", *options, file, "-o", built]
            subprocess.run([str(one) for one in command], check=True, timeout=100)
            self._library = ctypes.CDLL(str(built))

    def launch(self, name: str, grid: Sequence[int], block: Sequence[int], *arguments: Argument) -> None:
        """Runs one to its end."""
        assert len(grid) == len(block) == 3
        assert all(size >= 1 for size in (*grid, *block))
        assert block[0] * block[1] * block[2] <= 1024
        self.launched.append(name)
        values = [_value(one) for one in arguments]
        places = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
        sizes = [(ctypes.c_int * 3)(*size) for size in (grid, block)]
        count = getattr(self._library, f"count_{name}")()
        assert count == len(values), f"{name} takes {count} arguments, not {len(values)}"
        getattr(self._library, f"run_{name}")(places, *sizes)


@cache
def on_cpu(name: str, **defined: object) -> OnCpu:
    """The kernels of ``<name>.cu`` of the package."""
    if shutil.which("g++") is None:
        pytest.skip("there is no C++ compiler here")
    return OnCpu(cuda_kernel.source_of(name), [f"-D{key}={value}" for key, value in sorted(defined.items())])


def _shim(name: str, parameters: str) -> str:
    kinds = [re.sub(r"\b(const|__restrict__)\b", "", one).rsplit(None, 1)[0].strip() for one in parameters.split(",")]
    passed = ", ".join(f"*({kind}*)a[{place}]" for place, kind in enumerate(kinds))
    return (
        f"static void call_{name}(void** a) {{ {name}({passed}); }}\n"
        f'extern "C" int count_{name}() {{ return {len(kinds)}; }}\n'
        f'extern "C" void run_{name}(void** a, const int* g, const int* b) {{ run_all(call_{name}, a, g, b); }}'
    )


def _value(argument: Argument) -> object:
    if argument is None or isinstance(argument, Tensor):
        return ctypes.c_void_p(None if argument is None else argument.data_ptr())
    return ctypes.c_float(argument) if isinstance(argument, float) else ctypes.c_int(argument)
