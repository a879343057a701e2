"""Puts the program on a machine: packs it, sends it, runs ``minimoto_install.sh``, and looks at every piece of it."""

from __future__ import annotations

import gzip
import io
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from minimoto.errors import InstallFailed
from minimoto.machine import Completed, Machine
from minimoto.ports import Clock

TOP_LEVEL = (
    "minimoto_*.py",
    "minimoto_install.sh",
    "run_service.sh",
    "*.cron",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
"""What a machine needs of the project besides the package."""

NEEDED = ("minimoto_install.sh", "run_service.sh", "pyproject.toml", "minimoto/__init__.py")
INSTALL_SECONDS = 1500.0
SHORT_SECONDS = 120.0

_CHECK = re.compile(r"minimoto_install: check (\w+): ok in ([\d.]+) s(?: \((.*)\))?")
_FAILED_CHECK = re.compile(r"minimoto_install: (check \w+: FAILED: .*)")
_FAILED_STEP = re.compile(r"minimoto_install: (\S+ failed \(exit status \d+\))")
_SAYS = "minimoto_install: "
_SECRET = re.compile(r"(?i)(^|/)(configure\.ini|credentials|id_\w+|\.env.*)$|\.(pem|key|ppk|p12|pfx)$")


@dataclass(frozen=True)
class StepReport:
    """One step of an installation, or one piece that was looked at.

    Parameters:
        seconds: how long it took.
        detail: what was found, for a person.
    """

    name: str
    seconds: float
    detail: str = ""


def install_role(
    machine: Machine,
    role: str,
    source_tree: Path,
    clock: Clock,
    *,
    settings: str | None = None,
    models: Sequence[Path] = (),
    options: tuple[str, ...] = (),
    root: bool = True,
) -> tuple[StepReport, ...]:
    """Installs a role, or brings it up to date, and looks at every piece of it.

    Parameters:
        source_tree: the project's folder, such as :func:`find_source_tree` gives.
        settings: text of ``configure.ini`` for the machine; ``None`` where user data brings it.
        models: files of fetched models, which the machine gets as they are.
        options: more arguments of ``minimoto_install.sh``.
        root: whether the script runs as root (through sudo, unless the login is root).

    Returns:
        The steps in their order, the pieces looked at last.

    Raises:
        InstallFailed: names the machine and the step that failed, with the end of its standard error.
    """
    find_source_tree(source_tree)
    steps: list[StepReport] = []

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began = clock.monotonic()
        yield
        steps.append(StepReport(name, clock.monotonic() - began))

    with _folder(machine) as there:
        with timed("send"):
            _send(machine, there, source_tree, settings)
            _send_models(machine, there, models)
        script = [f"{there}/source/minimoto_install.sh", role, *options]
        command = [*(_sudo(machine) if root else []), "bash", *script]
        with timed("install"):
            configured = [] if settings is None else ["--config", f"{there}/configure.ini"]
            brought = ["--models", f"{there}/models"] if models else []
            done = _script(machine, [*command, *configured, *brought], f"installing {role}")
    pieces = _pieces(done)
    if not pieces:
        raise InstallFailed(f"{machine.name}: installing {role}: the script ended well, but looked at no piece")
    return (*steps, *pieces)


def find_source_tree(start: Path = Path(__file__).parents[1]) -> Path:
    """The project's folder.

    Raises:
        InstallFailed: minimoto was installed without its top-level scripts, which the machines need.
    """
    missing = [name for name in NEEDED if not (start / name).is_file()]
    if missing:
        raise InstallFailed(
            f"machines are installed from the project's own folder, but {start} has no {missing[0]}: "
            "run minimoto_setup.py in a checkout of minimoto"
        )
    return start


def project_files(source_tree: Path) -> tuple[str, ...]:
    """What is sent: the package and the scripts, without what git ignores; no tests, no settings, no secrets."""
    names = {path.relative_to(source_tree).as_posix() for path in _wanted(source_tree) if path.is_file()}
    known = _not_ignored(source_tree)
    if known is not None:
        names &= known
    return tuple(sorted(name for name in names if not _left_out(name)))


def pack(source_tree: Path, archive: Path) -> None:
    """Writes the project as ``.tar.gz``; the same files give the same bytes."""
    with (
        archive.open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in project_files(source_tree):
            data = (source_tree / name).read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o755 if data.startswith(b"#!") else 0o644
            tar.addfile(entry, io.BytesIO(data))


def _wanted(source_tree: Path) -> Iterable[Path]:
    yield from (source_tree / "minimoto").rglob("*")
    for pattern in TOP_LEVEL:
        yield from source_tree.glob(pattern)


def _left_out(name: str) -> bool:
    parts = name.split("/")
    return "__pycache__" in parts or any(part.startswith(".") for part in parts) or _SECRET.search(name) is not None


def _not_ignored(source_tree: Path) -> set[str] | None:
    """Files below the folder that git tracks or would track, or ``None`` where it is no checkout of its own."""
    if not (source_tree / ".git").exists():
        return None
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(
            command, cwd=source_tree, capture_output=True, check=True, text=True, timeout=SHORT_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {name for name in done.stdout.split("\0") if name}


@contextmanager
def _folder(machine: Machine) -> Iterator[str]:
    """A folder on the machine, of ours alone, for the time of the installation."""
    made = machine.run(
        ["mktemp", "-d", "-t", "minimoto-install.XXXXXXXX"], step="making a folder", timeout=SHORT_SECONDS
    )
    there = made.lines[-1]
    try:
        yield there
    finally:
        # When the connection is gone the machine's own cleaning of its temporary files has to do.
        with suppress(InstallFailed):
            machine.run(["rm", "-rf", there], step="tidying up", timeout=SHORT_SECONDS)


def _send(machine: Machine, there: str, source_tree: Path, settings: str | None) -> None:
    with tempfile.TemporaryDirectory(prefix="minimoto-") as name:
        archive, configuration = Path(name, "source.tar.gz"), Path(name, "configure.ini")
        pack(source_tree, archive)
        machine.put(archive, f"{there}/{archive.name}", step="sending the program", mode=0o600)
        if settings is not None:
            configuration.write_text(settings, encoding="utf-8")
            machine.put(configuration, f"{there}/{configuration.name}", step="sending the settings", mode=0o600)
    for command in (["mkdir", f"{there}/source"], ["tar", "-xzf", f"{there}/source.tar.gz", "-C", f"{there}/source"]):
        machine.run(command, step="unpacking the program", timeout=SHORT_SECONDS)


def _send_models(machine: Machine, there: str, models: Sequence[Path]) -> None:
    if not models:
        return
    machine.run(["mkdir", f"{there}/models"], step="making a folder for the models", timeout=SHORT_SECONDS)
    for path in models:
        machine.put(path, f"{there}/models/{path.name}", step=f"sending the model {path.name}")


def _sudo(machine: Machine) -> list[str]:
    who = machine.run(["id", "-u"], step="asking who we are", timeout=SHORT_SECONDS)
    # -n: a password that is asked for would hang the installation.
    return [] if who.lines == ("0",) else ["sudo", "-n"]


def _script(machine: Machine, command: list[str], step: str) -> Completed:
    try:
        return machine.run(command, step=step, timeout=INSTALL_SECONDS)
    except InstallFailed as error:
        why = _why(error.stderr.splitlines())
        if not why:
            raise
        raise InstallFailed(f"{machine.name}: {step}: {why}", stderr=error.stderr) from error


def _why(stderr: list[str]) -> str:
    """What ``minimoto_install.sh`` says went wrong: its pieces that failed, or its step and the last words of that."""
    pieces = [match[1] for match in map(_FAILED_CHECK.match, stderr) if match]
    if pieces:
        return "; ".join(pieces)
    step = next((match[1] for match in map(_FAILED_STEP.match, reversed(stderr)) if match), "")
    said = [line for line in stderr if line.strip() and not _FAILED_STEP.match(line)]
    return f"{step}: {said[-1].removeprefix(_SAYS)}" if step and said else ""


def _pieces(done: Completed) -> tuple[StepReport, ...]:
    found = (_CHECK.fullmatch(line) for line in done.lines)
    return tuple(StepReport(f"check {m[1]}", float(m[2]), m[3] or "") for m in found if m)
