"""The compiled zoom of ``film_kernel.c``."""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minimoto.engines.compiled import library
from minimoto.engines.film_frame import Plane

log = logging.getLogger("minimoto.film")

SOURCE = Path(__file__).with_suffix(".c")
READ_ON = 64
"""Bytes that the zoom may read after what it shows of a row."""

Point = tuple[int, int]
ZoomPlane = Callable[[Plane, Point, Plane, Point, float], None]
"""``(canvas, on_canvas, out, in_frame, scale)``: draws ``out``, contiguous, at ``scale``, 1 to 1.5 samples of the
canvas for one of the frame, around a point, (x, y), given on both. Releases the interpreter's lock."""


@functools.cache
def zoom_plane() -> ZoomPlane | None:
    """The zoom of one plane; None, said in the log, where no C compiler makes it."""
    made = library(SOURCE, "OpenCV zooms, more slowly", log)
    if made is None:
        return None
    function = made.film_zoom
    function.restype = None
    pair, pointer, number = ctypes.c_int32 * 2, ctypes.c_void_p, ctypes.c_int
    function.argtypes = (pointer, ctypes.c_ssize_t, pair, pointer, number, number, pair, ctypes.c_double)

    def draw(canvas: Plane, on_canvas: Point, out: Plane, in_frame: Point, scale: float) -> None:
        place, (height, width) = pair(*on_canvas), out.shape
        function(_start(canvas), canvas.strides[0], place, _start(out), width, height, pair(*in_frame), scale)

    return draw


def _start(plane: Plane) -> Any:
    return plane.ctypes.data
