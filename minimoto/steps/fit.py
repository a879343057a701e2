"""``fit``: every photo upright and at one size: padded, cropped, or shrunk to lie inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from minimoto.errors import StepFailed, UnreadablePicture
from minimoto.steps.base import Context, Progress, Skip, Step, StepResult, safe_stem
from minimoto.steps.parameters import Parameters

Mode = Literal["pad", "crop", "inside"]


@dataclass(frozen=True)
class FitParams:
    """How photos are fitted.

    Parameters:
        size: (width, height) in pixels.
        mode: ``pad`` shows all of the photo and fills the rest; ``crop`` fills the size and cuts what is over;
            ``inside`` only shrinks, keeps the shape, and keeps transparency (as PNG).
        fill: what ``pad`` and transparent parts are filled with: ``blur``, or an RGB colour, 0..255.
        quality: of the JPEG, 1..100.
    """

    size: tuple[int, int] = (1920, 1080)
    mode: Mode = "pad"
    fill: str | tuple[int, int, int] = "blur"
    quality: int = 92


def parse(values: Mapping[str, str]) -> FitParams:
    """Text parameters to :class:`FitParams`; raises :class:`~minimoto.errors.InvalidPipeline`."""
    given = Parameters(values, ("size", "mode", "fill", "quality"))
    return FitParams(
        size=given.size("size", FitParams.size, 1, 16384, even=False),
        mode=cast(Mode, given.choice("mode", get_args(Mode), FitParams.mode)),
        fill=given.colour("fill", "blur", ("blur",)),
        quality=given.integer("quality", FitParams.quality, 1, 100),
    )


def run(context: Context, params: FitParams) -> StepResult:
    """Fit each photo; one that cannot be read is skipped with its reason.

    Raises:
        StepFailed: an output could not be written (worth another try).
    """
    outputs: list[Path] = []
    skipped: list[Skip] = []
    for index, photo in enumerate(context.inputs):
        context.progress(Progress(index / len(context.inputs), f"photo {index + 1} of {len(context.inputs)}"))
        stem = context.out / f"{context.first + index:06d}-{safe_stem(photo.stem, 'photo')}"
        try:
            outputs.append(_fit(photo, stem, params))
        except UnreadablePicture as error:
            skipped.append(Skip.of(photo, error))
        except OSError as error:
            raise StepFailed(f"fit: {photo.name} could not be read or written: {error.strerror}", retry=True) from error
    context.progress(Progress(1.0))
    return StepResult(tuple(outputs), tuple(skipped))


def _fit(photo: Path, stem: Path, params: FitParams) -> Path:
    from minimoto.engines.film_canvas import compose, contain, cover
    from minimoto.media import open_picture
    from minimoto.media_write import write_picture

    with open_picture(photo) as picture:
        shape = cover if params.mode == "crop" else contain
        target = shape(picture.size, params.size)
        image = picture.decode(target, keep_profile=True)
        exif = picture.exif()
    profile = image.info.get("icc_profile", b"")
    if params.mode != "inside":
        image = compose(image, params.size, params.mode, params.fill)
    elif target[0] < image.width:
        image = image.resize(target, reducing_gap=3.0)
    return write_picture(image, stem, quality=params.quality, profile=profile, exif=exif)


FIT = Step(
    name="fit",
    per="photo",
    parse=parse,
    run=run,
    seconds_per_item=0.4,
    memory_limit=3 * 2**30,
    hang_seconds=120.0,
    positional=("size", "mode"),
)
