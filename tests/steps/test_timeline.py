"""The film's timeline: every slide in order, exact to a frame."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimoto.core.timeline import Moment, Timing, duration, frame_count, moments, timing, title_level


@st.composite
def timings(draw: st.DrawFn) -> Timing:
    slide = draw(st.integers(1, 40))
    return Timing(Fraction(30), slide, draw(st.integers(0, slide // 2)))


def film(slides: int, rhythm: Timing) -> list[Moment]:
    return [moment for slide in range(slides) for moment in moments(slide, rhythm, last=slide == slides - 1)]


@settings(deadline=None)
@given(timings(), st.integers(1, 6))
def test_frames_are_counted_without_gap_or_overlap(rhythm: Timing, slides: int) -> None:
    made = film(slides, rhythm)
    assert [moment.frame for moment in made] == list(range(frame_count(slides, rhythm)))


@settings(deadline=None)
@given(timings(), st.integers(1, 6))
def test_every_slide_is_on_screen_for_its_time_and_moves_evenly(rhythm: Timing, slides: int) -> None:
    for slide in range(slides):
        seen = [m.at for m in film(slides, rhythm) if m.slide == slide]
        entered = [m.entering for m in film(slides, rhythm) if m.slide == slide - 1 and m.entering is not None]
        path = [*entered, *seen]
        assert path == pytest.approx([n / max(1, rhythm.slide - 1) for n in range(rhythm.slide)])


@settings(deadline=None)
@given(timings(), st.integers(2, 6))
def test_a_transition_never_begins_or_ends_with_a_jump(rhythm: Timing, slides: int) -> None:
    for slide in range(slides - 1):
        mixes = [0, *(m.mix for m in film(slides, rhythm) if m.slide == slide and m.entering is not None), 1]
        steps = [b - a for a, b in pairwise(mixes)]
        assert steps == pytest.approx([1 / (rhythm.transition + 1)] * (rhythm.transition + 1))


def test_times_in_seconds_become_whole_frames() -> None:
    ntsc = timing(Fraction(30000, 1001), Fraction(4), Fraction(1))
    assert (ntsc.slide, ntsc.transition) == (120, 30)
    assert duration(3, ntsc) == Fraction(300 * 1001, 30000)
    assert timing(Fraction(1), Fraction(1, 10), Fraction(1)) == Timing(Fraction(1), 1, 0)


@pytest.mark.parametrize(("slide", "transition"), [(0, 0), (10, 6), (10, -1)])
def test_impossible_timings_are_refused(slide: int, transition: int) -> None:
    with pytest.raises(ValueError, match="impossible"):
        Timing(Fraction(30), slide, transition)


@settings(deadline=None)
@given(timings())
def test_a_title_is_gone_before_its_slide_leaves(rhythm: Timing) -> None:
    levels = [title_level(local, rhythm) for local in range(rhythm.slide)]
    assert all(0 <= level <= 1 for level in levels)
    assert not any(levels[rhythm.slide - rhythm.transition :])


def test_a_title_of_four_seconds_is_fully_visible_for_most_of_them() -> None:
    levels = [title_level(local, timing(Fraction(30), Fraction(4), Fraction(1))) for local in range(120)]
    assert levels[0] == 0
    assert sum(level == 1 for level in levels) > 40
