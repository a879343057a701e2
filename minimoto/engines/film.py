"""Photos and clips to a film: decoded one ahead, moved and blended frame by frame, piped to one encoder.

Memory does not grow with the number of photos: two canvases, one photo being decoded, and three frames are held.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

from minimoto.core.timeline import Moment, Span, span_after, span_moments, timing
from minimoto.engines.film_beats import beat_grid
from minimoto.engines.film_encoder import FilmWriter, check_music, encoding, uses_nvenc
from minimoto.engines.film_faces import ready
from minimoto.engines.film_finish import Files, finish
from minimoto.engines.film_frame import Frame, empty
from minimoto.engines.film_settings import FilmSettings
from minimoto.engines.film_slide import Draft, Slide, Source, backdrop, free_place, may_cut, read, read_photo
from minimoto.engines.film_title import Title
from minimoto.engines.film_transition import choose
from minimoto.errors import ModelMissing, StepFailed, UnreadablePicture

Report = Callable[[float, str], None]
"""Called with the share done, 0..1, and a note."""


@dataclass(frozen=True)
class Attached:
    """Files that the settings need besides the photos.

    Parameters:
        music: a sound file to lay under the film.
        intro, outro: pictures for the cards before the first and after the last photo.
    """

    music: Path | None = None
    intro: Path | None = None
    outro: Path | None = None


@dataclass(frozen=True)
class FilmReport:
    """What became of a film.

    Parameters:
        frames: how many it has.
        skipped: photos and clips that could not be used, or not to their end, with the error of each.
        missing: characters of titles and captions that no font has.
        beside: files made beside the film: its poster, its preview.
        blind: why faces were not looked for, although they might be cut; empty where they were.
    """

    frames: int
    skipped: tuple[tuple[Path, UnreadablePicture], ...]
    missing: str
    beside: tuple[Path, ...] = ()
    blind: str = ""


def make_film(
    photos: Sequence[Path],
    out: Path,
    settings: FilmSettings,
    music: Path | None,
    report: Report,
    attached: Attached | None = None,
) -> FilmReport:
    """Write the film of ``photos``, in their order, to ``out`` (MP4), and its poster and preview beside it; nothing
    else stays there, whatever happens.

    Parameters:
        photos: pictures that :func:`minimoto.media.open_picture` may refuse, and videos; those are left out.
        out: appears when the film is complete.
        settings: how the film looks.
        music: a sound file to lay under it.
        report: told of the progress several times a second of film.
        attached: pictures for its cards.

    Raises:
        StepFailed: no photo can be used, or the music or a card's picture cannot, or faces cannot be found
            where the settings insist on it (``retry`` false); ffmpeg failed (``retry`` true).
    """
    settings, blind = _seeing(settings)
    try:
        # A name of its own: a film that was killed leaves its folder behind, and the next one must not stumble over it.
        with TemporaryDirectory(prefix=".partial-", dir=out.parent, ignore_cleanup_errors=True) as partial:
            files = Files(Path(partial), out, music)
            if music is not None:
                check_music(music)
            film = _Film(photos, settings, replace(attached or Attached(), music=music), report)
            slides = film.encode(files.silent, faststart=not files.finished(settings))
            beside = finish(files, slides, settings, report)
    except OSError as error:
        raise StepFailed(f"the film could not be made: {error.strerror or error}", retry=True) from error
    report(1.0, f"{film.frames} frames")
    return FilmReport(film.frames, tuple(film.skipped), "".join(sorted(film.missing)), beside, blind)


def _seeing(settings: FilmSettings) -> tuple[FilmSettings, str]:
    """The settings that the film can be made with, and why faces will not be looked for; empty if they will, or need
    not be."""
    if not may_cut(settings):
        return settings, ""
    try:
        ready()
    except ModelMissing as error:
        if settings.faces == "on":
            raise StepFailed(f"faces=on: {error}", retry=False) from error
        return replace(settings, faces="off"), f"not looked for, so that some may be cut: {error}"
    return settings, ""


class _Film:
    """One film being made; ``skipped``, ``missing`` and ``frames`` are final once :meth:`encode` returned."""

    def __init__(self, photos: Sequence[Path], settings: FilmSettings, attached: Attached, report: Report) -> None:
        self._photos = photos
        self._settings = settings
        self._attached = attached
        self._report = report
        overlap = Fraction(0) if settings.transition == "cut" else settings.transition_seconds
        self._timing = timing(settings.fps, settings.seconds, overlap)
        self._beats = beat_grid(attached.music, settings.fps) if settings.beats and attached.music else None
        self._leaving, self._entering, self._blended = (empty(settings.size) for _ in range(3))
        self._slides: list[Slide] = []
        self._open = ExitStack()
        self._done = 0.0
        self.missing: frozenset[str] = frozenset()
        self.skipped: list[tuple[Path, UnreadablePicture]] = []

    @property
    def frames(self) -> int:
        """Frames of the film."""
        return self._slides[-1].span.end if self._slides else 0

    def encode(self, target: Path, *, faststart: bool) -> tuple[Slide, ...]:
        """Draw and encode every frame, without sound; the slides, in their order, without their pictures."""
        settings = self._settings
        with self._open, _drawn_by_one_thread(), closing(self._all_slides()) as slides:
            current = next(slides, None)
            if current is None:
                raise self._nothing_usable()
            nvenc = settings.codec == "h264" and uses_nvenc(settings.encoder, settings.size)
            options = encoding(settings.crf, settings.fps, nvenc=nvenc, codec=settings.codec)
            writer = FilmWriter(target, settings.size, settings.fps, options, faststart=faststart)
            with writer:
                while current is not None:
                    following = next(slides, None)
                    self._write_slide(writer, current, following)
                    self._end(current)
                    current = following
                writer.close()
        return tuple(self._slides)

    def _write_slide(self, writer: FilmWriter, slide: Slide, following: Slide | None) -> None:
        index = len(self._slides)
        note = f"photo {slide.photo} of {len(self._photos)}" if slide.photo else "title"
        for moment in span_moments(index, slide.span, following.span if following else None):
            writer.write(self._draw(moment, slide, following))
            if moment.frame % max(1, self._settings.fps // 5) == 0:
                share = (slide.photo - 1 + moment.at) / len(self._photos) if slide.photo else 0.0
                self._done = min(share, 0.99) if slide.photo or not index else 0.99
                self._report(self._done, note)

    def _draw(self, moment: Moment, slide: Slide, following: Slide | None) -> Frame:
        leaving = following.span.entering if following else 0
        frame = slide.view(moment.local, leaving, self._settings, self._leaving)
        if moment.entering is None or following is None:
            return frame
        entering = following.view(moment.entering_local, 0, self._settings, self._entering)
        transition = choose(self._settings.transition, moment.slide, self._settings.seed)
        return transition(frame, entering, moment.mix, self._blended)

    def _end(self, slide: Slide) -> None:
        """Keeps what is known of a slide that was shown, and lets go of what it showed."""
        if slide.clip is not None:
            slide.clip.close()
            if slide.clip.stopped is not None and slide.clip.stopped + 1 < slide.span.length:
                seconds = float(slide.clip.stopped / self._settings.fps)
                cut = UnreadablePicture(f"{slide.clip.clip.path.name}: its pictures end after {seconds:.1f} s")
                self.skipped.append((slide.clip.clip.path, cut))
        self._slides.append(replace(slide, canvas=None, zoom=None, texts=(), written=bool(slide.texts)))

    def _all_slides(self) -> Generator[Slide, None, None]:
        """The cards and the photos that can be used, with the time of each."""
        before: Span | None = None
        with closing(self._drafts()) as drafts:
            for index, draft in enumerate(drafts):
                most = draft.frames if draft.source.clip else None
                before = span_after(before, draft.frames, self._timing.transition, self._beats, most=most)
                for text in draft.texts:
                    self.missing |= text.missing
                yield draft.slide(index, before, self._settings)

    def _drafts(self) -> Generator[Draft, None, None]:
        """What the film shows, in order: cards as soon as there is a photo to put behind them."""
        settings, shown = self._settings, self._timing.slide
        last: Source | None = None
        with closing(_read_ahead(self._photos, settings, self._open)) as sources:
            for number, (photo, source) in enumerate(sources, 1):
                if isinstance(source, UnreadablePicture):
                    self.skipped.append((photo, source))
                    # Many of them in a row, each of which takes its time, are no hang.
                    self._report(self._done, f"left out {photo.name}")
                    continue
                texts = [source.caption] if source.caption else []
                if last is None:
                    yield from self._card(settings.intro, self._attached.intro, source)
                    if settings.title and settings.title_style == "card":
                        yield Draft(backdrop(source, settings), 0, shown, (Title(settings.title, settings.size),))
                    elif settings.title:
                        texts.append(Title(settings.title, settings.size, free_place(source)))
                yield Draft(source, number, source.frames or shown, tuple(texts))
                last = source
        if last is not None:
            yield from self._card(settings.outro, self._attached.outro, last)

    def _card(self, text: str, picture: Path | None, behind: Source) -> Iterator[Draft]:
        """A card with ``text`` over ``picture``, or over what is left of the photo next to it; none if both lack."""
        if not text and picture is None:
            return
        try:
            source = read_photo(picture, self._settings) if picture else backdrop(behind, self._settings)
        except UnreadablePicture as error:
            raise StepFailed(f"the card's picture cannot be used: {error}", retry=False) from error
        texts = (Title(text, self._settings.size),) if text else ()
        yield Draft(source, 0, self._timing.slide, texts)

    def _nothing_usable(self) -> StepFailed:
        reasons = "; ".join(str(error) for _, error in self.skipped[:3])
        return StepFailed(
            f"none of the {len(self._photos)} photos can be used: {reasons or 'there are none'}", retry=False
        )


@contextmanager
def _drawn_by_one_thread() -> Iterator[None]:
    """Without OpenCV's own threads: the encoder has work for every core, and they would spin while they wait."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _read(photo: Path, settings: FilmSettings, clips: ExitStack) -> Source | UnreadablePicture:
    try:
        source = read(photo, settings)
    except UnreadablePicture as error:
        return error
    if source.clip is not None:
        clips.enter_context(source.clip)
    return source


def _read_ahead(
    photos: Sequence[Path], settings: FilmSettings, clips: ExitStack
) -> Generator[tuple[Path, Source | UnreadablePicture], None, None]:
    """Each photo with what it gives or why it gives nothing; the next one is decoded while this one is used.

    Parameters:
        clips: what ends every clip that was opened, whatever happens.
    """
    with ThreadPoolExecutor(1, "photos") as pool:
        ahead: Future[Source | UnreadablePicture] | None = None
        for index, photo in enumerate(photos):
            source = (ahead or pool.submit(_read, photo, settings, clips)).result()
            if index + 1 < len(photos):
                ahead = pool.submit(_read, photos[index + 1], settings, clips)
            yield photo, source
