"""What is done to a film once its pictures are encoded: sound, chapters, cover; and what is made beside it.

The encoded pictures are copied as they are.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from minimoto.core.timeline import text_level
from minimoto.engines.film_chapters import chapters
from minimoto.engines.film_preview import write_poster, write_preview
from minimoto.engines.film_process import cause, command, end
from minimoto.engines.film_settings import FilmSettings
from minimoto.engines.film_slide import Slide
from minimoto.engines.film_sound import RATE, Heard, sound
from minimoto.errors import StepFailed

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Files:
    """Where a film is made.

    Parameters:
        partial: a folder for what is not complete yet; beside ``out``.
        out: the film.
        music: a sound file to lay under it.
    """

    partial: Path
    out: Path
    music: Path | None

    @property
    def silent(self) -> Path:
        """The film as it leaves the encoder."""
        return self.partial / "silent.mp4"

    def finished(self, settings: FilmSettings) -> bool:
        """Whether :func:`finish` is sure to write the film anew."""
        return self.music is not None or settings.chapters != "none" or settings.poster != "none"


def finish(files: Files, slides: Sequence[Slide], settings: FilmSettings, report: Report) -> tuple[Path, ...]:
    """Puts the film in its place, complete, with its poster and its preview beside it.

    Parameters:
        slides: of the film, in order.

    Returns:
        What was made beside it.

    Raises:
        StepFailed: ffmpeg failed; worth another try.
    """
    seconds = float(slides[-1].span.end / settings.fps)
    film, ready = files.silent, list[tuple[Path, Path]]()
    poster = None
    if settings.poster != "none":
        poster = files.partial / "poster.jpg"
        shown = _poster_frame(slides, settings)
        # Half a frame before its time, or rounding could ask for one that comes later, if any does.
        write_poster(film, max(0.0, float((shown - Fraction(1, 2)) / settings.fps)), poster)
        ready.append((poster, files.out.with_suffix(".jpg")))
    heard = _heard(slides, settings)
    marks = chapters(slides, settings)
    if files.music is not None or heard or marks or poster:
        report(1.0, "adding the sound" if files.music or heard else "finishing")
        film = files.partial / "finished.mp4"
        blocks = sound(files.music, heard, seconds) if files.music or heard else None
        _mux(files, film, blocks, marks, poster, report)
    if settings.preview != "none":
        report(1.0, "making the preview")
        preview = files.partial / f"preview.{settings.preview}"
        write_preview(film, seconds, float(1 / settings.fps), preview)
        ready.append((preview, files.out.with_suffix(f".{settings.preview}")))
    for made, place in (*ready, (film, files.out)):
        made.replace(place)
    return tuple(place for _, place in ready)


def _poster_frame(slides: Sequence[Slide], settings: FilmSettings) -> int:
    """The frame that the poster shows: the first or the middle one, or the nearest that shows all that is written."""
    wanted = slides[-1].span.end // 2 if settings.poster == "middle" else 0
    index = max(number for number, slide in enumerate(slides) if slide.span.start <= wanted)
    span, leaving = slides[index].span, slides[index + 1].span.entering if index + 1 < len(slides) else 0
    if not slides[index].written:
        return wanted
    levels = [text_level(local, settings.fps, span.length, span.entering, leaving) for local in range(span.length)]
    fullest = max(levels)
    whole = [span.start + local for local, level in enumerate(levels) if level == fullest]
    return min(whole, key=lambda frame: abs(frame - wanted))


def _heard(slides: Sequence[Slide], settings: FilmSettings) -> list[Heard]:
    """The clips that are heard, with the times of their transitions."""
    if settings.clip_sound == "mute":
        return []
    heard = []
    for slide in slides:
        if slide.clip is not None and slide.clip.clip.sound:
            start, length = slide.span.start / settings.fps, slide.span.length / settings.fps
            fade = min(settings.transition_seconds, length / 2) if settings.transition != "cut" else 0
            heard.append(Heard(slide.clip.clip.path, float(start), float(length), float(fade)))
    return heard


def _mux(
    files: Files, out: Path, blocks: Iterable[bytes] | None, marks: str, poster: Path | None, report: Report
) -> None:
    inputs, maps, codecs = ["-i", f"file:{files.silent}"], ["-map", "0:v:0"], ["-c:v", "copy"]
    count, chapter_input = 1, -1
    if blocks is not None:
        inputs += ["-f", "s16le", "-ar", str(RATE), "-ac", "2", "-i", "pipe:0"]
        maps += ["-map", f"{count}:a:0"]
        codecs += ["-c:a", "aac", "-b:a", "192k", "-flags:a", "+bitexact"]
        count += 1
    if poster is not None:
        inputs += ["-f", "mjpeg", "-i", f"file:{poster}"]
        maps += ["-map", f"{count}:v:0"]
        codecs += ["-disposition:v:1", "attached_pic"]
        count += 1
    if marks:
        listed = files.partial / "chapters.txt"
        listed.write_text(marks, "utf-8")
        inputs += ["-f", "ffmetadata", "-i", f"file:{listed}"]
        chapter_input = count
    exact = [
        "-map_metadata:g", "-1", "-map_chapters", str(chapter_input), "-fflags", "+bitexact", "-flags:v", "+bitexact",
    ]  # fmt: skip
    words = command(*inputs, *maps, *codecs, *exact, "-movflags", "+faststart", "-f", "mp4", f"file:{out}")
    problem = _fed(words, blocks or (), report, files.partial / "said.txt")
    if problem:
        raise StepFailed(f"the film could not be finished: {problem}", retry=True)


def _fed(words: Sequence[str], blocks: Iterable[bytes], report: Report, said: Path) -> str:
    """Runs ffmpeg on blocks of sound; what it complained of, empty if all went well."""
    with said.open("wb") as file:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=file)
    assert process.stdin is not None
    try:
        # When it ends early, its status and what it said tell why.
        with contextlib.suppress(BrokenPipeError):
            for number, block in enumerate(blocks):
                process.stdin.write(block)
                if number % 30 == 0:
                    report(1.0, "adding the sound")
            process.stdin.close()
        status = process.wait()
    finally:
        end(process)
    return cause(said.read_text(errors="replace"), status) if status else ""
