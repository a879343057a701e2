"""``video``: a folder of photos becomes one film."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import cast, get_args

from minimoto.engines.film_settings import QUALITIES, TRANSITIONS, Beside, Encoder, FilmSettings, Motion, TitleStyle
from minimoto.errors import StepFailed
from minimoto.steps.base import Context, Progress, Skip, Step, StepResult, safe_stem
from minimoto.steps.parameters import Parameters

_NAMES = (
    "size", "fps", "seconds", "transition", "transition_seconds", "motion", "fill", "title", "title_style", "music",
    "quality", "encoder", "seed",
)  # fmt: skip
_LONGEST_TITLE = 200


@dataclass(frozen=True)
class VideoParams:
    """How the film looks, and the name of the music file beside the photos; empty for a silent film."""

    film: FilmSettings
    music: str = ""


def parse(values: Mapping[str, str]) -> VideoParams:
    """Text parameters to :class:`VideoParams`; raises :class:`~minimoto.errors.InvalidPipeline`."""
    given = Parameters(values, _NAMES)
    default = FilmSettings()
    title = given.text("title")
    if len(title) > _LONGEST_TITLE:
        raise given.wrong("title", f"at most {_LONGEST_TITLE} characters")
    seconds = given.number("seconds", default.seconds, Fraction(1, 10), 600)
    film = FilmSettings(
        size=given.size("size", default.size, 64, 7680, even=True),
        fps=given.number("fps", default.fps, 1, 120),
        seconds=seconds,
        transition=given.choice("transition", (*TRANSITIONS, "random"), default.transition),
        transition_seconds=_transition_seconds(given, seconds),
        motion=cast(Motion, given.choice("motion", get_args(Motion), default.motion)),
        fill=cast(Beside, given.choice("fill", get_args(Beside), default.fill)),
        title=title,
        title_style=cast(TitleStyle, given.choice("title_style", get_args(TitleStyle), default.title_style)),
        crf=_crf(given),
        encoder=cast(Encoder, given.choice("encoder", get_args(Encoder), default.encoder)),
        seed=given.integer("seed", default.seed, 0, 2**31 - 1),
    )
    return VideoParams(film, given.file("music"))


def _transition_seconds(given: Parameters, seconds: Fraction) -> Fraction:
    longest = seconds / 2
    chosen = given.number("transition_seconds", min(FilmSettings.transition_seconds, seconds / 3), 0, 600)
    if chosen > longest:
        raise given.wrong("transition_seconds", f"at most half of seconds, {float(longest):g}")
    return chosen


def _crf(given: Parameters) -> int:
    named = QUALITIES.get(given.text("quality", "medium"))
    return named if named is not None else given.integer("quality", FilmSettings.crf, 0, 51)


def run(context: Context, params: VideoParams) -> StepResult:
    """Make the film ``<name>.mp4``; photos that cannot be used are skipped with their reasons.

    Raises:
        StepFailed: see :func:`minimoto.engines.film.make_film`; or the music was not given with the photos.
    """
    from minimoto.engines.film import make_film

    music = context.attachments.get(params.music) if params.music else None
    if params.music and music is None:
        raise StepFailed(f"the music {params.music} is not among the job's files", retry=False)
    film = context.out / f"{safe_stem(context.name, 'film')}.mp4"
    report = make_film(
        context.inputs, film, params.film, music, lambda done, note: context.progress(Progress(done, note))
    )
    skipped = [Skip.of(photo, error) for photo, error in report.skipped]
    if report.missing:
        skipped.append(Skip("title", f"no font here has these characters: {report.missing}"))
    return StepResult((film,), tuple(skipped))


VIDEO = Step(
    name="video",
    per="folder",
    parse=parse,
    run=run,
    seconds_per_item=2.4,
    memory_limit=3 * 2**30,
    hang_seconds=180.0,
    positional=("size",),
    file_parameters=("music",),
    result_suffix=".mp4",
)
