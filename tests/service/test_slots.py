"""Slots, their locks, and what cron starts."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from minimoto.config import Config
from minimoto.errors import ConfigError
from minimoto.slots import data_folder, fence, gpu_count, take_slot

ROOT = Path(__file__).parents[2]

DIES = """
import os, sys
from pathlib import Path
from minimoto.config import Config
from minimoto.slots import take_slot
with take_slot(Config(slots=1), Path(sys.argv[1])) as slot:
    print(slot.index, flush=True)
    os.kill(os.getpid(), 9)
"""

REFUSED = """
import sys
from minimoto.cli.entry import main
try:
    main(["service", "--config", sys.argv[1]])
finally:
    print(sorted({"boto3", "botocore", "structlog", "cv2", "numpy"} & set(sys.modules)))
"""


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_each_service_takes_the_first_free_slot(tmp_path: Path) -> None:
    config = Config(slots=2)
    with take_slot(config, tmp_path) as first, take_slot(config, tmp_path) as second:
        assert first is not None
        assert second is not None
        assert (first.index, second.index) == (0, 1)
        with take_slot(config, tmp_path) as third:
            assert third is None
    with take_slot(config, tmp_path) as again:
        assert again is not None
        assert again.index == 0
    assert (tmp_path / "slots").read_text() == "2\n"


def test_the_kernel_frees_a_lock_whose_process_died(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DIES, str(tmp_path)]
    died = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (died.returncode, died.stdout) == (-9, "0\n")
    with take_slot(Config(slots=1), tmp_path) as slot:
        assert slot is not None


def test_one_slot_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_count() == 0
    program(tmp_path, "nvidia-smi", "echo 'GPU 0: NVIDIA A10G (UUID: x)'; echo 'GPU 1: NVIDIA A10G (UUID: y)'")
    assert gpu_count() == 2
    with take_slot(Config(), tmp_path) as first, take_slot(Config(), tmp_path) as second:
        assert first is not None
        assert second is not None
        assert (first.gpu, second.gpu) == (0, 1)
    program(tmp_path, "nvidia-smi", "echo 'no devices were found'; exit 6")
    assert gpu_count() == 0


def test_where_the_data_lies(tmp_path: Path) -> None:
    assert data_folder(Config(data_dir=str(tmp_path / "a"))) == tmp_path / "a"
    assert (tmp_path / "a").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be made"):
        data_folder(Config(data_dir=str(tmp_path / "file" / "a")))


@pytest.fixture
def cron(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A copy of the script with a program that says when it is started, and an environment as cron has it."""
    home = tmp_path / "app"
    home.mkdir()
    (home / "run_service.sh").write_bytes((ROOT / "run_service.sh").read_bytes())
    program(tmp_path, "python", 'echo "started $*"')
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MINIMOTO_PYTHON": str(tmp_path / "python")}
    return home, environ


def run(cron: tuple[Path, dict[str, str]], *arguments: str, **more: str) -> str:
    home, environ = cron
    command = ["sh", str(home / "run_service.sh"), *arguments]
    done = subprocess.run(command, env={**environ, **more}, capture_output=True, text=True, cwd="/", check=True)
    assert done.stderr == ""
    return done.stdout


def test_the_script_starts_the_service(cron: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    assert run(cron, "--quiet", "5") == f"started {tmp_path}/app/minimoto_service.py --quiet 5\n"


@pytest.mark.parametrize("where", ["environment", "file", "default"])
def test_the_script_starts_nothing_while_all_slots_are_held(
    cron: tuple[Path, dict[str, str]], tmp_path: Path, where: str
) -> None:
    data = tmp_path / "data" if where != "default" else tmp_path / ".cache" / "minimoto"
    more = {"MINIMOTO_SERVICE_DATA_DIR": str(data)} if where == "environment" else {}
    if where == "file":
        (tmp_path / "app" / "configure.ini").write_text(f"[SERVICE]\nslots = 2\ndata_dir = {data} \n")
    config = Config(slots=2, data_dir=str(data))
    with take_slot(config, data_folder(config)):
        assert run(cron, **more).startswith("started")
        with take_slot(config, data):
            assert run(cron, **more) == ""
        assert run(cron, **more).startswith("started")
    fence(data, "5 tries failed")
    assert run(cron, **more) == ""


def test_the_cron_file_starts_it_every_five_seconds() -> None:
    lines = [line for line in (ROOT / "service.cron").read_text().splitlines() if line.startswith("*")]
    waits = sorted(int(line.split("sleep")[1].split(";")[0]) if "sleep" in line else 0 for line in lines)
    assert waits == list(range(0, 60, 5))
    assert all("run_service.sh" in line for line in lines)


def test_a_refusal_is_cheap_and_leaves_no_line_in_the_log(tmp_path: Path) -> None:
    """What a start costs on a node without flock: no library of AWS is imported."""
    settings = tmp_path / "configure.ini"
    settings.write_text(f"[INIT]\nlog_file = {tmp_path}/minimoto.log\n[SERVICE]\ndata_dir = {tmp_path}\nslots = 1\n")
    with take_slot(replace(Config(), slots=1), tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", REFUSED, str(settings)],
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    assert not (tmp_path / "minimoto.log").exists()
