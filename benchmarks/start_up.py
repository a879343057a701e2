"""How long the commands take to say their help: whole processes, from nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Contender, in_turn, machine, timed, versions

ROOT = Path(__file__).resolve().parents[1]
MOST_SECONDS = 0.25


def main() -> int:
    """Prints the medians; exit status 1 when the client's is over 0.25 s."""
    contenders = [Contender("python -c pass", timed(_run("-c", "pass")))]
    contenders += [
        Contender(f"{script.name} --help", timed(_run(str(script), "--help")))
        for script in sorted(ROOT.glob("minimoto_*.py"))
    ]
    figures = in_turn(contenders, runs=9)
    print(
        f"## Start-up\n\n{machine()}\n{versions('minimoto')}\n\n| command | median s | min | max |\n|---|---|---|---|"
    )
    medians = {}
    for contender, kept in zip(contenders, figures, strict=True):
        medians[contender.name] = statistics.median(kept)
        print(f"| {contender.name} | {medians[contender.name]:.3f} | {min(kept):.3f} | {max(kept):.3f} |")
    print()
    return 0 if medians["minimoto_client.py --help"] <= MOST_SECONDS else 1


def _run(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
