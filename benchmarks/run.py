"""Runs the benchmarks one after the other; what they print goes into ``docs/benchmarks.md``.

Those of the queue and of the engines that need nothing but their peers. ``style_quality``, ``upscale_quality`` and
``style_optimise --losses`` also need pictures or weights that are not ours to ship, and are run by hand.
"""

from __future__ import annotations

import subprocess
import sys

QUEUE = ("overhead", "start_latency", "upload", "start_up", "simulated_and_real")
ENGINES = (
    "film_memory", "film_moviepy", "film_ffmpeg", "film_x264", "film_smoothness",
    "start_up_engines", "style_fast", "style_flicker", "style_optimise", "upscale_speed",
)  # fmt: skip


def main() -> int:
    """Exit status 1 when a target was missed."""
    chosen = sys.argv[1:] or (*QUEUE, *ENGINES)
    missed = [
        name for name in chosen if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
    ]
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
