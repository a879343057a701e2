"""Writes down the SHA-256 of the weights that are shipped: run it whenever one of them was replaced.

``python training/sums.py`` rewrites ``minimoto/engines/weights/SHA256SUMS``, as ``sha256sum`` writes and checks it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

WEIGHTS = Path(__file__).parents[1] / "minimoto" / "engines" / "weights"


def main() -> None:
    """The command."""
    files = sorted(WEIGHTS.glob("*.safetensors"))
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (WEIGHTS / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
