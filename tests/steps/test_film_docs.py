"""The film's page names every parameter with its default, and every choice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from minimoto.engines.film_settings import TRANSITIONS
from minimoto.errors import InvalidPipeline
from minimoto.steps import STEPS

PAGE = (Path(__file__).parents[2] / "docs" / "film.md").read_text("utf-8")


def rows(step: str) -> dict[str, str]:
    section = PAGE.split(f"## Parameters of `{step}`")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE))


@pytest.mark.parametrize("step", ["video", "fit"])
def test_every_parameter_and_its_default_is_on_the_page(step: str) -> None:
    with pytest.raises(InvalidPipeline, match="there are") as refused:
        STEPS[step].parse({"zzz": ""})
    assert set(rows(step)) == set(str(refused.value).split("there are ")[1].split(", "))
    written = {name: text.split("`")[1] for name, text in rows(step).items() if "`" in text}
    assert STEPS[step].parse(written) == STEPS[step].parse({})


def test_every_transition_is_on_the_page() -> None:
    assert all(f"`{name}`" in PAGE for name in TRANSITIONS)
