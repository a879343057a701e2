"""When each slide of a film is on screen, counted in frames.

A slide is on screen for ``slide`` frames, its transitions included: it shares its first ``transition`` frames with the
slide before it and its last ones with the slide after it. So a film of n slides has
``n * slide - (n - 1) * transition`` frames, exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Timing:
    """The rhythm of a film.

    Parameters:
        fps: frames a second.
        slide: frames that a slide is on screen, at least 1.
        transition: frames shared by two slides in turn, 0 for a cut; at most half of ``slide``.
    """

    fps: Fraction
    slide: int
    transition: int

    def __post_init__(self) -> None:
        if self.fps <= 0 or self.slide < 1 or not 0 <= 2 * self.transition <= self.slide:
            raise ValueError(f"impossible timing: {self}")


@dataclass(frozen=True)
class Moment:
    """What one frame shows.

    Parameters:
        frame: its index in the film.
        slide: the slide on screen; in a transition, the one that leaves.
        at: how far ``slide`` is through its time on screen, 0 at its first frame, 1 at its last.
        entering: the same for slide ``slide + 1`` while it enters; None outside transitions.
        mix: share of the entering slide, strictly between 0 and 1 in a transition, else 0.
    """

    frame: int
    slide: int
    at: float
    entering: float | None = None
    mix: float = 0.0


def timing(fps: Fraction, seconds: Fraction, transition_seconds: Fraction) -> Timing:
    """Whole frames for times in seconds: a slide has at least one, a transition at most half of a slide's."""
    slide = max(1, round(seconds * fps))
    return Timing(fps, slide, min(round(transition_seconds * fps), slide // 2))


def frame_count(slides: int, timing: Timing) -> int:
    """Frames in a film of ``slides`` slides."""
    return slides * timing.slide - (slides - 1) * timing.transition if slides > 0 else 0


def duration(slides: int, timing: Timing) -> Fraction:
    """Seconds, exactly, of a film of ``slides`` slides."""
    return frame_count(slides, timing) / timing.fps


def moments(slide: int, timing: Timing, *, last: bool) -> Iterator[Moment]:
    """The frames from where ``slide`` is alone on screen to just before the next slide is.

    The frames of slides 0, 1, … in turn are the film; only the last slide needs to be known as such, so a film can be
    made without knowing its length.
    """
    length, overlap = timing.slide, timing.transition
    start = slide * (length - overlap)
    for local in range(overlap if slide else 0, length):
        shared = local - (length - overlap)
        if last or shared < 0:
            yield Moment(start + local, slide, _share(local, length))
        else:
            mix = (shared + 1) / (overlap + 1)
            yield Moment(start + local, slide, _share(local, length), _share(shared, length), mix)


def title_level(local: int, timing: Timing) -> float:
    """How visible, 0..1, a title is at frame ``local`` of its slide; gone before the slide leaves."""
    start, end = min(timing.fps * 3 / 10, Fraction(timing.slide, 8)), Fraction(timing.slide - timing.transition)
    fade = min(timing.fps * 6 / 10, (end - start) / 4)
    nearest = min(local - start, end - 1 - local)
    ramp = float(max(Fraction(0), min(Fraction(1), nearest / fade))) if fade else 1.0
    return ramp * ramp * (3 - 2 * ramp)


def _share(local: int, length: int) -> float:
    return local / (length - 1) if length > 1 else 0.0
