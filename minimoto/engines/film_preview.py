"""Small things to show before somebody plays the film: a still of it, and a few seconds of it as GIF or WebP."""

from __future__ import annotations

from pathlib import Path

from minimoto.engines.film_process import TooMuch, cause, command, run_bounded
from minimoto.errors import StepFailed

EXCERPTS, EXCERPT_SECONDS = 6, 0.8
"""A preview shows this many stretches of the film, each as long as this, spread over all of it."""

_RATE = 12
_SIDE = 480
_PATIENCE = 120.0


def write_poster(film: Path, seconds: float, out: Path) -> None:
    """Writes the frame that the film shows after ``seconds`` as a JPEG.

    Raises:
        StepFailed: ffmpeg failed; worth another try.
    """
    full = "scale=in_color_matrix=bt709:out_color_matrix=bt601:out_range=pc,format=yuvj420p"
    words = ["-ss", f"{seconds:.6f}", "-i", f"file:{film}", "-frames:v", "1", "-vf", full, "-q:v", "3"]
    _run([*words, "-fflags", "+bitexact", "-flags:v", "+bitexact", "-f", "mjpeg", f"file:{out}"], "the poster")


def excerpts(seconds: float, frame: float = 0.0) -> list[tuple[float, float]]:
    """The stretches of a film that its preview shows: (start, length) in seconds, in order, apart from each other; all
    of a film that is short.

    Parameters:
        frame: seconds of one frame; no stretch is shorter, so there is a frame in each.
    """
    length = max(EXCERPT_SECONDS, frame)
    if seconds <= EXCERPTS * length:
        return [(0.0, seconds)]
    step = seconds / EXCERPTS
    return [(index * step + (step - length) / 2, length) for index in range(EXCERPTS)]


def write_preview(film: Path, seconds: float, frame: float, out: Path) -> None:
    """Writes excerpts of ``film`` as a small picture that moves, again and again; GIF or WebP by ``out``'s suffix.

    Parameters:
        seconds: the film's duration.
        frame: that of one frame.

    Raises:
        StepFailed: ffmpeg failed; worth another try.
    """
    parts = excerpts(seconds, frame)
    inputs = [
        word for start, length in parts for word in ("-ss", f"{start:.6f}", "-t", f"{length:.6f}", "-i", f"file:{film}")
    ]
    small = (
        f"fps={_RATE},scale='if(gte(iw,ih),min({_SIDE},iw),-2)':'if(gte(iw,ih),-2,min({_SIDE},ih))'"
        ":flags=lanczos:in_color_matrix=bt709"
    )
    if out.suffix == ".webp":
        # Lossy WebP knows no other matrix (RFC 9649, section 2.5), and its encoder converts none.
        small += ":out_color_matrix=bt601:out_range=tv,format=yuv420p,setparams=colorspace=smpte170m"
    made = "".join(f"[{index}:v:0]{small},setpts=PTS-STARTPTS[p{index}];" for index in range(len(parts)))
    made += "".join(f"[p{index}]" for index in range(len(parts))) + f"concat=n={len(parts)}"
    if out.suffix == ".gif":
        # A palette of what changes serves the pictures better than one of the blurred rims.
        made += ",split[x][y];[x]palettegen=stats_mode=diff[z]"
        made += ";[y][z]paletteuse=dither=bayer:bayer_scale=4:diff_mode=rectangle"
        coded = ["-loop", "0", "-f", "gif"]
    else:
        coded = ["-c:v", "libwebp_anim", "-quality", "70", "-compression_level", "4", "-loop", "0", "-f", "webp"]
    words = [*inputs, "-filter_complex", made, "-an", *coded, "-fflags", "+bitexact", f"file:{out}"]
    _run(words, "the preview")


def _run(words: list[str], what: str) -> None:
    try:
        status, _, said = run_bounded(command(*words), _PATIENCE)
    except TooMuch as error:
        raise StepFailed(f"{what} could not be made: {error}", retry=True) from error
    if status:
        raise StepFailed(f"{what} could not be made: {cause(said, status)}", retry=True)
