"""Where to cut a photo, and where to look on it, so that what must be seen is never cut.

Pure geometry. Everything is in the same units, pixels or shares of a side; x to the right, y downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rect:
    """A rectangle; ``right`` and ``bottom`` are just outside."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """From top to bottom."""
        return self.bottom - self.top

    def holds(self, other: Rect, slack: float = 1e-6) -> bool:
        """Whether all of ``other`` is inside."""
        across = self.left - slack <= other.left and other.right <= self.right + slack
        return across and self.top - slack <= other.top and other.bottom <= self.bottom + slack

    def scaled(self, x: float, y: float) -> Rect:
        """The same rectangle where all distances are ``x`` times as wide and ``y`` times as high."""
        return Rect(self.left * x, self.top * y, self.right * x, self.bottom * y)

    def moved(self, x: float, y: float) -> Rect:
        """The same rectangle, farther to the right and lower."""
        return Rect(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def grown(self, left: float, top: float, right: float, bottom: float) -> Rect:
        """With shares of its own sides added on each side."""
        width, height = self.width, self.height
        return Rect(
            self.left - left * width,
            self.top - top * height,
            self.right + right * width,
            self.bottom + bottom * height,
        )

    def inside(self, other: Rect) -> Rect:
        """The part of it that lies inside ``other``."""
        left, top = min(max(self.left, other.left), other.right), min(max(self.top, other.top), other.bottom)
        right, bottom = min(max(self.right, left), other.right), min(max(self.bottom, top), other.bottom)
        return Rect(left, top, right, bottom)


def around(rects: Sequence[Rect]) -> Rect | None:
    """The smallest rectangle that holds all of ``rects``; None for none."""
    if not rects:
        return None
    return Rect(
        min(rect.left for rect in rects),
        min(rect.top for rect in rects),
        max(rect.right for rect in rects),
        max(rect.bottom for rect in rects),
    )


def crop(size: tuple[float, float], shape: tuple[float, float], keep: Sequence[Rect]) -> Rect:
    """The largest part of a picture that has another shape, as centred as what it must show allows.

    Where no part of that shape holds all of ``keep``, the part is as much wider, or higher, as it must be.

    Parameters:
        size: (width, height) of the picture.
        shape: the proportions wanted, (width, height).
        keep: parts of the picture that must be seen.
    """
    scale = min(size[0] / shape[0], size[1] / shape[1])
    whole = around(keep) or Rect(size[0] / 2, size[1] / 2, size[0] / 2, size[1] / 2)
    width = min(size[0], max(shape[0] * scale, whole.width))
    height = min(size[1], max(shape[1] * scale, whole.height))
    left = _slid(whole.left, whole.right, width, size[0])
    top = _slid(whole.top, whole.bottom, height, size[1])
    return Rect(left, top, min(size[0], left + width), min(size[1], top + height))


def _slid(low: float, high: float, length: float, room: float) -> float:
    """Where a window of ``length`` within 0..``room`` begins that shows ``low`` to ``high``, as near to the middle as
    it can: what must be seen at the side belongs to its surroundings."""
    begin = min(max((room - length) / 2, high - length), low)
    return min(max(begin, 0.0), room - length)


def kept_in_view(
    keep: Sequence[Rect],
    canvas: tuple[float, float],
    frame: tuple[float, float],
    focus: tuple[float, float],
    nearest: float,
) -> tuple[tuple[float, float], float]:
    """A focus and a closest scale of a zoom over a canvas that never cut any of ``keep``.

    A view at scale s and focus f shows ``frame * s`` of the canvas, from ``f * (canvas - frame * s)`` on. Views of the
    same focus lie inside each other, so what the closest one shows is seen all the time.

    Parameters:
        keep: parts of the canvas, in its pixels.
        canvas, frame: (width, height) in pixels.
        focus: (x, y), 0..1, the point that would stay put without ``keep``.
        nearest: canvas pixels for one frame pixel in the closest view wished for.

    Returns:
        The focus nearest to ``focus``, and the smallest scale not below ``nearest``, for which all is seen; a scale
        that shows all of the canvas if no other does.
    """
    whole = around(keep)
    if whole is None:
        return focus, nearest
    most = min(canvas[0] / frame[0], canvas[1] / frame[1])
    scale = min(most, max(nearest, whole.width / frame[0], whole.height / frame[1]))
    return (
        _focus(whole.left, whole.right, canvas[0], frame[0] * scale, focus[0]),
        _focus(whole.top, whole.bottom, canvas[1], frame[1] * scale, focus[1]),
    ), scale


def _focus(low: float, high: float, room: float, length: float, wished: float) -> float:
    spare = room - length
    if spare <= 1e-9 * room:
        return wished
    least, most = (high - length) / spare, low / spare
    return min(1.0, max(0.0, min(max(wished, least), most)))
