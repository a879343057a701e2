"""The compiled zoom of ``film_kernel.c``: built once a machine with its own C compiler."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minimoto.engines.film_frame import Plane
from minimoto.engines.runtime_cache import cache_dir

log = logging.getLogger("minimoto.film")

SOURCE = Path(__file__).with_suffix(".c")
FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")
READ_ON = 64
"""Bytes that the zoom may read after what it shows of a row."""

Point = tuple[int, int]
ZoomPlane = Callable[[Plane, Point, Plane, Point, float], None]
"""``(canvas, on_canvas, out, in_frame, scale)``: draws ``out``, contiguous, at ``scale``, 1 to 1.5 samples of the
canvas for one of the frame, around a point, (x, y), given on both. Releases the interpreter's lock."""


@functools.cache
def zoom_plane() -> ZoomPlane | None:
    """The zoom of one plane; None, said in the log, where no C compiler makes it."""
    library = _library()
    if library is None:
        return None
    function = library.film_zoom
    function.restype = None
    pair, pointer, number = ctypes.c_int32 * 2, ctypes.c_void_p, ctypes.c_int
    function.argtypes = (pointer, ctypes.c_ssize_t, pair, pointer, number, number, pair, ctypes.c_double)

    def draw(canvas: Plane, on_canvas: Point, out: Plane, in_frame: Point, scale: float) -> None:
        place, (height, width) = pair(*on_canvas), out.shape
        function(_start(canvas), canvas.strides[0], place, _start(out), width, height, pair(*in_frame), scale)

    return draw


def _start(plane: Plane) -> Any:
    return plane.ctypes.data


def _library() -> ctypes.CDLL | None:
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC") or "cc", "gcc"))), None)
    if compiler is None:
        log.warning("there is no C compiler, so OpenCV zooms, more slowly: install gcc")
        return None
    try:
        built = cache_dir() / "kernels" / f"film-{_key(compiler)}.so"
        if not built.exists():
            _build(compiler, built)
        return ctypes.CDLL(str(built))
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        log.warning("%s could not build the zoom, so OpenCV zooms, more slowly: %s", compiler, reason)
        return None


def _key(compiler: str) -> str:
    """What a library was built from, by what, and for which processor."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False, timeout=30).stdout
    info = Path("/proc/cpuinfo")
    flags = {line for line in info.read_bytes().splitlines() if line.startswith(b"flags")} if info.exists() else set()
    parts = (SOURCE.read_bytes(), repr(FLAGS).encode(), version, platform.machine().encode(), *sorted(flags))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _build(compiler: str, built: Path) -> None:
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent) as place:
        made = Path(place, built.name)
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(made), "-lm"]
        subprocess.run(command, capture_output=True, check=True, text=True, timeout=120)
        made.replace(built)
