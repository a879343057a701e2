"""How far a film is drawn ahead of its encoder.

Between its own threads ffmpeg lets some sixteen frames wait, at 3 MB each for 1080p. Drawn ahead of a slow encoder they
are memory for nothing, so frames are drawn as the encoder takes them: ffmpeg 6 and later tells of each one
(``-stats_enc_pre``, https://ffmpeg.org/ffmpeg.html, "Advanced options").
"""

from __future__ import annotations

import functools
import os
import select
import subprocess

AHEAD = 2
"""Frames on their way: enough for the encoder never to wait."""

PATIENCE = 2.0
"""Seconds without a word from ffmpeg after which frames are written as fast as it reads them."""


class Pace:
    """Lets a frame be written when the encoder has begun with all but :data:`AHEAD` of those before.

    Parameters:
        program: the ffmpeg; one that does not tell of its frames is written to as fast as it reads.
    """

    def __init__(self, program: str) -> None:
        self._told, self._tells = os.pipe() if _tells_of_frames(program) else (-1, -1)
        self._written = self._begun = 0

    @property
    def handed(self) -> tuple[int, ...]:
        """File descriptors that ffmpeg must be given."""
        return (self._tells,) if self._tells >= 0 else ()

    @property
    def options(self) -> dict[str, str]:
        """Options of its output, by name."""
        return {} if self._tells < 0 else {"stats_enc_pre:v": f"pipe:{self._tells}", "stats_enc_pre_fmt:v": "{n}"}

    def started(self) -> None:
        """To be called when ffmpeg runs: from then on its end is the end of what is told."""
        for fd in self.handed:
            os.close(fd)
        self._tells = -1

    def wait(self) -> None:
        """Returns when the next frame may be written, or ffmpeg has ended."""
        while self._told >= 0 and self._written - self._begun >= AHEAD:
            # One that takes nothing for so long wants more first, such as for a second output: it is not held back.
            ready, _, _ = select.select([self._told], [], [], PATIENCE)
            told = os.read(self._told, 4096) if ready else b""
            if not told:
                self.close()
            self._begun += told.count(b"\n")
        self._written += 1

    def close(self) -> None:
        """Listens no more."""
        self.started()
        if self._told >= 0:
            os.close(self._told)
        self._told = -1


@functools.cache
def _tells_of_frames(program: str) -> bool:
    words = [program, "-hide_banner", "-h", "long"]
    said = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30).stdout
    return b"-stats_enc_pre_fmt" in said
