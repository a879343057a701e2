"""When each slide of a film is on screen, counted in frames.

A slide is on screen for its own number of frames, its transitions included: it shares its first frames with the slide
before it and its last ones with the slide after it. So a film has the frames of its slides less those that neighbours
share, exactly; and with n photos of ``slide`` frames each, ``n * slide - (n - 1) * transition``.
"""

from __future__ import annotations

from bisect import bisect_left
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
        local: frames of ``slide`` that came before this one.
        entering_local: the same for the entering slide; 0 outside transitions.
    """

    frame: int
    slide: int
    at: float
    entering: float | None = None
    mix: float = 0.0
    local: int = 0
    entering_local: int = 0


@dataclass(frozen=True)
class Span:
    """When one slide is on screen.

    Parameters:
        start: the film's first frame that shows it.
        length: frames that show it, at least 1.
        entering: how many of them, the first ones, it shares with the slide before.
        due: the frame at which it would end if no beat had ever moved a cut; see :func:`span_after`.
    """

    start: int
    length: int
    entering: int
    due: int

    @property
    def end(self) -> int:
        """The first frame that does not show it."""
        return self.start + self.length


@dataclass(frozen=True)
class BeatGrid:
    """The beats of a piece of music that is played again and again.

    Parameters:
        beats: seconds from the start of the music, ascending, each below ``period``.
        period: seconds of the music.
        fps: frames a second of the film.
    """

    beats: tuple[float, ...]
    period: float
    fps: Fraction

    def __post_init__(self) -> None:
        if self.period <= 0 or any(not 0 <= beat < self.period for beat in self.beats):
            raise ValueError(f"impossible beats: {len(self.beats)} in {self.period} s")

    def nearest(self, frame: float, low: float, high: float) -> float | None:
        """The beat nearest to ``frame``, of those from ``low`` to ``high``; all in frames. None if there is none."""
        if not self.beats:
            return None
        turn, within = divmod(frame / float(self.fps), self.period)
        place = bisect_left(self.beats, within)
        around = (self._at(turn, index) for index in (place - 1, place))
        # With bounds to one side of ``frame``, the first beat inside them is farther away.
        edges = (self._first(low), self._last(high))
        inside = [beat for beat in (*around, *edges) if low <= beat <= high]
        return min(inside, key=lambda beat: (abs(beat - frame), beat), default=None)

    def _at(self, turn: float, index: int) -> float:
        more, index = divmod(index, len(self.beats))
        return ((turn + more) * self.period + self.beats[index]) * float(self.fps)

    def _first(self, frame: float) -> float:
        turn, within = divmod(frame / float(self.fps), self.period)
        return self._at(turn, bisect_left(self.beats, within))

    def _last(self, frame: float) -> float:
        turn, within = divmod(frame / float(self.fps), self.period)
        return self._at(turn, bisect_left(self.beats, within) - 1)


def span_after(
    before: Span | None, wanted: int, transition: int, beats: BeatGrid | None = None, *, most: int | None = None
) -> Span:
    """The span of the slide that follows ``before``, or of a film's first slide.

    Neighbours share ``transition`` frames, or half of the shorter one where that is less. With ``beats`` the slide ends
    where the middle of the next transition falls on the beat nearest to where it would be without beats, so that the
    film keeps its length; it is never shortened to less than half of ``wanted``, nor made longer by more than that.
    Where no beat allows it, its end is as near as it can be to where it would be without beats.

    Parameters:
        wanted: frames that the slide should be on screen, at least 1.
        transition: frames that two slides share.
        most: frames that there are of it, for a clip; as many as are liked if None.
    """
    shared = min(transition, before.length // 2, wanted // 2) if before else 0
    start = before.end - shared if before else 0
    due = (before.due - shared if before else 0) + wanted
    if beats is None:
        return Span(start, wanted, shared, due)
    leaving = min(transition, wanted // 2)
    low, high = max(1, 2 * shared, 2 * leaving, (wanted + 1) // 2), max(1, wanted + wanted // 2)
    high = max(low, min(high, most)) if most is not None else high
    half = Fraction(leaving, 2)
    beat = beats.nearest(float(due - half), float(start + low - half), float(start + high - half))
    end = round(beat + float(half)) if beat is not None else due
    return Span(start, min(max(end - start, low), high), shared, due)


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
    """:func:`span_moments` of a film whose slides are all on screen for the same time."""
    step = timing.slide - timing.transition
    span, following = (
        Span(index * step, timing.slide, timing.transition if index else 0, index * step + timing.slide)
        for index in (slide, slide + 1)
    )
    return span_moments(slide, span, None if last else following)


def span_moments(slide: int, span: Span, following: Span | None) -> Iterator[Moment]:
    """The frames from where ``slide`` is alone on screen to just before the next slide is.

    The frames of slides 0, 1, … in turn are the film. Of each slide only the next one needs to be known, so a film can
    be made without knowing its length.
    """
    alone = span.length - following.entering if following else span.length
    for local in range(span.entering, span.length):
        shared = local - alone
        if following is None or shared < 0:
            yield Moment(span.start + local, slide, share(local, span.length), local=local)
        else:
            mix = (shared + 1) / (following.entering + 1)
            entering = share(shared, following.length)
            yield Moment(span.start + local, slide, share(local, span.length), entering, mix, local, shared)


def title_level(local: int, timing: Timing) -> float:
    """How visible, 0..1, a title is at frame ``local`` of its slide; gone before the slide leaves."""
    return text_level(local, timing.fps, timing.slide, 0, timing.transition)


def text_level(local: int, fps: Fraction, length: int, entering: int, leaving: int) -> float:
    """How visible, 0..1, a text is at frame ``local`` of a slide's ``length``; only while the slide is alone."""
    alone = length - entering - leaving
    start = entering + min(fps * 3 / 10, Fraction(length, 8), Fraction(alone, 4) if entering else Fraction(length))
    end = Fraction(length - leaving)
    fade = min(fps * 6 / 10, (end - start) / 4)
    nearest = min(local - start, end - 1 - local)
    ramp = float(max(Fraction(0), min(Fraction(1), nearest / fade))) if fade else 1.0
    return ramp * ramp * (3 - 2 * ramp)


def share(local: int, length: int) -> float:
    """How far, 0..1, frame ``local`` is through ``length`` frames."""
    return local / (length - 1) if length > 1 else 0.0
