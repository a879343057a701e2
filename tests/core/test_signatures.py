"""Pictures and videos are told apart by their first bytes."""

from __future__ import annotations

import pytest

from minimoto.core.signatures import is_clip, is_picture

_PACKET = b"\x47" + bytes(187)


@pytest.mark.parametrize(
    ("head", "clip"),
    [
        (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", True),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", True),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp41isom", True),
        (b"\0\0\0\x08wide\0\1\2\3mdat", True),
        (b"\x1aE\xdf\xa3\1\0\0\0\0\0\0\x1f", True),
        (b"RIFF\0\0\0\0AVI LIST", True),
        (b"\0\0\1\xba\x44\0", True),
        (_PACKET * 2, True),
        (b"\0\0\0\1" + _PACKET + b"\0\0\0\2" + _PACKET, True),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", False),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", False),
        (b"RIFF\0\0\0\0WEBPVP8 ", False),
        (b"RIFF\0\0\0\0WAVEfmt ", False),
        (b"\xff\xd8\xff\xe0", False),
        (b"#EXTM3U\n", False),
        (b"GGGG" + b"GIF" * 60, False),
        (b"\x47", False),
        (b"", False),
    ],
)
def test_videos(head: bytes, clip: bool) -> None:
    assert is_clip(head) is clip
    assert not (clip and is_picture(head))
