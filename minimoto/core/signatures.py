"""What a file is, by its first bytes: the formats' signatures, not the file's name."""

from __future__ import annotations

HEAD = 512
"""As many bytes of a file are enough."""

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_STILL_BRANDS = _HEIF_BRANDS | {b"avif", b"avis"}
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# Old QuickTime files have no ``ftyp``: they begin with one of the other top-level boxes.
_QUICKTIME_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip"})
_EBML, _MPEG_PS, _TS_SYNC, _TS_PACKET = b"\x1aE\xdf\xa3", b"\0\0\x01\xba", 0x47, 188


def is_picture(head: bytes) -> bool:
    """Whether a file that starts with ``head`` (64 bytes) is a JPEG, PNG, WebP, TIFF, HEIF or GIF file.

    Source: the formats' signatures; for HEIF, ISO/IEC 23008-12 annex B (brands of the ``ftyp`` box).
    """
    if head.startswith(_PICTURES):
        return True
    if head.startswith(b"RIFF"):
        return head[8:12] == b"WEBP"
    return _has_brand(head, _HEIF_BRANDS)


def is_clip(head: bytes) -> bool:
    """Whether a file that starts with ``head`` (:data:`HEAD` bytes) is a video: MP4, QuickTime, Matroska, WebM, AVI or
    an MPEG stream.

    Source: ISO/IEC 14496-12, 4.3 (``ftyp``); RFC 8794 (EBML); RIFF; ISO/IEC 13818-1, 2.4.3 and 2.5.3.
    """
    box = head[4:8]
    if box == b"ftyp":
        return not _has_brand(head, _STILL_BRANDS)
    if box in _QUICKTIME_BOXES or head.startswith((_EBML, _MPEG_PS)):
        return True
    if head.startswith(b"RIFF"):
        return head[8:12] == b"AVI "
    # A transport stream of a camcorder puts four bytes of time before each packet.
    return any(
        len(head) > first + step and head[first] == head[first + step] == _TS_SYNC
        for first, step in ((0, _TS_PACKET), (4, _TS_PACKET + 4))
    )


def _has_brand(head: bytes, brands: frozenset[bytes]) -> bool:
    if head[4:8] != b"ftyp":
        return False
    end = min(len(head), 64, int.from_bytes(head[:4], "big"))
    return any(head[at : at + 4] in brands for at in (8, *range(16, end - 3, 4)))
