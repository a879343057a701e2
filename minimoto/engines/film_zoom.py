"""Zooming over a canvas at the speed of ``cv2.resize``, which is several times that of a warp.

``cv2.resize`` maps the corner of its source exactly onto the corner of its result, at any scale. A zoom around a point
that stays put is such a map in each of the four directions from that point. So canvas and frame are cut there into four
quarters, those to the left and above are kept mirrored, and a frame is four resized quarters, mirrored back. Where
there is a C compiler, :mod:`~minimoto.engines.film_kernel` draws the same bytes in a seventh of the time, all of a
plane at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from minimoto.engines.film_frame import Frame, Plane, planes
from minimoto.engines.film_kernel import READ_ON, Point, ZoomPlane, zoom_plane
from minimoto.engines.film_motion import View

# Rounded correctly, and bit for bit the same on every processor, which INTER_LINEAR is not.
_INTERPOLATION = cv2.INTER_LINEAR_EXACT

# Drawn beyond a quarter's end and thrown away: the last samples of a resize may lack a neighbour.
_SPILL = 2
# No less than this is drawn either way: cv2.resize copies what it takes to keep its size, whatever the scale. From 1.05
# on, it never does so with this many samples.
_LEAST = 12
# Samples repeated around a canvas: for the spill, and for what rounding its point takes away.
_MARGIN = 16

_Cut = tuple[slice, slice, bool]
"""Where a quarter lies on the canvas and in the frame, one way, and whether it is kept mirrored."""


@dataclass(frozen=True)
class _Quarter:
    """One direction of one plane.

    Parameters:
        source: its part of the canvas, the point's corner first.
        plane: 0 for luma, 1 and 2 for chroma.
        rows, columns: where it lies in the frame's plane.
        flip: how to mirror what was drawn, as ``cv2.flip`` calls it; None to leave it.
    """

    source: Plane
    plane: int
    rows: slice
    columns: slice
    flip: int | None

    def draw(self, scale: float, target: Plane, scratch: Plane) -> None:
        """Draw it into ``target``, the frame's plane."""
        into = target[self.rows, self.columns]
        height, width = (max(side + _SPILL, _LEAST) for side in into.shape)
        source = self.source[: round(height * scale), : round(width * scale)]
        drawn = scratch[:height, :width]
        cv2.resize(source, (0, 0), drawn, 1 / scale, 1 / scale, _INTERPOLATION)
        shown = drawn[: into.shape[0], : into.shape[1]]
        if self.flip is None:
            np.copyto(into, shown)
        else:
            cv2.flip(shown, self.flip, into)


@dataclass(frozen=True)
class _Whole:
    """One plane, for the compiled zoom.

    Parameters:
        source: the plane of the canvas, with its margin.
        plane: 0 for luma, 1 and 2 for chroma.
        on_canvas, in_frame: the point that stays put.
        kernel: what draws it.
    """

    source: Plane
    plane: int
    on_canvas: Point
    in_frame: Point
    kernel: ZoomPlane

    def draw(self, scale: float, target: Plane, scratch: Plane) -> None:
        """Draw it into ``target``, the frame's plane."""
        self.kernel(self.source, self.on_canvas, target, self.in_frame, scale)


class Zoom:
    """A canvas, ready to be drawn at any scale around one point; by one thread at a time.

    The point is rounded to whole chroma samples, on the canvas and in the frame; the zoom around it is exact. Chroma is
    sited left, so its point is half a luma pixel off: it moves ``(scale - 1) / 2`` luma pixels less than it should.

    Parameters:
        canvas: what to look at; copied.
        focus: (x, y), 0..1 each way: the point that stays put in the frame and on the canvas.
        size: (width, height) of the frames, both even.
    """

    def __init__(self, canvas: Frame, focus: tuple[float, float], size: tuple[int, int]) -> None:
        full = (canvas.shape[1], canvas.shape[0] * 2 // 3)
        self._size = size
        self._in_frame = [2 * round(share * side / 2) for share, side in zip(focus, size, strict=True)]
        self._on_canvas = [
            2 * round(point / side * room / 2) for point, side, room in zip(self._in_frame, size, full, strict=True)
        ]
        kernel = zoom_plane()
        self._parts: list[_Quarter] | list[_Whole] = (
            list(self._whole(canvas, kernel)) if kernel else list(self._cut(canvas))
        )
        self._scratch = np.empty((size[1] + _LEAST, size[0] + _LEAST), np.uint8)

    def view(self, scale: float) -> View:
        """What :meth:`draw` shows at ``scale``."""
        left, top = (
            canvas - scale * frame + (scale - 1) / 2
            for canvas, frame in zip(self._on_canvas, self._in_frame, strict=True)
        )
        return View(scale, left, top)

    def draw(self, scale: float, out: Frame) -> Frame:
        """Draw the view at ``scale`` in ``out``: canvas pixels for one of the frame's, 1.05 or more."""
        targets = planes(out)
        for part in self._parts:
            part.draw(scale, targets[part.plane], self._scratch)
        return out

    def _whole(self, canvas: Frame, kernel: ZoomPlane) -> Iterator[_Whole]:
        for index, plane in enumerate(planes(canvas)):
            ratio = canvas.shape[1] // plane.shape[1]
            x, y = (point // ratio + _MARGIN for point in self._on_canvas)
            in_frame = (self._in_frame[0] // ratio, self._in_frame[1] // ratio)
            after = _MARGIN + READ_ON
            wide = cv2.copyMakeBorder(plane, _MARGIN, _MARGIN, _MARGIN, after, cv2.BORDER_REPLICATE)
            yield _Whole(np.asarray(wide, np.uint8), index, (x, y), in_frame, kernel)

    def _cut(self, canvas: Frame) -> Iterator[_Quarter]:
        for index, plane in enumerate(planes(canvas)):
            ratio = canvas.shape[1] // plane.shape[1]
            across, down = (
                _sides(self._on_canvas[way] // ratio, self._in_frame[way] // ratio, self._size[way] // ratio)
                for way in (0, 1)
            )
            wide = cv2.copyMakeBorder(plane, _MARGIN, _MARGIN, _MARGIN, _MARGIN, cv2.BORDER_REPLICATE)
            for rows, target_rows, up in down:
                for columns, target_columns, back in across:
                    part = wide[rows, columns][:: -1 if up else 1, :: -1 if back else 1]
                    flip = {(False, False): None, (True, False): 0, (False, True): 1, (True, True): -1}[up, back]
                    yield _Quarter(np.ascontiguousarray(part), index, target_rows, target_columns, flip)


def _sides(on_canvas: int, in_frame: int, length: int) -> list[_Cut]:
    """One way of a plane, before and after the point; of the canvas with its margin. Empty sides are left out."""
    point = on_canvas + _MARGIN
    before, after = (slice(0, point), slice(0, in_frame), True), (slice(point, None), slice(in_frame, length), False)
    return [side for side in (before, after) if side[1].stop > side[1].start]
