"""The pipeline's text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.core.job import Per, Stage
from minimoto.core.pipeline import attachments, one_file, parse_pipeline, pipeline_text, plan
from minimoto.errors import InvalidPipeline


@dataclass(frozen=True)
class Rules:
    per: Per = "photo"
    seconds_per_item: float = 3.0
    positional: tuple[str, ...] = ()
    file_parameters: tuple[str, ...] = ()
    file_names: Callable[[str], tuple[str, ...]] = one_file

    def parse(self, params: Mapping[str, str]) -> Any:
        if "bad" in params:
            raise InvalidPipeline("bad is bad")
        return params


STEPS = {
    "fit": Rules(positional=("size", "mode")),
    "video": Rules(per="folder", file_parameters=("music",)),
}


def stages(text: str) -> tuple[Stage, ...]:
    return plan(parse_pipeline(text), STEPS)


def test_steps_values_and_names() -> None:
    fit, video = stages('fit: 1920x1080, mode=pad | video:title="A | B, C: \\"D\\"",music=my song.mp3')
    assert fit.params == {"size": "1920x1080", "mode": "pad"}
    assert fit.shard_size == 10
    assert video.params == {"title": 'A | B, C: "D"', "music": "my song.mp3"}
    assert attachments((fit, video), STEPS) == ("my song.mp3",)


def test_a_step_says_which_files_a_value_needs() -> None:
    rules = Rules(file_parameters=("picture", "mask"), file_names=lambda value: tuple(value.split("+")))
    [stage] = plan(parse_pipeline("style:picture=a.jpg+b.jpg,mask=a.jpg"), {"style": rules})
    assert attachments((stage,), {"style": rules}) == ("a.jpg", "b.jpg")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("fit |", "step's name"),
        ("vidoe", "did you mean video"),
        ("xyz", "there are: fit, video"),
        ("video | fit", "cannot follow"),
        ("video:1", "needs a name"),
        ("fit:1,size=2", "twice"),
        ("fit:size=1,size=2", "twice"),
        ('video:title="x', "not closed"),
        ("fit:bad=1", "fit: bad is bad"),
        ("fit:=1", "not a name"),
        ("x" * 5000, "longer"),
        (" | ".join(["fit"] * 21), "21 steps; 20 are the most"),
    ],
)
def test_a_pipeline_that_cannot_run_says_why(text: str, says: str) -> None:
    with pytest.raises(InvalidPipeline, match=says):
        stages(text)


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True), st.text(max_size=20), max_size=4))
def test_the_canonical_text_means_the_same(params: dict[str, str]) -> None:
    stage = Stage("fit", params)
    (call,) = parse_pipeline(pipeline_text((stage,)))
    assert dict(call.named) == params


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InvalidPipeline):
        assert parse_pipeline(text)
