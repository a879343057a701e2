"""Marks to jump to in a film, as players show them: a chapter for each photo, or for each day."""

from __future__ import annotations

import re
from collections.abc import Sequence

from minimoto.engines.film_settings import FilmSettings
from minimoto.engines.film_slide import Slide
from minimoto.engines.photo_facts import taken_at

_SPECIAL = re.compile(r"([=;#\\\n])")


def chapters(slides: Sequence[Slide], settings: FilmSettings) -> str:
    """The chapters of a film as ffmpeg's metadata text; empty for none.

    A chapter begins in the middle of the transition to its first photo; the first one begins with the film, and each
    ends where the next one begins.

    Source: ffmpeg-formats, section "Metadata".
    """
    if settings.chapters == "none":
        return ""
    named: list[tuple[str, int]] = []
    for slide in slides:
        name = _name(slide, settings)
        if slide.photo and name and (settings.chapters == "photo" or not named or named[-1][0] != name):
            named.append((name, slide.span.start + (slide.span.entering + 1) // 2 if named else 0))
    if not named:
        return ""
    ends = [start for _, start in named[1:]] + [slides[-1].span.end]
    base = f"TIMEBASE={settings.fps.denominator}/{settings.fps.numerator}"
    parts = [
        f"[CHAPTER]\n{base}\nSTART={start}\nEND={end}\ntitle={_escaped(name)}\n"
        for (name, start), end in zip(named, ends, strict=True)
    ]
    return "\n".join([";FFMETADATA1", *parts])


def _name(slide: Slide, settings: FilmSettings) -> str:
    if settings.chapters == "photo":
        return slide.file.stem
    taken = taken_at(slide.file)
    return taken.date().isoformat() if taken else ""


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
