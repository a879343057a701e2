"""Each piece of an installation that is missing or broken is found, and named in one line."""

from __future__ import annotations

import re
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from minimoto import config as settings
from minimoto import verify as module
from minimoto.config import Config
from minimoto.verify import CHECKS, Installation, main, verify

from .test_script import CONFIG, ROOT

APP = "opt/minimoto/app"
CRON = "etc/cron.d/minimoto-service"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A service machine, as far as the checks look at files."""
    prefix = tmp_path / "root"
    for folder in (APP, "etc/cron.d", "etc/logrotate.d", "var/lib/minimoto", "var/log/minimoto", "usr/local/bin"):
        (prefix / folder).mkdir(parents=True)
    for name in ("run_service.sh", "service.cron"):
        shutil.copy(ROOT / name, prefix / APP / name)
    (prefix / APP / "minimoto_service.py").write_text("print('usage')\n")
    program = prefix / "usr/local/bin/minimoto"
    program.write_text("#!/bin/sh\necho minimoto 1\n")
    program.chmod(0o755)
    cron = (ROOT / "service.cron").read_text()
    for place in ("/opt/", "/var/log/"):
        cron = cron.replace(f"{place}minimoto", f"{prefix}{place}minimoto")
    (prefix / CRON).write_text(cron)
    (prefix / CRON).chmod(0o644)
    (prefix / "etc/logrotate.d/minimoto").write_text("x")
    settings.save(CONFIG, prefix / "etc/minimoto/configure.ini")
    return prefix


def problems(prefix: Path) -> tuple[list[str], list[str]]:
    """Lines of what passes and of what fails."""
    said: list[str] = []
    complained: list[str] = []
    failed = verify(Installation("service", prefix, system=False), said.append, complained.append)
    assert failed == len(complained)
    assert len(said) + len(complained) == len(CHECKS["service"])
    return said, complained


def test_a_whole_installation_passes(prefix: Path) -> None:
    said, complained = problems(prefix)
    assert complained == []
    assert any(line.startswith("check ffmpeg: ok in ") for line in said)
    assert "(deployment trip)" in "".join(said)


def incomplete(prefix: Path) -> None:
    settings.save(Config(name="trip"), prefix / "etc/minimoto/configure.ini")


def rewrite(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(prefix: Path) -> None:
        file = prefix / name
        file.write_text(file.read_text().replace(old, new))

    return change


BREAKAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "runner not executable": (
        lambda prefix: (prefix / APP / "run_service.sh").chmod(0o644),
        "check runner: FAILED: .*run_service.sh is missing, or may not be executed",
    ),
    "runner broken": (
        lambda prefix: (prefix / APP / "run_service.sh").write_text("if\n"),
        "check runner: FAILED: sh -n ended with exit status 2: .*",
    ),
    "cron entry without a user": (
        rewrite(f"{APP}/service.cron", "minimoto sleep  5 ;", "sleep 5;"),
        r"check cron: FAILED: .*service.cron: cron would refuse '\* \* \* \* \* sleep 5; .*'",
    ),
    "cron file missing": (
        lambda prefix: (prefix / CRON).unlink(),
        "check cron: FAILED: .*No such file.*minimoto-service'",
    ),
    "cron file changed": (
        lambda prefix: (prefix / CRON).write_text("#\n"),
        "check cron: FAILED: .*minimoto-service is not what .*service.cron says",
    ),
    "cron file writable": (
        lambda prefix: (prefix / CRON).chmod(0o666),
        "check cron: FAILED: .*can be written by others, so cron ignores it",
    ),
    "settings incomplete": (
        incomplete,
        "check configuration: FAILED: .*configure.ini lacks queue_url, dead_letter_url,",
    ),
    "settings broken": (
        rewrite("etc/minimoto/configure.ini", "max_nodes = 8", "max_nodes = many"),
        "check configuration: FAILED: .*'many' is not a number",
    ),
    "script broken": (
        lambda prefix: (prefix / APP / "minimoto_service.py").write_text("import nonesuch\n"),
        "check program: FAILED: .*exit status 1: ModuleNotFoundError: No module named 'nonesuch'",
    ),
    "no folder to work in": (
        lambda prefix: (prefix / "var/log/minimoto").rmdir(),
        "check folders: FAILED: .*No such file or directory: .*",
    ),
    "logs not rotated": (
        lambda prefix: (prefix / "etc/logrotate.d/minimoto").unlink(),
        "check rotation: FAILED: .*No such file",
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_what_is_broken_is_named_and_nothing_else(prefix: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {"check_ffmpeg", "check_pictures", "check_torch", "check_networks"}
    quick = tuple(check for check in CHECKS["service"] if check.__name__ not in slow)
    monkeypatch.setitem(module.CHECKS, "service", quick)
    break_it, line = BREAKAGES[name]
    break_it(prefix)
    [complaint] = problems(prefix)[1]
    assert re.match(line, complaint), complaint


def test_an_ffmpeg_that_fails_is_found(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = prefix / "ffmpeg"
    fake.write_text("#!/bin/sh\necho 'Unknown encoder' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("MINIMOTO_FFMPEG", str(fake))
    assert any("check ffmpeg: FAILED" in line and "Unknown encoder" in line for line in problems(prefix)[1])


def test_a_full_disk_is_found(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage(10**10, 10**10, 5 * 10**8))
    assert "check disk: FAILED: 500 MB are free, the role service needs 2000" in problems(prefix)[1]


def test_the_command_prints_and_tells_by_its_exit_status(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "--prefix", str(prefix), "--no-system"]) == 0
    (prefix / "etc/logrotate.d/minimoto").unlink()
    assert main(["service", "--prefix", str(prefix), "--no-system"]) == 1
    shown = capsys.readouterr()
    assert "minimoto_install: check disk: ok in " in shown.out
    assert shown.err.splitlines()[-1] == f"minimoto_install: 1 of {len(CHECKS['service'])} checks failed"
