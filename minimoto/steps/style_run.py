"""What the step ``style`` does when it runs: photos are read, styled and written, the three overlapping."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import minimoto.errors as errors
from minimoto.engines.style_settings import MADE, MADE_STYLES
from minimoto.errors import StepFailed, UnreadablePicture
from minimoto.steps.base import Context, Progress, Skip, StepResult, safe_stem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from minimoto.engines.style import FastStyle, Look
    from minimoto.engines.style_video import Frames
    from minimoto.steps.style import StyleParams

_MOST_STYLE_SIDE = 2048
"""Pixels of a style picture's longer side; more would not be looked at."""
_WIDEST_BLUR = 16.0
"""Standard deviation in pixels."""


@dataclass(frozen=True)
class Shot:
    """A photo on its way through the stages.

    Parameters:
        index: its place among the inputs.
        pixels: ``(H, W, 3)``, uint8, in the colours of ``profile``.
        alpha: ``(H, W)``, uint8; ``None`` for an opaque photo.
    """

    index: int
    stem: Path
    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    profile: bytes
    exif: bytes


Style = Callable[[Shot, Callable[[float], None]], "NDArray[np.uint8]"]
"""Styles one photo; the result may be smaller."""


def style_photos(context: Context, params: StyleParams) -> StepResult:
    """See :func:`minimoto.steps.style.run`."""
    from minimoto.engines.runtime_pipeline import in_stages

    count = len(context.inputs)
    context.progress(Progress(0.0, "getting ready"))
    style = _optimising(context, params) if params.optimise else _fast(context, params)

    def compute(shots: Sequence[Shot]) -> list[Shot]:
        [shot] = shots
        note = f"photo {shot.index + 1} of {count}"
        told = functools.partial(_tell, context, shot.index, count, note)
        told(0.0)
        return [replace(shot, pixels=style(shot, told))]

    outputs: list[Path] = []
    skipped: list[Skip] = []
    stages = in_stages(
        range(count),
        lambda index: _read(context, index, params),
        compute,
        lambda shot: _write(shot, params),
        expected=(UnreadablePicture,),
    )
    try:
        for photo, outcome in zip(context.inputs, stages, strict=True):
            if isinstance(outcome, UnreadablePicture):
                skipped.append(Skip.of(photo, outcome))
            else:
                outputs.append(outcome)
    except OSError as error:
        what = Path(error.filename).name if error.filename else "a photo"
        raise StepFailed(
            f"style: {what} could not be read or written: {error.strerror or error}", retry=True
        ) from error
    context.progress(Progress(1.0))
    return StepResult(tuple(outputs), tuple(skipped))


def _tell(context: Context, index: int, count: int, note: str, done: float) -> None:
    context.progress(Progress((index + done) / count, note))


def _read(context: Context, index: int, params: StyleParams) -> Shot:
    import numpy as np

    from minimoto.media import open_picture

    photo = context.inputs[index]
    stem = context.out / f"{context.first + index:06d}-{safe_stem(photo.stem, 'photo')}"
    with open_picture(photo) as picture:
        target = _inside(picture.size, params.size)
        image = picture.decode(target, keep_profile=True)
        exif = picture.exif()
    profile = image.info.get("icc_profile", b"")
    if target[0] < image.width or target[1] < image.height:
        image = image.resize(target, reducing_gap=3.0)
    pixels = np.asarray(image)
    if image.mode == "RGBA":
        return Shot(index, stem, np.ascontiguousarray(pixels[..., :3]), pixels[..., 3].copy(), profile, exif)
    return Shot(index, stem, pixels, None, profile, exif)


def _inside(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """``size`` (width, height) shrunk to a longer side of ``longer`` pixels; 0 leaves it."""
    scale = min(1.0, longer / max(size)) if longer else 1.0
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _write(shot: Shot, params: StyleParams) -> Path:
    import cv2
    import numpy as np
    from PIL import Image

    from minimoto.media_write import write_picture

    pixels = shot.pixels
    if shot.alpha is not None:
        height, width = pixels.shape[:2]
        alpha = shot.alpha
        if alpha.shape != (height, width):
            alpha = np.asarray(cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        pixels = np.dstack([pixels, alpha])
    return write_picture(
        Image.fromarray(pixels),
        shot.stem,
        quality=params.quality,
        profile=shot.profile,
        exif=shot.exif,
        lossless=params.lossless,
    )


def _fast(context: Context, params: StyleParams) -> Style:
    from minimoto.engines.registry import model_path
    from minimoto.engines.style import fast_style

    if params.fast.strength == 0:
        return lambda shot, told: shot.pixels
    engine = fast_style(model_path("style"))
    pictures = _style_pictures(context, params)
    mask = _Mask(context, params)
    looks: dict[bytes, Look] = {}
    frames = _frames(context, params) if params.temporal else None

    def style(shot: Shot, told: Callable[[float], None]) -> NDArray[np.uint8]:
        # Colours are matched in the photo's own colour space.
        if shot.profile not in looks:
            looks[shot.profile] = _look(engine, pictures, shot.profile, params)
        own = frames.colours(shot.index) if frames else None
        result = engine.apply(
            shot.pixels,
            looks[shot.profile],
            params.fast,
            alpha=shot.alpha,
            mask=mask.at(shot.pixels),
            own=own,
            progress=told,
        )
        return frames.steadied(shot.index, shot.pixels, result) if frames else result

    return style


def _look(engine: FastStyle, pictures: Sequence[Image.Image], profile: bytes, params: StyleParams) -> Look:
    import numpy as np

    from minimoto.media import from_srgb

    converted = [np.asarray(from_srgb(picture, profile) if profile else picture) for picture in pictures]
    return engine.look(converted, params.weights, params.fast.style_scale)


def _frames(context: Context, params: StyleParams) -> Frames:
    from minimoto.engines.style_video import Frames

    return Frames.of(context.inputs, lambda size: _inside(size, params.size))


def _optimising(context: Context, params: StyleParams) -> Style:
    import numpy as np

    from minimoto.engines.style_optimise import stylise

    options = params.optimise
    assert options is not None
    mask = _Mask(context, params)
    pictures = [np.asarray(picture, np.float32) / np.float32(255) for picture in _style_pictures(context, params)]

    def style(shot: Shot, told: Callable[[float], None]) -> NDArray[np.uint8]:
        part = mask.at(shot.pixels)
        try:
            result = stylise(
                shot.pixels.astype(np.float32) / np.float32(255),
                pictures,
                options,
                lambda iteration: told(iteration.done),
                mask=None if part is None else part.astype(np.float32) / np.float32(255),
            )
        except errors.ModelMissing as error:
            raise StepFailed(f"{error}; mode=fast needs no such file", retry=False) from error
        return np.asarray(np.clip(result * 255 + 0.5, 0, 255), np.uint8)

    return style


def _style_pictures(context: Context, params: StyleParams) -> list[Image.Image]:
    """The style pictures, ``RGB`` in sRGB."""
    return [_opened(_found(context, name), "the style picture") for name in params.pictures]


def _found(context: Context, name: str) -> Path:
    if name in MADE_STYLES:
        return MADE / f"{name}.jpg"
    if name not in context.attachments:
        raise StepFailed(f"the picture {name} is not among the job's files", retry=False)
    return context.attachments[name]


def _opened(path: Path, what: str) -> Image.Image:
    from PIL import Image

    from minimoto.media import open_picture

    try:
        with open_picture(path) as picture:
            target = _inside(picture.size, _MOST_STYLE_SIDE)
            image = picture.decode(target)
    except UnreadablePicture as error:
        raise StepFailed(f"{what} cannot be used: {error}", retry=False) from error
    except OSError as error:
        raise StepFailed(f"{what} {path.name} could not be read: {error.strerror or error}", retry=True) from error
    if image.width > target[0] or image.height > target[1]:
        image = image.resize(target, reducing_gap=3.0)
    if image.mode == "RGBA":
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, (0, 0), image)
        return paper
    return image


class _Mask:
    """The mask, scaled to each photo and its edges softened; none where ``params`` names none."""

    def __init__(self, context: Context, params: StyleParams) -> None:
        self._image = _opened(_found(context, params.mask), "the mask").convert("L") if params.mask else None
        self._feather = params.feather
        self._kept: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def at(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """``(H, W)``, as large as ``photo``."""
        import numpy as np

        if self._image is None:
            return None
        height, width = photo.shape[:2]
        if (width, height) not in self._kept:
            soft = _softened(np.asarray(self._image), (width, height), self._feather / 100 * max(width, height) / 2)
            self._kept = {(width, height): soft}
        return self._kept[width, height]


def _softened(mask: NDArray[np.uint8], size: tuple[int, int], sigma: float) -> NDArray[np.uint8]:
    """``mask`` at ``size`` (width, height), blurred by ``sigma`` of its pixels."""
    import cv2
    import numpy as np

    # A wide blur takes hours at full size, and at less the same is seen.
    shrink = max(1.0, sigma / _WIDEST_BLUR)
    small = tuple(max(1, round(side / shrink)) for side in size)
    way = cv2.INTER_AREA if small[0] <= mask.shape[1] and small[1] <= mask.shape[0] else cv2.INTER_LINEAR
    soft = cv2.resize(mask, small, interpolation=way)
    if sigma > 0.3:
        soft = cv2.GaussianBlur(soft, (0, 0), sigma / shrink)
    return np.asarray(cv2.resize(soft, size, interpolation=cv2.INTER_LINEAR), np.uint8)
