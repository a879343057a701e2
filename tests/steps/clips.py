"""Videos as cameras and strangers make them, made on the spot."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from minimoto.media import ffmpeg_path

HLG = "format=yuv420p10le,setparams=color_primaries=bt2020:color_trc=arib-std-b67:colorspace=bt2020nc"


def ffmpeg(*words: str) -> None:
    subprocess.run([ffmpeg_path(), "-v", "error", "-y", *words], check=True, timeout=60)


def plain(
    path: Path,
    colour: str = "red",
    seconds: float = 2,
    size: str = "160x90",
    fps: int = 25,
    sound: int = 0,
    more: Sequence[str] = (),
) -> Path:
    """One colour; ``sound`` is the frequency of a tone, 0 for none; ``more`` are options of ffmpeg."""
    words = ["-f", "lavfi", "-i", f"color={colour}:s={size}:r={fps}:d={seconds}"]
    if sound:
        words += ["-f", "lavfi", "-i", f"sine=frequency={sound}:duration={seconds}:sample_rate=48000"]
    codec = ["-c:v", "mpeg4", "-q:v", "2"] if path.suffix == ".avi" else ["-c:v", "libx264", "-pix_fmt", "yuv420p"]
    ffmpeg(*words, *codec, *more, str(path))
    return path


def counting(path: Path, seconds: float = 2, fps: int = 10) -> Path:
    """Grey that grows from black to white evenly, so that a frame tells its time."""
    level = f"geq=lum='16+219*T/{seconds}':cb=128:cr=128"
    source = f"color=black:s=160x90:r={fps}:d={seconds},format=yuv420p,{level}"
    ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx264", "-qp", "4", str(path))
    return path


def turned(path: Path) -> Path:
    """Upright 90x160, its upper half red; stored lying on its side, as phones do."""
    upright = path.with_name("upright.mp4")
    halves = "color=red:s=90x80:r=10:d=2[a];color=blue:s=90x80:r=10:d=2[b];[a][b]vstack,transpose=2"
    ffmpeg("-f", "lavfi", "-i", halves, "-c:v", "libx264", "-pix_fmt", "yuv420p", str(upright))
    ffmpeg("-display_rotation", "-90", "-i", str(upright), "-c", "copy", str(path))
    return path


def hlg(path: Path, level: float = 0.5) -> Path:
    """Grey of ``level``, 0..1, as HLG codes it, tagged like a phone's clip."""
    source = f"color=black:s=160x90:r=10:d=1,format=yuv420p10le,geq=lum='64+876*{level}':cb=512:cr=512,{HLG}"
    tags = ["-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc"]
    ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx265", "-x265-params", "log-level=error", *tags, str(path))
    return path


def uneven(path: Path) -> Path:
    """Ten frames in the first second, two in the next: a variable frame rate."""
    source = "testsrc2=s=160x90:r=10:d=2,select='lt(n,10)+not(mod(n,5))'"
    ffmpeg("-f", "lavfi", "-i", source, "-fps_mode", "vfr", "-c:v", "libx264", "-pix_fmt", "yuv420p", str(path))
    return path
