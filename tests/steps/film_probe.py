"""What is really in a film file, read by decoding it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minimoto.media import ffmpeg_path


def frames(film: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """All frames, ``(N, height, width, 3)`` RGB uint8."""
    command = [ffmpeg_path(), "-v", "error", "-i", str(film), "-map", "0:v", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, size[1], size[0], 3)


def sound(film: Path) -> NDArray[np.float32]:
    """The sound as mono samples at 48 kHz, -1..1."""
    command = [
        ffmpeg_path(),
        "-v",
        "error",
        "-i",
        str(film),
        "-map",
        "0:a",
        "-ac",
        "1",
        "-ar",
        "48000",
        "-f",
        "f32le",
        "-",
    ]
    return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.float32)


def about(film: Path) -> str:
    """What ffmpeg says about the file."""
    return subprocess.run(
        [ffmpeg_path(), "-hide_banner", "-i", str(film)], capture_output=True, check=False
    ).stderr.decode()


def boxes(film: Path) -> list[str]:
    """The names of the MP4's top-level boxes, in order."""
    data, names, place = film.read_bytes(), [], 0
    while place + 8 <= len(data):
        names.append(data[place + 4 : place + 8].decode("latin-1"))
        place += int.from_bytes(data[place : place + 4]) or len(data)
    return names
