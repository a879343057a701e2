"""The Ken Burns movement: a slow zoom towards or away from a point, eased, but never at rest.

Pure arithmetic. A view says which part of a slide's canvas a frame shows; views follow a path, and a path is chosen for
each slide from the film's seed.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

ZOOM = 1.2
"""A canvas is this much larger than the film's frame: all of it is the widest view."""

# Close to one canvas pixel a frame pixel, bands of sharp and soft detail would wander over the picture: from 1.05 on,
# the sharpness of fine grain changes less than half as much from frame to frame as from 1.0 on.
_NEAREST = 1.05

_EASE = 0.4


@dataclass(frozen=True)
class View:
    """Which part of a canvas fills a frame.

    Parameters:
        scale: canvas pixels for one frame pixel.
        left, top: the canvas pixel, by its centre, that lands on the frame's pixel (0, 0).
    """

    scale: float
    left: float
    top: float


@dataclass(frozen=True)
class Path:
    """The movement over one canvas.

    Parameters:
        start, end: scales at both ends, above 1 (closest) up to :data:`ZOOM` (all of the canvas).
        focus: (x, y), 0..1 each way: the point that stays put in the frame and on the canvas.
    """

    start: float
    end: float
    focus: tuple[float, float]

    def scale(self, at: float) -> float:
        """Canvas pixels for one frame pixel at ``at``, 0..1 of the slide's time on screen."""
        # Equal ratios in equal times look like constant speed; equal differences would not.
        return self.start * math.pow(self.end / self.start, eased(at))

    def view(self, at: float, canvas: tuple[int, int], frame: tuple[int, int]) -> View:
        """The view at ``at``, 0..1 of the slide's time on screen; never outside the canvas.

        Parameters:
            canvas, frame: (width, height) in pixels.
        """
        scale = self.scale(at)
        left, top = (
            focus * (big - scale * small) + (scale - 1) / 2
            for focus, big, small in zip(self.focus, canvas, frame, strict=True)
        )
        return View(scale, left, top)


def eased(at: float) -> float:
    """0..1 to 0..1, slower at both ends, yet never still: photos go on moving through their transitions."""
    return (1 - _EASE) * at + _EASE * at * at * (3 - 2 * at)


def path(slide: int, seed: int) -> Path:
    """The path of a slide: in and out in turn, towards a point around the middle, where faces are: above it."""
    chance = random.Random(f"minimoto {seed} {slide}")
    focus = (chance.uniform(0.2, 0.8), chance.uniform(0.2, 0.6))
    near, far = chance.uniform(_NEAREST, _NEAREST + 0.02), chance.uniform(ZOOM - 0.02, ZOOM)
    return Path(far, near, focus) if (slide + seed) % 2 == 0 else Path(near, far, focus)
