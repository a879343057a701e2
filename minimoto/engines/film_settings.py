"""What a film should look like. Free of numpy, so that a pipeline can be checked without loading the engine."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

TRANSITIONS = (
    "cut", "crossfade", "fade", "fadewhite", "slide", "push", "wipe", "clock", "iris", "zoom", "dissolve",
)  # fmt: skip
"""How one slide becomes the next; ``random`` picks one of those after ``cut`` for each join."""

QUALITIES = {"low": 28, "medium": 22, "high": 18}
"""x264's constant rate factor by name."""

Motion = Literal["kenburns", "none"]
Beside = Literal["blur", "black", "crop"]
TitleStyle = Literal["overlay", "card"]
Encoder = Literal["auto", "x264", "nvenc"]


@dataclass(frozen=True)
class FilmSettings:
    """The parameters of a film.

    Parameters:
        size: (width, height) in pixels, both even.
        fps: frames a second.
        seconds: how long each photo is on screen, its transitions included.
        transition: one of :data:`TRANSITIONS`, or ``random``.
        transition_seconds: how long a transition takes, at most half of ``seconds``.
        motion: ``kenburns`` moves slowly over each photo; ``none`` holds it still.
        fill: what a photo of another shape is put on: ``blur``, ``black``, or ``crop`` to cut it to shape.
        title: text shown at the start; empty for none.
        title_style: ``overlay`` writes it over the first photo, ``card`` on a slide of its own before that.
        crf: constant rate factor, 0..51; less is better and larger.
        encoder: ``x264``, ``nvenc`` (NVIDIA), or ``auto``: NVENC where a frame can really be encoded by it.
        seed: chooses the motions and random transitions; the same seed and photos give the same film.
    """

    size: tuple[int, int] = (1920, 1080)
    fps: Fraction = Fraction(30)
    seconds: Fraction = Fraction(4)
    transition: str = "crossfade"
    transition_seconds: Fraction = Fraction(1)
    motion: Motion = "kenburns"
    fill: Beside = "blur"
    title: str = ""
    title_style: TitleStyle = "overlay"
    crf: int = QUALITIES["medium"]
    encoder: Encoder = "auto"
    seed: int = 0
