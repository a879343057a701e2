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

SIZES = {
    "720p": (1280, 720),
    "1080p": (1920, 1080),
    "1440p": (2560, 1440),
    "4k": (3840, 2160),
    "phone": (1080, 1920),
    "portrait": (1080, 1350),
    "square": (1080, 1080),
}
"""(width, height) of frames by name."""

Motion = Literal["kenburns", "none"]
Beside = Literal["blur", "black", "crop"]
TitleStyle = Literal["overlay", "card"]
Encoder = Literal["auto", "x264", "nvenc"]
Codec = Literal["h264", "av1"]
Caption = Literal["date", "place", "file"]
ClipSound = Literal["keep", "mute"]
Faces = Literal["auto", "on", "off"]
Chapters = Literal["none", "photo", "day"]
Preview = Literal["none", "gif", "webp"]
Poster = Literal["none", "first", "middle"]


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
        codec: ``h264``, which everything plays, or ``av1``: little more than half of the bytes for as good a picture.
        faces: keep faces in the picture, whatever is cropped and however it moves: ``auto`` where the network that
            finds them is here, ``on`` or fail; ``off`` looks for none.
        beats: let transitions fall on the beats of the music.
        captions: what is written under each photo, in this order; what a photo does not say is left out.
        intro, outro: text on a card before the first and after the last photo; empty for no card.
        clip_seconds: how much of a video among the photos is shown at most.
        clip_sound: ``keep`` lets a video be heard, and the music step back for it; ``mute`` does not.
        chapters: marks to jump to in the film: each photo, or each day on which photos were taken.
        preview: a small moving picture of the film beside it, as GIF or animated WebP.
        poster: a still of the film beside it, and in it as its cover: its first frame or the one in the middle.
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
    codec: Codec = "h264"
    faces: Faces = "auto"
    beats: bool = False
    captions: tuple[Caption, ...] = ()
    intro: str = ""
    outro: str = ""
    clip_seconds: Fraction = Fraction(15)
    clip_sound: ClipSound = "keep"
    chapters: Chapters = "none"
    preview: Preview = "none"
    poster: Poster = "none"
    seed: int = 0
