"""``upscale``: every photo two, three or four times as large, with detail that interpolation does not give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from minimoto.engines.published import UPSCALERS
from minimoto.engines.upscale_settings import COMPACT, FACTORS, MODELS, UpscaleSettings
from minimoto.errors import ConfigError, InvalidPipeline, ModelMissing, StepFailed, UnreadablePicture
from minimoto.steps.base import Context, Progress, Skip, Step, StepResult, safe_stem
from minimoto.steps.parameters import Parameters

if TYPE_CHECKING:
    from minimoto.engines.upscale import Upscaler

_NAMES = (
    "factor",
    "model",
    "denoise",
    "ensemble",
    "quality",
    "model_name",
    "by_patch_of_size",
    "batch_size",
    "padding_size",
)


@dataclass(frozen=True)
class UpscaleParams:
    """How photos are enlarged.

    Parameters:
        settings: what the engine is asked for.
        quality: of the JPEG, 1..100.
    """

    settings: UpscaleSettings = field(default_factory=UpscaleSettings)
    quality: int = 95


def parse(values: Mapping[str, str]) -> UpscaleParams:
    """Text parameters to :class:`UpscaleParams`; raises :class:`~minimoto.errors.InvalidPipeline`."""
    given = Parameters(values, _NAMES)
    model = _model(given)
    default = UpscaleSettings.factor if model == COMPACT else UPSCALERS[model].factor
    factor = int(given.choice("factor", [str(number) for number in FACTORS], str(default)))
    if model != COMPACT and factor > UPSCALERS[model].factor:
        raise given.wrong("factor", f"{UPSCALERS[model].factor} or less with {model}")
    denoise = given.number("denoise", Fraction(0), 0, 1)
    settings = UpscaleSettings(
        factor=factor,
        model=model,
        denoise=float(denoise) if given.text("denoise") else None,
        ensemble=int(given.choice("ensemble", ("1", "2", "4", "8"), "1")),
        tile=_optional(given, "by_patch_of_size", 16, 4096),
        overlap=_optional(given, "padding_size", 0, 512),
        batch=given.integer("batch_size", UpscaleSettings.batch, 1, 64),
    )
    return UpscaleParams(settings, given.integer("quality", UpscaleParams.quality, 1, 100))


def _model(given: Parameters) -> str:
    """``model``, or ``model_name``, which is the same."""
    names = [name for name in ("model", "model_name") if given.text(name)]
    chosen = {given.choice(name, MODELS, COMPACT) for name in names} or {COMPACT}
    if len(chosen) > 1:
        raise InvalidPipeline("model and model_name are the same parameter; give one of them")
    return chosen.pop()


def _optional(given: Parameters, name: str, low: int, high: int) -> int | None:
    return given.integer(name, low, low, high) if given.text(name) else None


def run(context: Context, params: UpscaleParams) -> StepResult:
    """Enlarge each photo; one that cannot be read, or would grow too large, is skipped with its reason.

    Raises:
        StepFailed: the model is not here (another try does not help), or an output could not be written (it may).
    """
    from minimoto.engines.upscale import Upscaler

    count = len(context.inputs)
    context.progress(Progress(0.0, f"loading {params.settings.model}"))
    try:
        upscaler = Upscaler(params.settings)
    except (ModelMissing, ConfigError) as error:
        raise StepFailed(f"upscale: {error}", retry=False) from error
    result = StepResult(())
    for index in range(count):
        result = _one(context, params, upscaler, index, result)
    context.progress(Progress(1.0))
    return result


def _one(context: Context, params: UpscaleParams, upscaler: Upscaler, index: int, so_far: StepResult) -> StepResult:
    from minimoto.engines.upscale_picture import read_photo, write_photo

    photo, count = context.inputs[index], len(context.inputs)
    note = f"photo {index + 1} of {count}"
    context.progress(Progress(index / count, note))
    stem = context.out / f"{context.first + index:06d}-{safe_stem(photo.stem, 'photo')}"
    factor = params.settings.factor
    try:
        pixels = read_photo(photo, factor)
        strips = upscaler.strips(pixels.pixels, lambda done: context.progress(Progress((index + done) / count, note)))
        output = write_photo(pixels, factor, strips, stem, params.quality)
    except UnreadablePicture as error:
        return StepResult(so_far.outputs, (*so_far.skipped, Skip.of(photo, error)))
    except OSError as error:
        raise StepFailed(f"upscale: {photo.name} could not be read or written: {error.strerror}", retry=True) from error
    return StepResult((*so_far.outputs, output), so_far.skipped)


UPSCALE = Step(
    name="upscale",
    per="photo",
    parse=parse,
    run=run,
    seconds_per_item=20.0,
    memory_limit=4 * 2**30,
    hang_seconds=600.0,
    positional=("factor", "model"),
)
