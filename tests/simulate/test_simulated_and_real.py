"""A small real fleet on the embedded AWS and the simulator do the same with the same jobs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.simulated_and_real import Real, Seen, Wave, differences, really, simulated
from minimoto.config import Config
from minimoto.core.simulation.workload import Job


@pytest.mark.timeout(900)
@pytest.mark.xdist_group("whole")
def test_a_real_fleet_does_what_was_simulated(tmp_path: Path) -> None:
    """However slow this computer is: boots and tasks are simulated as long as they really were."""
    real = really(tmp_path, (Wave(6, 2.0), Wave(3, 2.0, hurry=False)), max_nodes=3)
    assert len(real.boots) == real.seen.launched >= 2
    assert differences(real, simulated(real)) == []


def made_up(**more: float) -> Real:
    """What a quiet computer does with two jobs, the second of which nobody waits for."""
    jobs = (Job(0.0, (3.0,) * 6), Job(60.0, (3.0,) * 3, deadline=3660.0))
    config = Config(min_nodes=0, max_nodes=3, slots=1, target_seconds=1.0, boot_seconds=5.0, task_seconds=3.0,
                    cooldown=3.0, watchdog_every=1.5, heartbeat=1.0, lease=30.0)  # fmt: skip
    return Real(Seen([(0.0, 3), (13.0, -3), (61.0, 1), (77.0, -1)], (9.5, 12.5)), jobs, (3.0,) * 4, config)


def test_what_differs_is_named() -> None:
    real = made_up()
    told = simulated(real)
    assert differences(real, told) == []
    slower = replace(real, boots=(13.0,) * 4)
    assert differences(real, simulated(slower)) == [
        "job 1 done after 9.5 s really, 19.0 s simulated",
        "job 2 done after 12.5 s really, 22.0 s simulated",
    ]
    another = Seen([(0.0, 2), (15.0, -1), (16.0, -1), (61.0, 1), (77.0, -1)], told.finish)
    assert differences(real, another) == [
        "nodes started: 4 really, 3 simulated",
        "out and in: [3, -3, 1, -1] really, [2, -2, 1, -1] simulated",
    ]
