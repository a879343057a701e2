"""Photos to a film: decoded one ahead, moved and blended frame by frame, piped to one encoder.

Memory does not grow with the number of photos: two canvases, one photo being decoded, and three frames are held.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from minimoto.core.timeline import Moment, duration, frame_count, moments, timing, title_level
from minimoto.engines.film_canvas import compose, contain, cover
from minimoto.engines.film_encoder import FilmWriter, add_music, check_music, uses_nvenc
from minimoto.engines.film_frame import Frame, empty, from_rgb, warp
from minimoto.engines.film_motion import ZOOM, path
from minimoto.engines.film_settings import FilmSettings
from minimoto.engines.film_title import Title, card
from minimoto.engines.film_transition import choose
from minimoto.errors import StepFailed, UnreadablePicture
from minimoto.media import open_picture

Report = Callable[[float, str], None]
"""Called with the share done, 0..1, and a note."""


@dataclass(frozen=True)
class FilmReport:
    """What became of a film.

    Parameters:
        frames: how many it has.
        skipped: photos that could not be used, with the error of each.
        missing: characters of the title that no font has.
    """

    frames: int
    skipped: tuple[tuple[Path, UnreadablePicture], ...]
    missing: str


def make_film(
    photos: Sequence[Path], out: Path, settings: FilmSettings, music: Path | None, report: Report
) -> FilmReport:
    """Write the film of ``photos``, in their order, to ``out`` (MP4); nothing else stays there, whatever happens.

    Parameters:
        photos: files that :func:`minimoto.media.open_picture` may refuse; those are left out.
        out: appears when the film is complete.
        settings: how the film looks.
        music: a sound file to lay under it.
        report: told of the progress several times a second of film.

    Raises:
        StepFailed: no photo can be used, or the music cannot (``retry`` false); ffmpeg failed (``retry`` true).
    """
    partial = out.parent / ".partial"
    try:
        partial.mkdir()
        if music is not None:
            check_music(music)
        film = _Film(photos, settings, report)
        made = partial / "silent.mp4"
        film.encode(made, faststart=music is None)
        if music is not None:
            report(1.0, "adding the music")
            silent, made = made, partial / "music.mp4"
            add_music(silent, music, film.seconds, made)
        made.replace(out)
    except OSError as error:
        raise StepFailed(f"the film could not be made: {error.strerror or error}", retry=True) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    report(1.0, f"{film.frames} frames")
    return FilmReport(film.frames, tuple(film.skipped), "".join(sorted(film.missing)))


@dataclass(frozen=True)
class _Slide:
    """A canvas, and the number of its photo, from 1, for progress; 0 is the title's card."""

    canvas: Frame
    photo: int


class _Film:
    """One film being made; ``skipped``, ``frames`` and ``seconds`` are final once :meth:`encode` returned."""

    def __init__(self, photos: Sequence[Path], settings: FilmSettings, report: Report) -> None:
        self._photos = photos
        self._settings = settings
        self._report = report
        overlap = Fraction(0) if settings.transition == "cut" else settings.transition_seconds
        self._timing = timing(settings.fps, settings.seconds, overlap)
        self._title = Title(settings.title, settings.size) if settings.title else None
        self._leaving, self._entering, self._blended, self._titled = (empty(settings.size) for _ in range(4))
        self._slides = 0
        self.missing = self._title.missing if self._title else frozenset[str]()
        self.skipped: list[tuple[Path, UnreadablePicture]] = []

    @property
    def frames(self) -> int:
        """Frames of the film."""
        return frame_count(self._slides, self._timing)

    @property
    def seconds(self) -> Fraction:
        """The film's duration."""
        return duration(self._slides, self._timing)

    def encode(self, target: Path, *, faststart: bool) -> None:
        """Draw and encode every frame, without sound."""
        settings = self._settings
        with closing(self._all_slides()) as slides:
            current = next(slides, None)
            if current is None:
                raise self._nothing_usable()
            nvenc = uses_nvenc(settings.encoder, settings.size)
            writer = FilmWriter(target, settings.size, settings.fps, crf=settings.crf, nvenc=nvenc, faststart=faststart)
            with writer:
                while current is not None:
                    following = next(slides, None)
                    self._write_slide(writer, current, following)
                    current = following
                writer.close()

    def _write_slide(self, writer: FilmWriter, slide: _Slide, following: _Slide | None) -> None:
        index, self._slides = self._slides, self._slides + 1
        note = f"photo {slide.photo} of {len(self._photos)}" if slide.photo else "title"
        for moment in moments(index, self._timing, last=following is None):
            writer.write(self._draw(moment, slide, following))
            if moment.frame % max(1, self._settings.fps // 5) == 0:
                share = (slide.photo - 1 + moment.at) / len(self._photos) if slide.photo else 0.0
                self._report(min(share, 0.99), note)

    def _draw(self, moment: Moment, slide: _Slide, following: _Slide | None) -> Frame:
        frame = self._view(slide.canvas, moment.slide, moment.at, self._leaving)
        if moment.entering is not None and following is not None:
            entering = self._view(following.canvas, moment.slide + 1, moment.entering, self._entering)
            transition = choose(self._settings.transition, moment.slide, self._settings.seed)
            return transition(frame, entering, moment.mix, self._blended)
        if self._title and moment.slide == 0:
            return self._title.blend(frame, title_level(moment.frame, self._timing), self._titled)
        return frame

    def _view(self, canvas: Frame, index: int, at: float, out: Frame) -> Frame:
        if self._settings.motion == "none":
            return canvas
        view = path(index, self._settings.seed).view(at, _canvas_size(self._settings), self._settings.size)
        return warp(canvas, view.scale, view.left, view.top, out)

    def _all_slides(self) -> Generator[_Slide, None, None]:
        """The title's card, if there is one, and a slide for each photo that can be used."""
        with closing(_read_ahead(self._photos, self._settings)) as canvases:
            for number, (photo, canvas) in enumerate(canvases, 1):
                if isinstance(canvas, UnreadablePicture):
                    self.skipped.append((photo, canvas))
                    continue
                if self._title and self._settings.title_style == "card" and len(self.skipped) == number - 1:
                    yield _Slide(card(canvas), 0)
                yield _Slide(canvas, number)

    def _nothing_usable(self) -> StepFailed:
        reasons = "; ".join(str(error) for _, error in self.skipped[:3])
        return StepFailed(
            f"none of the {len(self._photos)} photos can be used: {reasons or 'there are none'}", retry=False
        )


def _canvas_size(settings: FilmSettings) -> tuple[int, int]:
    """The frame's size, or, where there is motion, a larger one with even sides to move over."""
    if settings.motion == "none":
        return settings.size
    width, height = (math.ceil(side * ZOOM / 2) * 2 for side in settings.size)
    return width, height


def _read(photo: Path, settings: FilmSettings) -> Frame | UnreadablePicture:
    size = _canvas_size(settings)
    crop = settings.fill == "crop"
    try:
        with open_picture(photo) as picture:
            image = picture.decode((cover if crop else contain)(picture.size, size))
    except UnreadablePicture as error:
        return error
    fill = "black" if settings.fill == "black" else "blur"
    return from_rgb(np.asarray(compose(image, size, "crop" if crop else "pad", fill)))


def _read_ahead(
    photos: Sequence[Path], settings: FilmSettings
) -> Generator[tuple[Path, Frame | UnreadablePicture], None, None]:
    """Each photo with its canvas or why there is none; the next one is decoded while this one is used."""
    with ThreadPoolExecutor(1, "photos") as pool:
        ahead: Future[Frame | UnreadablePicture] | None = pool.submit(_read, photos[0], settings) if photos else None
        for index, photo in enumerate(photos):
            assert ahead is not None
            canvas = ahead.result()
            if index + 1 < len(photos):
                ahead = pool.submit(_read, photos[index + 1], settings)
            yield photo, canvas
