"""The slots of a node: how many, whose, and their folders.

<data>/slots             how many there are, for run_service.sh
<data>/slot-<n>.lock     held by the service in the slot; the kernel frees it when the process dies
<data>/slot-<n>/         the slot's working files; wiped when the slot is taken
<data>/fenced            why this node took itself out; no service starts while it is there
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minimoto.config import Config
from minimoto.errors import ConfigError

SYSTEM_FOLDER = Path("/var/lib/minimoto")


@dataclass(frozen=True)
class Slot:
    """A slot that is ours: its number, its folder, and the GPU it works on (``None`` on a node without)."""

    index: int
    folder: Path
    gpu: int | None = None


def data_folder(config: Config, environ: Mapping[str, str] | None = None) -> Path:
    """The folder of the locks and the working files, made if it is missing.

    Raises:
        ConfigError: it cannot be used.
    """
    environ = os.environ if environ is None else environ
    if config.data_dir:
        folder = Path(config.data_dir).expanduser()
    elif SYSTEM_FOLDER.is_dir() and os.access(SYSTEM_FOLDER, os.W_OK):
        folder = SYSTEM_FOLDER
    else:
        folder = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minimoto"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    except OSError as error:
        raise ConfigError(
            f"the folder {folder} cannot be made ({error.strerror}); set data_dir in [SERVICE]"
        ) from error
    return folder


def gpu_count() -> int:
    """The GPUs of this node, as ``nvidia-smi`` lists them; 0 where there is no such program."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=True, timeout=60, text=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())


@contextmanager
def take_slot(config: Config, folder: Path) -> Iterator[Slot | None]:
    """The first free slot, ours until the end of the block or of the process; ``None`` if all are taken."""
    from filelock import FileLock, Timeout

    gpus = gpu_count()
    slots = config.slots or gpus or 1
    _say_slots(folder, slots)
    for index in range(slots):
        lock = FileLock(folder / f"slot-{index}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            yield Slot(index, folder / f"slot-{index}", index % gpus if gpus else None)
        finally:
            lock.release()
        return
    yield None


def fence(folder: Path, reason: str) -> Path:
    """Marks this node as taken out; returns the mark."""
    mark = fence_mark(folder)
    mark.write_text(f"{reason}\n", encoding="utf-8")
    return mark


def fence_mark(folder: Path) -> Path:
    """The file that keeps services from starting."""
    return folder / "fenced"


def _say_slots(folder: Path, slots: int) -> None:
    file = folder / "slots"
    text = f"{slots}\n"
    if not file.exists() or file.read_text("utf-8") != text:
        file.write_text(text, encoding="utf-8")
