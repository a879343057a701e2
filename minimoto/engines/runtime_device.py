"""Which processor runs the networks, and with which library and precision.

:func:`decide` is pure; :func:`probe` looks at the machine, and imports torch only where there is a GPU to ask about.
"""

from __future__ import annotations

import functools
import logging
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from minimoto.errors import ConfigError, UsageError

log = logging.getLogger("minimoto.runtime")

CHOICES = ("auto", "cpu", "cuda", "mps", "torch")
DEVICE_VARIABLE = "MINIMOTO_DEVICE"
THREADS_VARIABLE = "MINIMOTO_THREADS"

NO_LIBRARY = "no library to run networks is installed: pip install openvino, or pip install torch"
NO_TORCH = "this needs torch, which is not installed: pip install torch"


@dataclass(frozen=True)
class Device:
    """What networks run on.

    Parameters:
        name: the processor's own name, for the log.
        precision: of the arithmetic; arrays go in and come out as float32. Where a network does not hold it (see
            :data:`minimoto.engines.runtime.ENOUGH`), that network is computed in ``fp32``.
    """

    kind: Literal["cpu", "cuda", "mps"]
    name: str
    backend: Literal["openvino", "torch"]
    precision: Literal["fp32", "bf16", "fp16"]

    def __str__(self) -> str:
        return f"{self.kind} ({self.name}), {self.backend}, {self.precision}"


@dataclass(frozen=True)
class Found:
    """What a machine has.

    Parameters:
        cpu: the CPU's name.
        cpu_bf16: whether it multiplies bfloat16 in hardware (``avx512_bf16`` or ``amx_bf16``).
        openvino, torch: whether the library is installed.
        cuda: the name of the GPU that torch can use, or ``None``.
        mps: whether torch can use Apple's GPU.
    """

    cpu: str
    cpu_bf16: bool = False
    openvino: bool = False
    torch: bool = False
    cuda: str | None = None
    mps: bool = False


def decide(asked: str, environment: str | None, found: Found) -> Device:
    """The device to use: ``asked``, or the environment's where ``auto`` was asked, or the fastest that is there.

    Raises:
        UsageError: no such device is known, or the machine has none.
        ConfigError: the library that it needs is not installed.
    """
    wanted, by = (environment, DEVICE_VARIABLE) if asked == "auto" and environment else (asked, "device")
    if wanted not in CHOICES:
        raise UsageError(f"{by}={wanted}: unknown device; choose one of {', '.join(CHOICES)}")
    if wanted in {"cuda", "mps", "torch"} and not found.torch:
        raise ConfigError(f"{by}={wanted}: {NO_TORCH}")
    if wanted == "cuda" or (wanted == "auto" and found.cuda):
        if found.cuda is None:
            raise UsageError(f"{by}=cuda: torch finds no GPU of NVIDIA here; use device=cpu, or a torch built for CUDA")
        return Device("cuda", found.cuda, "torch", "fp16")
    if wanted == "mps" or (wanted == "auto" and found.mps):
        if not found.mps:
            raise UsageError(f"{by}=mps: torch finds no GPU of Apple here; use device=cpu")
        return Device("mps", "Apple GPU", "torch", "fp16")
    if wanted != "torch" and found.openvino:
        return Device("cpu", found.cpu, "openvino", "bf16" if found.cpu_bf16 else "fp32")
    if not found.torch:
        raise ConfigError(NO_LIBRARY)
    return Device("cpu", found.cpu, "torch", "fp32")


@functools.cache
def choose_device(asked: str = "auto") -> Device:
    """The device that networks run on, chosen once a process and told in the log.

    Parameters:
        asked: ``auto``, ``cpu``, ``cuda``, ``mps``, or ``torch`` (the CPU, without OpenVINO). The environment variable
            ``MINIMOTO_DEVICE`` takes the place of ``auto``.

    Raises:
        UsageError: no such device is known, or the machine has none.
        ConfigError: the library that it needs is not installed.
    """
    environment = os.environ.get(DEVICE_VARIABLE)
    wanted = environment if asked == "auto" and environment else asked
    found = probe(ask_torch=wanted in {"cuda", "mps"} or (wanted == "auto" and _may_have_gpu()))
    device = decide(asked, environment, found)
    log.info("networks run on %s, %d threads", device, threads())
    if wanted != "torch" and device.kind == "cpu" and device.backend == "torch":
        log.warning("openvino is not installed, so networks run in torch, which is several times slower here")
    if wanted == "auto" and device.kind == "cpu" and found.torch and _has_nvidia():
        log.warning("there is a GPU of NVIDIA, but the installed torch cannot use it: install a torch built for CUDA")
    return device


def probe(*, ask_torch: bool) -> Found:
    """Looks at this machine.

    Parameters:
        ask_torch: whether torch, which takes seconds to import, is asked about GPUs.
    """
    has_torch = find_spec("torch") is not None
    cuda, mps = _gpus() if ask_torch and has_torch else (None, False)
    info = _cpu_info()
    return Found(
        cpu=info.get("model name") or platform.processor() or platform.machine(),
        cpu_bf16=has_bf16(info.get("flags", "")),
        openvino=find_spec("openvino") is not None,
        torch=has_torch,
        cuda=cuda,
        mps=mps,
    )


def has_bf16(flags: str) -> bool:
    """Whether a CPU with these flags (of ``/proc/cpuinfo``) multiplies bfloat16 in hardware."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())


def threads() -> int:
    """How many threads compute: ``MINIMOTO_THREADS``, else the CPUs that this process may use.

    Raises:
        UsageError: the variable is no positive number.
    """
    asked = os.environ.get(THREADS_VARIABLE)
    if asked:
        if not asked.isdecimal() or int(asked) < 1:
            raise UsageError(f"{THREADS_VARIABLE}={asked}: say a number of threads, 1 or more")
        return int(asked)
    affinity = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(affinity, quota() or affinity)


def quota(proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The CPUs that the control groups of this process grant, rounded up; ``None`` where there is no limit.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (``cpu.max``) and scheduler/sched-bwc.rst (version 1).
    """
    limits = []
    for line in _read(proc).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root if not controllers else root / "cpu"
        here = base / path.lstrip("/")
        for folder in (here, *here.parents):
            limits.append(_limit(folder))
            if folder == base:
                break
    found = [limit for limit in limits if limit is not None]
    return min(found) if found else None


def _limit(folder: Path) -> int | None:
    granted, _, period = _read(folder / "cpu.max").strip().partition(" ")
    if not granted:
        granted, period = (_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    if not granted.isdecimal() or not period.isdecimal() or int(period) == 0:
        return None
    return max(1, -(-int(granted) // int(period)))


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii")
    except OSError:
        return ""


def _cpu_info() -> Mapping[str, str]:
    """``/proc/cpuinfo`` of the first CPU; empty elsewhere than on Linux."""
    info: dict[str, str] = {}
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        info.setdefault(name.strip(), value.strip())
    return info


def _has_nvidia() -> bool:
    """Whether the driver of an NVIDIA GPU is loaded, and it is not hidden from this process."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in {"", "-1"}:
        return False
    return any(Path(name).exists() for name in ("/dev/nvidiactl", "/dev/dxg"))


def _may_have_gpu() -> bool:
    return _has_nvidia() or (sys.platform == "darwin" and platform.machine() == "arm64")


def _gpus() -> tuple[str | None, bool]:
    import torch

    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return cuda, torch.backends.mps.is_available()
