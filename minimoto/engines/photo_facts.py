"""What photos and clips say about themselves: when they were taken, and where."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from minimoto.core.signatures import HEAD, is_clip
from minimoto.errors import UnreadablePicture
from minimoto.media import Picture, ffmpeg_path, open_picture
from minimoto.media import taken_at as photo_taken_at

CLIP_FORMATS = "avi,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts"
"""What ffmpeg may read videos as: never a playlist or a manifest, which could name other files and addresses."""

_GPS_IFD, _IPTC_CITY, _IPTC_COUNTRY = 0x8825, (2, 90), (2, 101)
_ISO_6709 = re.compile(r"([+-]\d+(?:\.\d+)?)([+-]\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Spot:
    """Where a photo or a clip says it was taken.

    Parameters:
        words: as it says it, such as ``Lisbon, Portugal``; empty if it does not.
        at: (latitude, longitude) in degrees; None if it does not say.
    """

    words: str = ""
    at: tuple[float, float] | None = None


@dataclass(frozen=True)
class ClipFacts:
    """What a clip says about itself.

    Parameters:
        taken: when; in the camera's zone where it says that, else in this machine's. Without a zone.
        spot: where.
    """

    taken: datetime | None = None
    spot: Spot = Spot()


def taken_at(path: Path) -> datetime | None:
    """When a photo or a clip was taken by its camera's clock, without a zone; None when it does not say, or is
    neither. Only headers are read."""
    return clip_facts(path).taken if looks_like_clip(path) else photo_taken_at(path)


def photo_spot(path: Path) -> Spot:
    """Where the photo was taken: the city and the country that somebody wrote into it (IPTC), and its EXIF position."""
    from PIL import Image

    try:
        with open_picture(path) as picture:
            words, block = _iptc_place(picture), picture.exif()
    except (UnreadablePicture, OSError):
        return Spot()
    exif = Image.Exif()
    exif.load(block)
    return Spot(words, _position(exif.get_ifd(_GPS_IFD)))


def _iptc_place(picture: Picture) -> str:
    said = picture.iptc()
    words = [said.get(field, b"") for field in (_IPTC_CITY, _IPTC_COUNTRY)]
    texts = [word.decode("utf-8", "replace").strip("\0 ") for word in words if isinstance(word, bytes)]
    return ", ".join(" ".join(text.split())[:60] for text in texts if text)


def _position(gps: dict[int, Any]) -> tuple[float, float] | None:
    """Degrees from EXIF 2.32, section 4.6.6: references, and degrees, minutes and seconds."""
    found = []
    for reference, value, most in ((1, 2, 90), (3, 4, 180)):
        try:
            degrees, minutes, seconds = (float(part) for part in gps[value])
            amount = degrees + minutes / 60 + seconds / 3600
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return None
        if not 0 <= amount <= most:
            return None
        found.append(-amount if str(gps.get(reference, "")).strip("\0 ").upper() in {"S", "W"} else amount)
    # A camera without a fix writes zeros.
    return (found[0], found[1]) if any(found) else None


def clip_facts(path: Path) -> ClipFacts:
    """What the header of a video says; nothing where it cannot be read.

    Source: ISO 6709 annex H for positions; Apple's QuickTime metadata keys; ``creation_time`` is in UTC.
    """
    bounds = ["-protocol_whitelist", "file", "-format_whitelist", CLIP_FORMATS]
    words = [
        ffmpeg_path(),
        "-nostdin",
        "-v",
        "error",
        *bounds,
        "-i",
        f"file:{path}",
        "-map_metadata",
        "0",
        "-f",
        "ffmetadata",
        "pipe:1",
    ]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
    except subprocess.TimeoutExpired:
        return ClipFacts()
    text = done.stdout[:65536].decode("utf-8", "replace").partition("\n[")[0]
    tags = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    where = _ISO_6709.match(tags.get("com.apple.quicktime.location.ISO6709") or tags.get("location", ""))
    at = (float(where[1]), float(where[2])) if where else None
    return ClipFacts(_clip_time(tags), Spot(at=at if at and abs(at[0]) <= 90 and abs(at[1]) <= 180 else None))


def _clip_time(tags: dict[str, str]) -> datetime | None:
    local, universal = tags.get("com.apple.quicktime.creationdate", ""), tags.get("creation_time", "")
    try:
        if local:
            return datetime.fromisoformat(local).replace(tzinfo=None)
        # Cameras without a clock say the year in which QuickTime begins to count, or Unix.
        taken = datetime.fromisoformat(universal)
        return taken.astimezone().replace(tzinfo=None) if taken.year > 1970 else None
    except (ValueError, OverflowError):
        return None


def looks_like_clip(path: Path) -> bool:
    """Whether the first bytes of a file are those of a video; not of one that cannot be read."""
    try:
        with path.open("rb") as file:
            return is_clip(file.read(HEAD))
    except OSError:
        return False
