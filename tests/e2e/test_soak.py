"""The soak of ``benchmarks/soak.py`` at a size that a test can bear; ``make soak`` runs it at a large one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.fault
@pytest.mark.timeout(420)
@pytest.mark.xdist_group("whole")
def test_jobs_survive_killed_services_killed_machines_and_a_failing_aws() -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--jobs", "5", "--minutes", "5", "--kill-every", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    counts = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert counts["successful"] == "5"
    assert [counts[name] for name in ("failed", "lost", "stuck", "doubled", "incomplete")] == ["0"] * 5
    assert not counts["killed"].startswith("0 services, 0 ")
