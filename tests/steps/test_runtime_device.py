"""Which device is chosen: a table for the choice, the machine's own files for what it has."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minimoto.engines import runtime_device
from minimoto.engines.runtime_device import Device, Found, choose_device, decide, has_bf16, probe, quota, threads
from minimoto.errors import ConfigError, MinimotoError, UsageError

LAPTOP = Found("Ryzen", openvino=True)
WITH_TORCH = Found("Ryzen", openvino=True, torch=True)
XEON = Found("Xeon", cpu_bf16=True, openvino=True, torch=True)
GPU = Found("Xeon", cpu_bf16=True, openvino=True, torch=True, cuda="A10G")
MAC = Found("arm", openvino=True, torch=True, mps=True)
TORCH_ALONE = Found("Ryzen", torch=True)
NOTHING = Found("Ryzen")

CPU = Device("cpu", "Ryzen", "openvino", "fp32")
EAGER = Device("cpu", "Ryzen", "torch", "fp32")
CUDA = Device("cuda", "A10G", "torch", "fp16")
FAST_CPU = Device("cpu", "Xeon", "openvino", "bf16")


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    choose_device.cache_clear()
    yield
    choose_device.cache_clear()


@pytest.mark.parametrize(
    ("asked", "environment", "found", "chosen"),
    [
        ("auto", None, LAPTOP, CPU),
        ("auto", "", LAPTOP, CPU),
        ("auto", None, XEON, FAST_CPU),
        ("auto", None, GPU, CUDA),
        ("auto", "cpu", GPU, FAST_CPU),
        ("cuda", "cpu", GPU, CUDA),
        ("cpu", "cuda", GPU, FAST_CPU),
        ("auto", "torch", WITH_TORCH, EAGER),
        ("torch", None, WITH_TORCH, EAGER),
        ("auto", None, MAC, Device("mps", "Apple GPU", "torch", "fp16")),
        ("cpu", None, MAC, Device("cpu", "arm", "openvino", "fp32")),
        ("auto", None, TORCH_ALONE, EAGER),
        ("cpu", None, TORCH_ALONE, EAGER),
    ],
)
def test_the_choice(asked: str, environment: str | None, found: Found, chosen: Device) -> None:
    assert decide(asked, environment, found) == chosen


@pytest.mark.parametrize(
    ("asked", "environment", "found", "error", "says"),
    [
        ("gpu", None, LAPTOP, UsageError, "device=gpu: unknown device; choose one of auto, cpu, cuda, mps, torch"),
        ("auto", "tpu", LAPTOP, UsageError, "MINIMOTO_DEVICE=tpu: unknown device"),
        ("cuda", None, WITH_TORCH, UsageError, "no GPU of NVIDIA"),
        ("mps", None, GPU, UsageError, "no GPU of Apple"),
        ("cuda", None, LAPTOP, ConfigError, "pip install torch"),
        ("torch", None, LAPTOP, ConfigError, "pip install torch"),
        ("auto", None, NOTHING, ConfigError, "pip install openvino"),
        ("cpu", None, NOTHING, ConfigError, "pip install openvino"),
    ],
)
def test_what_cannot_be_chosen_is_one_clear_line(
    asked: str, environment: str | None, found: Found, error: type[MinimotoError], says: str
) -> None:
    with pytest.raises(error) as raised:
        decide(asked, environment, found)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("fpu avx2 avx512f avx512_vnni", False),
        ("avx512f avx512_bf16", True),
        ("amx_tile amx_bf16", True),
        ("", False),
        ("avx512_bf16x", False),
    ],
)
def test_bfloat16_is_asked_of_the_hardware(flags: str, has: bool) -> None:
    assert has_bf16(flags) is has


def test_the_choice_is_made_once_and_told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "minimoto.runtime")
    monkeypatch.setenv("MINIMOTO_DEVICE", "cpu")
    assert choose_device() is choose_device()
    assert len(caplog.records) == 1
    assert "networks run on cpu" in caplog.text


def test_the_environment_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIMOTO_DEVICE", "abacus")
    with pytest.raises(UsageError, match="MINIMOTO_DEVICE=abacus"):
        choose_device()


def test_without_openvino_torch_is_used_and_that_is_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_device, "probe", lambda *, ask_torch: TORCH_ALONE)
    assert choose_device("cpu") == EAGER
    assert "openvino is not installed" in caplog.text


def test_a_gpu_that_torch_cannot_use_is_said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_device, "probe", lambda *, ask_torch: WITH_TORCH)
    monkeypatch.setattr(runtime_device, "_has_nvidia", lambda: True)
    assert choose_device() == CPU
    assert "install a torch built for CUDA" in caplog.text


def test_this_machine_has_a_cpu_with_a_name_and_the_libraries_of_the_tests() -> None:
    found = probe(ask_torch=False)
    assert found.cpu
    assert found.openvino
    assert found.torch


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, None),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"pod/cpu.max": "max 100000", "cpu.max": "300000 100000"}, 3),
        ({"pod/box/cpu.max": "200000 100000", "cpu.max": "800000 100000"}, 2),
        ({"cpu.max": "nonsense"}, None),
        ({"cpu.max": "100000 0"}, None),
    ],
)
def test_the_quota_of_control_groups(tmp_path: Path, files: dict[str, str], cpus: int | None) -> None:
    (tmp_path / "pod" / "box").mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n")
    groups = tmp_path / "cgroup"
    groups.write_text("0::/pod/box\n")
    assert quota(groups, tmp_path) == cpus


def test_the_quota_of_control_groups_of_version_1(tmp_path: Path) -> None:
    box = tmp_path / "cpu" / "box"
    box.mkdir(parents=True)
    (box / "cpu.cfs_quota_us").write_text("250000\n")
    (box / "cpu.cfs_period_us").write_text("100000\n")
    groups = tmp_path / "cgroup"
    groups.write_text("5:memory:/else\n4:cpu,cpuacct:/box\n")
    assert quota(groups, tmp_path) == 3
    (box / "cpu.cfs_quota_us").write_text("-1\n")
    assert quota(groups, tmp_path) is None


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= threads() <= (os.cpu_count() or 1)
    monkeypatch.setattr(runtime_device, "quota", lambda: 1)
    assert threads() == 1
    monkeypatch.setenv("MINIMOTO_THREADS", "5")
    assert threads() == 5


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_bad_number_of_threads(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MINIMOTO_THREADS", text)
    with pytest.raises(UsageError, match=f"MINIMOTO_THREADS={text}"):
        threads()


@pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux's")
def test_threads_follow_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert threads() == 1
