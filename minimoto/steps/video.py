"""``video``: a folder of photos becomes one film."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast, get_args

from minimoto.engines.film_settings import (
    QUALITIES,
    SIZES,
    TRANSITIONS,
    Beside,
    Caption,
    Chapters,
    ClipSound,
    Codec,
    Encoder,
    Faces,
    FilmSettings,
    Motion,
    Poster,
    Preview,
    TitleStyle,
)
from minimoto.errors import InvalidPipeline, StepFailed
from minimoto.steps.base import Context, Progress, Skip, Step, StepResult, safe_stem
from minimoto.steps.parameters import Parameters

_NAMES = (
    "size", "fps", "seconds", "transition", "transition_seconds", "motion", "fill", "title", "title_style", "music",
    "quality", "encoder", "codec", "faces", "beats", "captions", "intro", "intro_picture", "outro", "outro_picture",
    "clip_seconds", "clip_sound", "chapters", "preview", "poster", "seed",
)  # fmt: skip
_LONGEST_TITLE = 200
_ON_OFF = {"on": True, "off": False}
_BEAT_TRANSITION = Fraction(3, 10)
"""Seconds: a cut is felt on its beat when it is short."""


@dataclass(frozen=True)
class VideoParams:
    """How the film looks, and the names of files beside the photos; empty for none.

    Parameters:
        music: to lay under the film.
        intro_picture, outro_picture: for the cards before the first and after the last photo.
    """

    film: FilmSettings
    music: str = ""
    intro_picture: str = ""
    outro_picture: str = ""


def parse(values: Mapping[str, str]) -> VideoParams:
    """Text parameters to :class:`VideoParams`; raises :class:`~minimoto.errors.InvalidPipeline`."""
    given = Parameters(values, _NAMES)
    default = FilmSettings()
    seconds = given.number("seconds", default.seconds, Fraction(1, 10), 600)
    beats = _ON_OFF[given.choice("beats", _ON_OFF, "off")]
    music = given.file("music")
    if beats and not music:
        raise given.wrong("beats", "off where there is no music")
    encoder = cast(Encoder, given.choice("encoder", get_args(Encoder), default.encoder))
    codec = given.choice("codec", get_args(Codec), default.codec)
    if codec == "av1" and encoder != default.encoder:
        raise given.wrong("codec", "h264 where the encoder is named: AV1 has one of its own")
    film = FilmSettings(
        size=_size(given),
        fps=given.number("fps", default.fps, 1, 120),
        seconds=seconds,
        transition=given.choice("transition", (*TRANSITIONS, "random"), default.transition),
        transition_seconds=_transition_seconds(given, seconds, _BEAT_TRANSITION if beats else seconds / 3),
        motion=cast(Motion, given.choice("motion", get_args(Motion), default.motion)),
        fill=cast(Beside, given.choice("fill", get_args(Beside), default.fill)),
        title=_words(given, "title"),
        title_style=cast(TitleStyle, given.choice("title_style", get_args(TitleStyle), default.title_style)),
        crf=_crf(given),
        encoder=encoder,
        codec=cast(Codec, codec),
        faces=cast(Faces, given.choice("faces", get_args(Faces), default.faces)),
        beats=beats,
        captions=_captions(given),
        intro=_words(given, "intro"),
        outro=_words(given, "outro"),
        clip_seconds=given.number("clip_seconds", default.clip_seconds, Fraction(1, 10), 600),
        clip_sound=cast(ClipSound, given.choice("clip_sound", get_args(ClipSound), default.clip_sound)),
        chapters=cast(Chapters, given.choice("chapters", get_args(Chapters), default.chapters)),
        preview=cast(Preview, given.choice("preview", get_args(Preview), default.preview)),
        poster=cast(Poster, given.choice("poster", get_args(Poster), default.poster)),
        seed=given.integer("seed", default.seed, 0, 2**31 - 1),
    )
    return VideoParams(film, music, given.file("intro_picture"), given.file("outro_picture"))


def _size(given: Parameters) -> tuple[int, int]:
    named = SIZES.get(given.text("size").lower())
    if named is not None:
        return named
    try:
        return given.size("size", FilmSettings.size, 64, 7680, even=True)
    except InvalidPipeline as error:
        raise InvalidPipeline(f"{error}; or one of {', '.join(SIZES)}") from None


def _words(given: Parameters, name: str) -> str:
    text = given.text(name)
    if len(text) > _LONGEST_TITLE:
        raise given.wrong(name, f"at most {_LONGEST_TITLE} characters")
    return text


def _captions(given: Parameters) -> tuple[Caption, ...]:
    text = given.text("captions", "none")
    parts = tuple(text.split("+")) if text != "none" else ()
    if len(set(parts)) != len(parts) or not set(parts) <= set(get_args(Caption)):
        raise given.wrong("captions", f"none, or some of {', '.join(get_args(Caption))} joined by +")
    return cast(tuple[Caption, ...], parts)


def _transition_seconds(given: Parameters, seconds: Fraction, short: Fraction) -> Fraction:
    longest = seconds / 2
    chosen = given.number("transition_seconds", min(FilmSettings.transition_seconds, short, longest), 0, 600)
    if chosen > longest:
        raise given.wrong("transition_seconds", f"at most half of seconds, {float(longest):g}")
    return chosen


def _crf(given: Parameters) -> int:
    named = QUALITIES.get(given.text("quality", "medium"))
    return named if named is not None else given.integer("quality", FilmSettings.crf, 0, 51)


def run(context: Context, params: VideoParams) -> StepResult:
    """Make the film ``<name>.mp4``, and its poster and preview where they are wanted; photos that cannot be used are
    skipped with their reasons.

    Raises:
        StepFailed: see :func:`minimoto.engines.film.make_film`; or a file was not given with the photos.
    """
    from minimoto.engines.film import Attached, make_film

    music = _attached(context, "music", params.music)
    cards = Attached(
        intro=_attached(context, "picture", params.intro_picture),
        outro=_attached(context, "picture", params.outro_picture),
    )
    film = context.out / f"{safe_stem(context.name, 'film')}.mp4"
    report = make_film(
        context.inputs, film, params.film, music, lambda done, note: context.progress(Progress(done, note)), cards
    )
    skipped = [Skip.of(photo, error) for photo, error in report.skipped]
    if report.blind:
        skipped.append(Skip("faces", report.blind))
    if report.missing:
        skipped.append(Skip("title", f"no font here has these characters: {report.missing}"))
    return StepResult((film, *report.beside), tuple(skipped))


def _attached(context: Context, what: str, name: str) -> Path | None:
    if not name:
        return None
    found = context.attachments.get(name)
    if found is None:
        raise StepFailed(f"the {what} {name} is not among the job's files", retry=False)
    return found


VIDEO = Step(
    name="video",
    per="folder",
    parse=parse,
    run=run,
    seconds_per_item=2.4,
    memory_limit=3 * 2**30,
    hang_seconds=180.0,
    positional=("size",),
    file_parameters=("music", "intro_picture", "outro_picture"),
    result_suffix=".mp4",
    takes_clips=True,
)
