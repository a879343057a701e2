"""Videos among the photos: looked at within bounds, then decoded frame by frame as frames of the film.

One ffmpeg for each clip does it all: it turns the picture upright, brings it to the film's rate and size, fills what is
beside it, and maps HDR to the film's BT.709. Of a clip only as much is decoded as is shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np

from minimoto.engines.film_frame import Frame, empty
from minimoto.engines.film_process import Pipe, TooMuch, cause, command, opening, run_bounded
from minimoto.engines.film_settings import Beside
from minimoto.engines.photo_facts import CLIP_FORMATS
from minimoto.errors import UnreadablePicture

MOST_BYTES = 8 * 2**30
PATIENCE = 60.0
"""Seconds that a clip may take to be looked at, or to give its next frame."""

# What a file says about itself is indented, so it cannot pass for the filter's own words.
_SHOWN = re.compile(r"^\[Parsed_showinfo.* sar:(\d+)/(\d+) s:(\d+)x(\d+) i:(\w)", re.M)
_COLOUR = re.compile(
    r"^\[Parsed_showinfo.*color_range:(\S+) color_space:(\S+) color_primaries:(\S+) color_trc:(\S+)", re.M
)
_HDR = ("arib-std-b67", "smpte2084")

# What ffmpeg writes where a packet does not say when it is shown, as in MPEG program streams.
_NO_TIME = -(2**63)

# ITU-R BT.2408-7, section 2: the white of a page is at 203 cd/m².
_WHITE = 203
_SHRINK = 16


@dataclass(frozen=True)
class Clip:
    """A video that can be decoded.

    Parameters:
        path: the file.
        seconds: how long its pictures last, at most as long as they were asked for.
        size: (width, height) in square pixels, upright.
        sound: whether it has any.
        hdr: its transfer function is HLG's or PQ's.
        matrix: its colour matrix as ffmpeg's scaler calls it.
        interlaced: it shows two half pictures in turn.
    """

    path: Path
    seconds: Fraction
    size: tuple[int, int]
    sound: bool
    hdr: bool
    matrix: Literal["bt601", "bt709", "bt2020"]
    interlaced: bool


def probe(path: Path, most: Fraction) -> Clip:
    """What a clip is, from its packets and its first picture; at most ``most`` seconds of it are looked at.

    Raises:
        UnreadablePicture: it is no video that can be decoded, or not within bounds; one sentence that names it.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise UnreadablePicture(f"{path.name}: {size / 1e9:.1f} GB is over the limit of {MOST_BYTES / 1e9:.1f} GB")
    words = [
        "-t", f"{float(most):.6f}", *opening(path, CLIP_FORMATS),
        "-map", "0:V:0", "-map", "0:a:0?", "-c", "copy", "-f", "framecrc", "pipe:1",
        "-map", "0:V:0", "-vf", "showinfo=checksum=0", "-frames:v", "1", "-f", "null", "-",
    ]  # fmt: skip
    try:
        status, packets, said = run_bounded(command(*words, level="info"), PATIENCE)
    except TooMuch as error:
        raise UnreadablePicture(f"{path.name}: {error}") from None
    shown, colour = _SHOWN.search(said), _COLOUR.search(said)
    seconds = _duration(packets.decode(errors="replace"))
    if shown is None or seconds <= 0:
        raise UnreadablePicture(f"{path.name}: the video cannot be decoded ({_why(said, status)})")
    sar = Fraction(int(shown[1]) or 1, int(shown[2]) or 1)
    width, height = max(1, round(int(shown[3]) * sar)), int(shown[4])
    space, transfer = (colour[2], colour[4]) if colour else ("", "")
    sound = b"media_type 1: audio" in packets
    matrix = _matrix(space, height)
    return Clip(path, min(seconds, most), (width, height), sound, transfer in _HDR, matrix, shown[5] in "TB")


def _duration(packets: str) -> Fraction:
    """Seconds from the clip's beginning, which may be that of its sound, to the end of its last picture, as the packets
    say (framecrc's lines)."""
    base = re.search(r"#tb 0: (\d+)/(\d+)", packets)
    ends = []
    for decoded, shown, length in re.findall(r"^0,\s*(-?\d+),\s*(-?\d+),\s*(\d+),", packets, re.M):
        ends.append((int(shown) if int(shown) != _NO_TIME else int(decoded)) + int(length))
    if base is None or not ends or not int(base[2]):
        return Fraction(0)
    return max(ends) * Fraction(int(base[1]), int(base[2]))


def _matrix(space: str, height: int) -> Literal["bt601", "bt709", "bt2020"]:
    if space.startswith("bt2020"):
        return "bt2020"
    if space in {"smpte170m", "bt470bg"}:
        return "bt601"
    # What says nothing is of the matrix that its kind had: ITU-R BT.601 below 720 lines.
    return "bt709" if space == "bt709" or height >= 720 else "bt601"


def _why(said: str, status: int) -> str:
    wrong = [line for line in said.splitlines() if re.search(r"error|invalid|not (found|in)|match|fail", line, re.I)]
    if any("whitelist" in line for line in wrong):
        return "it is no video file of a kind that is read"
    if any("matches no streams" in line for line in wrong):
        return "there are no pictures in it"
    return cause("\n".join(wrong), status).rstrip(".")


def graph(clip: Clip, size: tuple[int, int], fps: Fraction, beside: Beside) -> str:
    """The filters that make frames of the film from a clip: ``size`` (width, height), ``fps`` exactly, 4:2:0, BT.709.

    Parameters:
        beside: what lies beside a clip of another shape; see :class:`~minimoto.engines.film_settings.FilmSettings`.
    """
    shape = "increase" if beside == "crop" else "decrease"
    scale = max if beside == "crop" else min
    share = scale(size[0] / clip.size[0], size[1] / clip.size[1])
    # Even sides: chroma samples stay whole.
    width, height = (max(2, 2 * round(side * share / 2)) for side in clip.size)
    if shape == "increase":
        width, height = max(width, size[0]), max(height, size[1])
    steps = ["bwdif=mode=send_frame"] if clip.interlaced else []
    steps += [f"fps={fps.numerator}/{fps.denominator}:start_time=0", *_converted(clip, width, height)]
    upright = ",".join(steps)
    if beside == "crop":
        return f"{upright},crop={size[0]}:{size[1]}"
    left, top = ((full - side) // 4 * 2 for full, side in zip(size, (width, height), strict=True))
    if (width, height) == size or beside == "black":
        return f"{upright},pad={size[0]}:{size[1]}:{left}:{top}"
    small = [max(2, side // _SHRINK // 2 * 2) for side in size]
    behind = (
        f"scale={small[0]}:{small[1]}:force_original_aspect_ratio=increase:flags=area,"
        f"format=yuv444p,crop={small[0]}:{small[1]},"
        f"gblur=sigma={small[1] / 22:.3f},lutyuv=y='16+(val-16)*0.6':u='128+(val-128)*0.6':v='128+(val-128)*0.6',"
        f"scale={size[0]}:{size[1]}:flags=bicubic"
    )
    return f"{upright},split[a][b];[b]{behind}[c];[c][a]overlay={left}:{top}:format=yuv420"


def _converted(clip: Clip, width: int, height: int) -> list[str]:
    """Scaled and brought to BT.709, studio range, 8 bits."""
    tags = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    if not clip.hdr:
        colours = f"in_color_matrix={clip.matrix}:out_color_matrix=bt709:out_range=tv"
        return [f"scale={width}:{height}:flags=bicubic:{colours}", "format=yuv420p", "setsar=1", tags]
    linear = f"zscale=w={width}:h={height}:t=linear:npl={_WHITE}"
    mapped = "tonemap=mobius:param=0.7:desat=0"
    return [
        linear, "format=gbrpf32le", "zscale=p=bt709", mapped,
        "zscale=t=bt709:m=bt709:r=tv", "format=yuv420p", "setsar=1", tags,
    ]  # fmt: skip


class ClipReader:
    """The frames of a clip, one after the other; a context manager that leaves no process behind.

    Parameters:
        size: (width, height) of the film, both even.
        frames: how many there will be at most.

    Raises:
        UnreadablePicture: not even the first frame could be decoded.
    """

    def __init__(self, clip: Clip, size: tuple[int, int], fps: Fraction, frames: int, beside: Beside) -> None:
        self.clip = clip
        self.stopped: int | None = None
        """Frames after which there were no more, though there should have been; None if all came."""
        words = [
            *opening(clip.path, CLIP_FORMATS), "-map", "0:V:0", "-an", "-sn",
            "-vf", graph(clip, size, fps, beside), "-frames:v", str(frames),
            "-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1",
        ]  # fmt: skip
        self._pipe = Pipe(command(*words), PATIENCE)
        self.frames = frames
        self._frame, self._next = empty(size), empty(size)
        self._read = 0
        if not self._advance():
            self.close()
            raise UnreadablePicture(f"{clip.path.name}: the video's first picture cannot be decoded")

    def frame(self, index: int, out: Frame) -> Frame:
        """Frame ``index``, drawn in ``out``; never one before the last one asked for. What is missing at the end is
        the last frame there was."""
        while self._read <= index and self._advance():
            pass
        np.copyto(out, self._frame)
        return out

    def _advance(self) -> bool:
        if self.stopped is not None:
            return False
        data = self._next.data.cast("B")
        if self._pipe.read_into(data) < len(data):
            self.stopped = self._read
            self._pipe.close()
            return False
        self._frame, self._next = self._next, self._frame
        self._read += 1
        return True

    def close(self) -> None:
        """Ends the decoder, and forgets the frames."""
        self._pipe.close()
        self._frame = self._next = empty((2, 2))

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
