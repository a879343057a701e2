"""Kernels compiled where they are needed, and what is said where they cannot be."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest
import torch

from minimoto.engines import cuda_kernel

ADD = """
extern "C" __global__ void add(const float* a, const float* b, float times, float* out, int count) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < count) out[at] = a[at] + (b ? times * b[at] : 0.f);
}
"""


class Compiler:
    """NVRTC as far as it is used; its machine code is the source."""

    def __init__(self) -> None:
        self.compiled: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: 0

    def nvrtcCreateProgram(self, program: object, source: bytes, *rest: object) -> int:
        self.compiled.append(source)
        return 0

    def nvrtcCompileProgram(self, program: object, count: int, options: Any) -> int:
        assert b"--gpu-architecture=sm_90" in list(options)
        return 6 if self.compiled[-1] == b"wrong" else 0

    def nvrtcGetCUBINSize(self, program: object, size: Any) -> int:
        size._obj.value = len(self.compiled[-1])
        return 0

    def nvrtcGetCUBIN(self, program: object, into: Any) -> int:
        into.raw = self.compiled[-1]
        return 0


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compiler:
    made = Compiler()
    monkeypatch.setenv("MINIMOTO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cuda_kernel, "_compiler", lambda: made)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    return made


def test_code_is_compiled_once_for_its_source_and_options(compiler: Compiler) -> None:
    assert [cuda_kernel.image("one", ["-DA=1"]) for _ in range(2)] == [b"one", b"one"]
    assert len(compiler.compiled) == 1
    cuda_kernel.image("one", ["-DA=2"])
    cuda_kernel.image("two", ["-DA=2"])
    assert len(compiler.compiled) == 3


def test_a_cache_that_cannot_be_written_is_said(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MINIMOTO_CACHE", str(tmp_path / "file"))
    assert cuda_kernel.image("one") == b"one"
    assert "compiled in every process" in caplog.text


def test_what_does_not_compile_is_an_error(compiler: Compiler) -> None:
    with pytest.raises(RuntimeError, match="NVRTC error 6"):
        cuda_kernel.image("wrong")


def test_without_a_driver_there_are_none_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    cuda_kernel._kernels.cache_clear()
    assert cuda_kernel.kernels("vgg_cuda", "torch pools, more slowly") is None
    assert "vgg_cuda.cu cannot be had, so torch pools, more slowly: libcuda.so.1" in caplog.text
    monkeypatch.setattr(cuda_kernel, "USED", False)
    assert cuda_kernel.kernels("vgg_cuda", "torch pools, more slowly") is None
    cuda_kernel._kernels.cache_clear()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_does_what_a_kernel_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MINIMOTO_CACHE", str(tmp_path))
    a, b = torch.randn(2, 1000, device="cuda")
    out = torch.empty_like(a)
    for _ in range(2):
        kernels = cuda_kernel.Compiled(ADD)
        kernels.launch("add", (cuda_kernel.blocks(1000, 256), 1, 1), (256, 1, 1), a, b, 2.0, out, 1000)
        assert torch.allclose(out, a + 2 * b)
    kernels.launch("add", (4, 1, 1), (256, 1, 1), a, None, 2.0, out, 1000)
    assert torch.equal(out, a)
    with pytest.raises(RuntimeError, match="nothing"):
        kernels.launch("nothing", (1, 1, 1), (1, 1, 1))
    with pytest.raises(RuntimeError, match="NVRTC error 6"):
        cuda_kernel.Compiled("wrong")
