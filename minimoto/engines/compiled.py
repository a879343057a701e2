"""C files of ours as libraries: built once a machine, by its own compiler and for its own processor, then kept.

A wheel would have to be built for the least of all processors; here a kernel uses what there is. Whoever loads one has
another way for machines without a compiler.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from minimoto.engines.runtime_cache import cache_dir

FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")


def library(source: Path, instead: str, log: logging.Logger) -> ctypes.CDLL | None:
    """The C file ``source`` as a library; ``None``, said in ``log``, where no compiler makes it.

    Parameters:
        instead: what happens without it, for the log: "OpenCV zooms, more slowly".
    """
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))), None)
    if compiler is None:
        log.warning("there is no C compiler, so %s: install gcc", instead)
        return None
    try:
        built = cache_dir() / "kernels" / f"{source.stem}-{_key(source, compiler)}.so"
        if not built.exists():
            _build(source, compiler, built)
        return ctypes.CDLL(str(built))
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        log.warning("%s could not build %s, so %s: %s", compiler, source.name, instead, reason)
        return None


def cpu_flags() -> str:
    """What the first CPU can do, as ``/proc/cpuinfo`` lists it; empty elsewhere than on Linux."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("ascii", "replace").splitlines() if info.exists() else []
    return next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")


def _key(source: Path, compiler: str) -> str:
    """What a library was built from, by what, and for which processor."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False, timeout=30).stdout
    # Headers too: a source includes those that lie beside it.
    written = b"".join(path.read_bytes() for path in (source, *sorted(source.parent.glob("*.h"))))
    parts = (written, repr(FLAGS).encode(), version, platform.machine().encode(), cpu_flags().encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _build(source: Path, compiler: str, built: Path) -> None:
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent) as place:
        made = Path(place, built.name)
        command = [compiler, *FLAGS, str(source), "-o", str(made), "-lm"]
        subprocess.run(command, capture_output=True, check=True, text=True, timeout=120)
        made.replace(built)
