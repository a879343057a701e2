"""Runs every benchmark of the queue one after the other; what they print goes into ``docs/benchmarks.md``."""

from __future__ import annotations

import subprocess
import sys

ALL = ("overhead", "start_latency", "upload", "start_up", "film_memory")


def main() -> int:
    """Exit status 1 when a target was missed."""
    chosen = sys.argv[1:] or ALL
    missed = [
        name for name in chosen if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
    ]
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
