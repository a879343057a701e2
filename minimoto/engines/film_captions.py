"""What a photo says about itself, as the text under it: when it was taken, where, what its file is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minimoto.engines.film_settings import Caption
from minimoto.engines.photo_facts import taken_at


def caption_of(file: Path, wanted: Sequence[Caption]) -> str:
    """The caption of a photo or a clip: what it says of ``wanted``, in that order; empty if it says nothing.

    A date is written as ISO 8601 has it, which every country reads the same way.
    """
    parts = [_part(file, what) for what in wanted]
    return " · ".join(part for part in parts if part)


def _part(file: Path, what: Caption) -> str:
    if what == "file":
        return file.stem
    if what == "place":
        from minimoto.engines.film_places import place_of

        return place_of(file)
    taken = taken_at(file)
    return taken.date().isoformat() if taken else ""
