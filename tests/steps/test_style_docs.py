"""The page about styles names every parameter with its default, every style of ours, and what the plan says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from minimoto.engines.style_settings import MADE_STYLES, memory_plan
from minimoto.errors import InvalidPipeline
from minimoto.steps import STEPS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "style.md").read_text("utf-8")


def rows(title: str) -> dict[str, str]:
    section = PAGE.split(f"## {title}")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\|", section, re.MULTILINE))


def test_every_parameter_and_its_default_is_on_the_page() -> None:
    with pytest.raises(InvalidPipeline, match="there are") as refused:
        STEPS["style"].parse({"zzz": ""})
    found = rows("Parameters of `style`")
    assert set(found) == set(str(refused.value).split("there are ")[1].split(", "))
    written = {name: text.split("`")[1] for name, text in found.items() if "`" in text}
    plain = {"picture": "ink", "mode": "optimise"}
    assert STEPS["style"].parse(written | plain | {"size": "512"}) == STEPS["style"].parse({**plain, "size": "512"})
    fast = {name: written[name] for name in ("mode", "strength", "colors", "size", "style_scale", "seed", "feather")}
    assert STEPS["style"].parse({"picture": "ink", **fast}) == STEPS["style"].parse({"picture": "ink"})


def test_every_style_of_ours_is_on_the_page() -> None:
    assert rows("Style pictures") == MADE_STYLES


def test_the_memory_on_the_page_is_the_plans() -> None:
    said = re.findall(r"^\| (\d+) megapixels? \| ([\d.]+) GiB \|", PAGE, re.MULTILINE)
    assert len(said) == 5
    for megapixels, gib in said:
        planned = memory_plan(int(megapixels) * 1000, 1000).bytes / 2**30
        assert float(gib) == pytest.approx(planned, abs=0.1)


def test_the_pictures_are_there_and_small() -> None:
    for name in re.findall(r"!\[.*?\]\((.*?)\)", PAGE):
        assert (DOCS / name).stat().st_size <= 300_000
