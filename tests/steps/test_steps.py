"""What every step promises, and what reading the list of steps may cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from minimoto.errors import InvalidPipeline
from minimoto.steps import STEPS
from minimoto.steps.base import Context, Progress, StepResult, safe_stem

NEEDED = {"style": {"picture": "ink"}}
"""Parameters without which a step cannot be."""


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_what_its_key_says(name: str) -> None:
    step = STEPS[name]
    assert step.name == name
    needed = NEEDED.get(name, {})
    assert step.parse(needed) == step.parse(needed)
    assert (step.result_suffix is not None) == (step.per == "folder")
    with pytest.raises(InvalidPipeline, match="nonsense"):
        step.parse({"nonsense": "1"})


def test_the_empty_step_makes_nothing(tmp_path: Path) -> None:
    seen: list[Progress] = []
    step = STEPS["nothing"]
    result = step.run(Context((tmp_path / "a.jpg",), {}, tmp_path, "trip", seen.append), step.parse({}))
    assert (result, list(tmp_path.iterdir()), seen) == (StepResult(()), [], [Progress(1.0)])


def test_listing_the_steps_loads_no_engine() -> None:
    code = "import sys, minimoto.steps; print(*{'numpy', 'cv2', 'PIL', 'ffmpeg', 'imageio_ffmpeg'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("trip", "trip"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "film"),
        ("Été à la mer", "Été à la mer"),
        ("a" * 300, "a" * 100),
    ],
)
def test_a_name_never_leaves_its_folder(name: str, stem: str) -> None:
    assert safe_stem(name, "film") == stem
