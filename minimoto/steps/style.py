"""``style``: every photo painted like another picture."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, cast, get_args

from minimoto.engines.style_optimise_settings import RANGES, Init, Model, OptimiseOptions, Optimizer, Pooling
from minimoto.engines.style_settings import MADE_STYLES, Colors, FastOptions
from minimoto.errors import InvalidInput, InvalidPipeline
from minimoto.steps.base import Context, Step, StepResult
from minimoto.steps.parameters import Parameters, fraction

Mode = Literal["fast", "optimise"]
Format = Literal["auto", "png"]

_CHOICES = {"model": get_args(Model), "init": get_args(Init), "optimizer": get_args(Optimizer)} | {
    "pooling": get_args(Pooling)
}
_SHARED = ("strength", "style_scale", "seed")
_NUMBERS = ("content_weight", "style_weight", "tv_weight", "learning_rate", "strength", "style_scale")
_INTEGERS = ("num_iterations", "lbfgs_num_correction", "scales", "seed")
_LAYERS = ("content_layers", "style_layers")
_SWITCHES = ("normalize_gradients", "original_colors")
_ONLY_OPTIMISE = tuple(name for name in (*_CHOICES, *_NUMBERS, *_INTEGERS, *_LAYERS, *_SWITCHES) if name not in _SHARED)
_NAMES = (
    "picture", "weights", "style_blend_weights", "mode", "colors", "size", "mask", "feather", "temporal", "format",
    "quality", *_SHARED, *_ONLY_OPTIMISE,
)  # fmt: skip
_MOST_PICTURES = 16


@dataclass(frozen=True)
class StyleParams:
    """How photos are styled.

    Parameters:
        pictures: the style pictures: names of ours, or of files beside the photos.
        weights: one for each picture; only their ratios count.
        fast: the options of ``mode=fast``.
        optimise: those of ``mode=optimise``; ``None`` for ``fast``.
        size: longer side of the result in pixels, which is never enlarged; 0 for the photo's own.
        mask: a picture beside the photos: white where they are styled, black where not; empty for all of them.
        feather: how far the mask's edges are softened, in hundredths of the photo's longer side.
        temporal: photos that follow each other are frames of one scene and must not flicker.
        lossless: write PNG, whatever the photo was.
        quality: of the JPEG, 1..100.
    """

    pictures: tuple[str, ...]
    weights: tuple[float, ...] = ()
    fast: FastOptions = field(default_factory=FastOptions)
    optimise: OptimiseOptions | None = None
    size: int = 0
    mask: str = ""
    feather: float = 0.5
    temporal: bool = False
    lossless: bool = False
    quality: int = 92


def parse(values: Mapping[str, str]) -> StyleParams:
    """Text parameters to :class:`StyleParams`; raises :class:`~minimoto.errors.InvalidPipeline`."""
    given = Parameters(values, _NAMES)
    pictures = _pictures(given)
    seed = given.integer("seed", 0, *map(int, RANGES["seed"]))
    optimise = _optimise(given, values) if _mode(given, values) == "optimise" else None
    return StyleParams(
        pictures=pictures,
        weights=_weights(given, len(pictures)),
        fast=FastOptions(
            strength=float(given.number("strength", Fraction(1), 0, 1)),
            colors=cast(Colors, given.choice("colors", get_args(Colors), "transfer")),
            style_scale=float(given.number("style_scale", Fraction(1), Fraction(1, 2), 4)) if not optimise else 1.0,
            seed=seed,
        ),
        optimise=optimise,
        size=given.integer("size", 0, 0, 16384),
        mask=_one_name(given),
        feather=float(given.number("feather", Fraction(1, 2), 0, 50)),
        temporal=_temporal(given, optimise is not None),
        lossless=given.choice("format", get_args(Format), "auto") == "png",
        quality=given.integer("quality", StyleParams.quality, 1, 100),
    )


def file_names(value: str) -> tuple[str, ...]:
    """The names, joined by ``+``, of files beside the photos: those with a dot; others are pictures of ours."""
    return tuple(name for name in _split(value) if "." in name)


def run(context: Context, params: StyleParams) -> StepResult:
    """Style each photo; one that cannot be read is skipped with its reason.

    Raises:
        StepFailed: a style picture or the mask cannot be read, weights are missing, or a file could not be written.
        ConfigError: a library that is needed is not installed.
    """
    from minimoto.steps.style_run import style_photos

    return style_photos(context, params)


def _split(value: str) -> list[str]:
    parts = re.split(r"(?<!\+)\+(?!\+)", value)
    return [part.strip().replace("++", "+") for part in parts]


def _pictures(given: Parameters) -> tuple[str, ...]:
    names = _split(given.text("picture"))
    if names == [""]:
        raise InvalidPipeline(f"picture is missing: a file beside the photos, or one of {', '.join(MADE_STYLES)}")
    if len(names) > _MOST_PICTURES:
        raise InvalidPipeline(f"picture names {len(names)} pictures; {_MOST_PICTURES} are the most")
    for name in names:
        if "." in name:
            Parameters({"picture": name}, ("picture",)).file("picture")
        elif name not in MADE_STYLES:
            near = difflib.get_close_matches(name, MADE_STYLES, n=1)
            hint = (
                f"did you mean {near[0]}?" if near else f"there are {', '.join(MADE_STYLES)}, or a file such as a.jpg"
            )
            raise InvalidPipeline(f"no style is called '{name}'; {hint}")
    return tuple(names)


def _one_name(given: Parameters) -> str:
    names = _split(given.text("mask"))
    if len(names) > 1 or (names[0] and "." not in names[0]):
        raise given.wrong("mask", "the name of one picture beside the photos")
    return Parameters({"mask": names[0]}, ("mask",)).file("mask")


def _weights(given: Parameters, count: int) -> tuple[float, ...]:
    name = "weights" if given.text("weights") else "style_blend_weights"
    text = given.text(name)
    if not text:
        return ()
    try:
        weights = tuple(float(fraction(part.strip())) for part in re.split(r"[+,]", text))
    except ValueError:
        raise given.wrong(name, "numbers joined by +, such as 2+1") from None
    if len(weights) != count:
        raise given.wrong(name, f"{count} number{'s' if count > 1 else ''}, one for each picture")
    if min(weights) < 0 or not 0 < sum(weights) < 1e9:
        raise given.wrong(name, "numbers from 0 on, one of them at least above 0")
    return weights


def _mode(given: Parameters, values: Mapping[str, str]) -> Mode:
    mode = cast(Mode, given.choice("mode", get_args(Mode), "fast"))
    foreign = [name for name in _ONLY_OPTIMISE if name in values]
    if mode == "fast" and foreign:
        raise InvalidPipeline(f"{foreign[0]} belongs to mode=optimise, which is not asked for")
    return mode


def _temporal(given: Parameters, optimise: bool) -> bool:
    temporal = given.choice("temporal", ("off", "on"), "off") == "on"
    if temporal and optimise:
        raise given.wrong("temporal", "off with mode=optimise")
    return temporal


def _optimise(given: Parameters, values: Mapping[str, str]) -> OptimiseOptions:
    options: dict[str, Any] = {name: _number(given, name) for name in _NUMBERS if name in values}
    options |= {name: given.integer(name, 0, *map(int, RANGES[name])) for name in _INTEGERS if name in values}
    options |= {name: given.choice(name, choices, "") for name, choices in _CHOICES.items() if name in values}
    options |= {name: _words(given.text(name)) for name in _LAYERS if name in values}
    options |= {name: given.choice(name, ("off", "on"), "off") == "on" for name in _SWITCHES}
    options["original_colors"] |= given.text("colors") == "keep"
    if "size" in values:
        options["image_size"] = given.integer("size", 0, *map(int, RANGES["image_size"]))
    try:
        return OptimiseOptions(style_blend_weights=_weights(given, len(_pictures(given))), **options)
    except InvalidInput as error:
        raise InvalidPipeline(str(error)) from error


def _number(given: Parameters, name: str) -> float:
    low, high = (Fraction(bound) for bound in RANGES[name])
    return float(given.number(name, low, low, high))


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in re.split(r"[+,]", text))


STYLE = Step(
    name="style",
    per="photo",
    parse=parse,
    run=run,
    seconds_per_item=3.0,
    memory_limit=6 * 2**30,
    # The network is converted for a node's processor when it is first used there.
    hang_seconds=300.0,
    file_parameters=("picture", "mask"),
    file_names=file_names,
    positional=("picture",),
)
