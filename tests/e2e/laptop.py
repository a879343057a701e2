"""A computer with minimoto on it, for tests that type commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Laptop:
    """A computer with minimoto on it and nothing else: a home, a configure.ini, the commands."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.file = home / "configure.ini"
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MINIMOTO_"))},
            "HOME": str(home),
            "MINIMOTO_CONFIG": str(self.file),
            "MINIMOTO_SERVICE_TASK_SECONDS": "0.2",
        }

    def run(self, *command: str, status: int = 0) -> str:
        """Runs a script or a ``minimoto`` command; its exit status must be ``status``. Returns its standard output."""
        start = ["-m", "minimoto"] if not command[0].endswith(".py") else []
        rest = [str(ROOT / command[0]), *command[1:]] if command[0].endswith(".py") else list(command)
        done = subprocess.run(
            [sys.executable, *start, *rest],
            cwd=self.home,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        self.errors = done.stderr
        return done.stdout
