"""Looks at an installed machine, piece by piece: ``python -m minimoto.verify ROLE``, as ``minimoto_install.sh`` does.

Each check has a name and prints one line. It runs as the account that the role's program runs as, so that what that
account may not read, run or write is found before the first job is.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from minimoto import config
from minimoto.errors import MinimotoError

ROLES = ("client", "watchdog", "service")
NEEDED_SETTINGS = ("queue_url", "dead_letter_url", "bucket_input", "bucket_output", "table", "topic_arn")
NEEDED_BYTES = {"client": 200_000_000, "watchdog": 200_000_000, "service": 2_000_000_000}
SECONDS = 60

_CRON_IGNORED = re.compile(r"\s*(#.*)?|[A-Z_]+=.*")
_CRON_ENTRY = re.compile(r"\s*([\d*/,-]+\s+){5}minimoto\s+\S.*")


class CheckFailed(Exception):
    """What is wrong, and where."""


@dataclass(frozen=True)
class Installation:
    """What ``minimoto_install.sh`` has put where.

    Parameters:
        prefix: the folder that stands for ``/``.
        system: whether the machine itself was changed too: packages, an account, running cron.
    """

    role: str
    prefix: Path = Path("/")
    system: bool = True

    @property
    def app(self) -> Path:
        """The program's folder."""
        return self.prefix / "opt/minimoto/app"

    @property
    def settings(self) -> Path:
        """``configure.ini``."""
        return self.prefix / "etc/minimoto/configure.ini"


Check = Callable[[Installation], str]
"""Returns a detail worth showing, or raises :class:`CheckFailed`, or whatever goes wrong."""


def check_python(_: Installation) -> str:
    """The libraries that every role needs can be imported."""
    import boto3
    import filelock  # noqa: F401
    import paramiko  # noqa: F401
    import structlog  # noqa: F401

    return f"Python {sys.version.split()[0]}, boto3 {boto3.__version__}"


def check_pictures(_: Installation) -> str:
    """The libraries that read pictures can be imported, and with them every step."""
    import cv2
    import numpy
    import PIL
    import pillow_heif  # noqa: F401

    from minimoto.steps import STEPS

    return f"OpenCV {cv2.__version__}, Pillow {PIL.__version__}, NumPy {numpy.__version__}, {len(STEPS)} steps"


def check_program(it: Installation) -> str:
    """The command that pip installed, and the role's own script, start."""
    version = _run([str(it.prefix / "usr/local/bin/minimoto"), "--version"])
    _run([sys.executable, str(it.app / f"minimoto_{it.role}.py"), "--help"])
    return version


def check_runner(it: Installation) -> str:
    """``run_service.sh`` can be executed, and is no broken script."""
    script = it.app / "run_service.sh"
    if not os.access(script, os.X_OK):
        raise CheckFailed(f"{script} is missing, or may not be executed")
    _run(["sh", "-n", str(script)])
    return ""


def check_ffmpeg(_: Installation) -> str:
    """The ffmpeg that the service would choose encodes a frame."""
    from minimoto.media import ffmpeg_path

    ffmpeg = ffmpeg_path()
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder, "frame.mp4")
        source = ["-f", "lavfi", "-i", "color=red:size=64x64:rate=1:duration=1"]
        _run([ffmpeg, "-v", "error", *source, "-c:v", "libx264", "-pix_fmt", "yuv420p", str(film)])
        if film.stat().st_size < 500:
            raise CheckFailed(f"{ffmpeg} made a film of {film.stat().st_size} bytes")
    return ffmpeg


def check_fonts(it: Installation) -> str:
    """The fonts for titles are there; without the system's packages Pillow's own has to do."""
    from PIL import ImageFont

    try:
        return str(ImageFont.truetype("DejaVuSans.ttf", 20).getname()[0])
    except OSError as error:
        if it.system:
            raise CheckFailed("the font DejaVu Sans is missing; Debian's package is fonts-dejavu-core") from error
        return "Pillow's own"


def check_networks(_: Installation) -> str:
    """There is something to run networks on."""
    from minimoto.engines.runtime import choose_device, threads

    return f"{choose_device()}, {threads()} threads"


def check_torch(_: Installation) -> str:
    """Where torch is installed, it computes, and sees the GPU if there is one."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        return "not installed"
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and shutil.which("nvidia-smi"):
        raise CheckFailed(f"the machine has an NVIDIA driver, but torch {torch.__version__} does not see its GPU")
    if float(torch.ones(8, device=device).sum()) != 8.0:
        raise CheckFailed(f"torch {torch.__version__} on {device} cannot add")
    return f"torch {torch.__version__} on {device}"


def check_models(it: Installation) -> str:
    """The shipped networks and the baked ones have the bytes they should have, and none that is wanted is missing."""
    from minimoto.engines.registry import MODELS, check, state

    damaged = [name for name, model in MODELS.items() if model.shipped and state(name) == "wrong"]
    if damaged:
        raise CheckFailed(f"the shipped models {', '.join(damaged)} have other bytes than they should have")
    folder = it.prefix / "opt/minimoto/models"
    baked = {path.stem for path in folder.glob("*") if path.suffix in {".safetensors", ".onnx"}}
    for name in sorted(baked):
        check(name, folder)
    missing = sorted(set(_wanted_models(it)) - baked)
    if missing:
        raise CheckFailed(f"{folder} lacks {', '.join(missing)}, which [AMI] models names")
    return f"baked: {', '.join(sorted(baked)) or 'none'}"


def _wanted_models(it: Installation) -> tuple[str, ...]:
    from minimoto.baked_models import named

    try:
        return named(config.load(str(it.settings), environ={}, required=False))
    except MinimotoError:
        # What is wrong with the settings is for check_configuration to say.
        return ()


def check_cron(it: Installation) -> str:
    """The role's cron file is one that cron takes, stands where cron looks once there are settings, and cron runs."""
    source = it.app / f"{it.role}.cron"
    text = source.read_text("utf-8")
    for line in text.splitlines():
        if not _CRON_IGNORED.fullmatch(line) and not _CRON_ENTRY.fullmatch(line):
            raise CheckFailed(f"{source}: cron would refuse {line.strip()!r}")
    if it.system and not _cron_runs():
        raise CheckFailed("the cron daemon does not run")
    if not it.settings.exists():
        return "installed, not started: there are no settings yet"
    target = it.prefix / f"etc/cron.d/minimoto-{it.role}"
    prefix = str(it.prefix).rstrip("/")
    if target.read_text("utf-8") != re.sub(r"(?=/(opt|var/log|var/lib)/minimoto)", prefix, text):
        raise CheckFailed(f"{target} is not what {source} says")
    if target.stat().st_mode & 0o022:
        raise CheckFailed(f"{target} can be written by others, so cron ignores it")
    return str(target)


def check_configuration(it: Installation) -> str:
    """The settings can be read and are complete; a service machine may still wait for those of its user data."""
    if not it.settings.exists() and it.role == "service":
        return "none yet: they come with the machine's user data"
    found = config.load(str(it.settings), environ={})
    missing = [option for option in NEEDED_SETTINGS if not getattr(found, option)]
    if missing:
        raise CheckFailed(f"{it.settings} lacks {', '.join(missing)}")
    return f"deployment {found.name}"


def check_folders(it: Installation) -> str:
    """The role's account can write where the program works and logs."""
    for folder in (it.prefix / "var/lib/minimoto", it.prefix / "var/log/minimoto"):
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    return ""


def check_rotation(it: Installation) -> str:
    """The logs are rotated."""
    return str((it.prefix / "etc/logrotate.d/minimoto").resolve(strict=True))


def check_disk(it: Installation) -> str:
    """There is room to work in."""
    free = shutil.disk_usage(it.prefix / "var/lib/minimoto").free
    if free < NEEDED_BYTES[it.role]:
        raise CheckFailed(f"{free / 1e6:.0f} MB are free, the role {it.role} needs {NEEDED_BYTES[it.role] / 1e6:.0f}")
    return f"{free / 1e9:.1f} GB free"


_EVERY_ROLE: tuple[Check, ...] = (check_python, check_program, check_configuration, check_rotation, check_disk)
CHECKS: dict[str, tuple[Check, ...]] = {
    "client": _EVERY_ROLE,
    "watchdog": (*_EVERY_ROLE, check_cron, check_folders),
    "service": (
        *_EVERY_ROLE,
        check_cron,
        check_folders,
        check_runner,
        check_pictures,
        check_ffmpeg,
        check_fonts,
        check_torch,
        check_networks,
        check_models,
    ),
}
"""What is looked at on a machine of each role."""


def verify(it: Installation, say: Callable[[str], None], complain: Callable[[str], None]) -> int:
    """Makes every check of the role; returns how many failed.

    Parameters:
        say, complain: are given one line for each check that passes, and for each that fails.
    """
    failed = 0
    for check in CHECKS[it.role]:
        name, began = check.__name__.removeprefix("check_"), time.monotonic()
        try:
            detail = check(it)
        except Exception as error:
            # Whatever goes wrong is the answer; the other checks still have theirs to give.
            failed += 1
            known = isinstance(error, CheckFailed | MinimotoError | OSError)
            complain(f"check {name}: FAILED: {'' if known else f'{type(error).__name__}: '}{error}")
        else:
            say(f"check {name}: ok in {time.monotonic() - began:.1f} s{f' ({detail})' if detail else ''}")
    return failed


def main(argv: Sequence[str] | None = None) -> int:
    """The command; exit status 1 if any check failed."""
    parser = argparse.ArgumentParser(prog="python -m minimoto.verify", description=__doc__)
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--prefix", type=Path, default=Path("/"), help="the folder that stands for /")
    parser.add_argument("--no-system", dest="system", action="store_false", help="only what lies below the prefix")
    args = parser.parse_args(argv)
    failed = verify(Installation(args.role, args.prefix, args.system), _say, _complain)
    if failed:
        _complain(f"{failed} of {len(CHECKS[args.role])} checks failed")
    return 1 if failed else 0


def _say(line: str) -> None:
    sys.stdout.write(f"minimoto_install: {line}\n")
    sys.stdout.flush()


def _complain(line: str) -> None:
    sys.stderr.write(f"minimoto_install: {line}\n")
    sys.stderr.flush()


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise CheckFailed(f"{command[0]} did not end within {SECONDS} s") from None
    if done.returncode:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")
        raise CheckFailed(f"{' '.join(command[:2])} ended with exit status {done.returncode}: {last.strip()}")
    return done.stdout.strip()


def _cron_runs() -> bool:
    import psutil

    return any(process.info["name"] in ("cron", "crond") for process in psutil.process_iter(["name"]))


if __name__ == "__main__":
    sys.exit(main())
