"""The pipeline's text: ``fit:1920x1080 | video:music=song.mp3,transition=crossfade``.

Steps are joined by ``|``. After a colon come parameters joined by commas: ``name=value``, or a bare value for the
step's positional parameters in their order. A value in double quotes may hold commas, colons and bars.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Protocol

from minimoto.core.job import Per, Stage
from minimoto.core.shards import TASK_SECONDS, shard_size
from minimoto.errors import InvalidPipeline

MOST_STAGES = 20
"""Steps of one pipeline: they all lie in one job document, and a message can name 100."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^"]')
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class StepRules(Protocol):
    """What the pipeline must know of a step; ``minimoto.steps.Step`` fits."""

    @property
    def per(self) -> Per: ...
    @property
    def parse(self) -> Callable[[Mapping[str, str]], Any]: ...
    @property
    def seconds_per_item(self) -> float: ...
    @property
    def positional(self) -> tuple[str, ...]: ...
    @property
    def file_parameters(self) -> tuple[str, ...]: ...
    @property
    def file_names(self) -> Callable[[str], tuple[str, ...]]: ...


@dataclass(frozen=True)
class StepCall:
    """One step as written: its name, its bare values and its named ones."""

    step: str
    values: tuple[str, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)


def parse_pipeline(text: str) -> tuple[StepCall, ...]:
    """Reads a pipeline's text; knows nothing of which steps there are.

    Raises:
        InvalidPipeline: the text is empty or malformed.
    """
    if len(text) > 4000:
        raise InvalidPipeline("the pipeline's text is longer than 4000 characters")
    parts = [part.strip() for part in _split(text, "|")]
    if not any(parts):
        raise InvalidPipeline('the pipeline is empty; write for example --pipeline "fit | video"')
    return tuple(_call(part) for part in parts)


def plan(
    calls: Sequence[StepCall], steps: Mapping[str, StepRules], task_seconds: float = TASK_SECONDS
) -> tuple[Stage, ...]:
    """The stages of a pipeline, each step and parameter checked.

    Raises:
        InvalidPipeline: an unknown step, an unknown or bad parameter, a per-photo step behind a film, or too many.
    """
    if len(calls) > MOST_STAGES:
        raise InvalidPipeline(f"the pipeline has {len(calls)} steps; {MOST_STAGES} are the most")
    stages: list[Stage] = []
    for call in calls:
        rules = _find(call.step, steps)
        if stages and stages[-1].per == "folder":
            raise InvalidPipeline(f"{call.step} cannot follow {stages[-1].step}, which makes one file of all photos")
        params = _params(call, rules)
        try:
            rules.parse(params)
        except InvalidPipeline as error:
            raise InvalidPipeline(f"{call.step}: {error}") from error
        size = shard_size(rules.seconds_per_item, task_seconds)
        stages.append(Stage(step=call.step, params=params, per=rules.per, shard_size=size))
    return tuple(stages)


def attachments(stages: Sequence[Stage], steps: Mapping[str, StepRules]) -> tuple[str, ...]:
    """The files beside the photos that the parameters name, each once, in the order of the pipeline."""
    names = [name for stage in stages for name in files_of(stage.params, steps[stage.step])]
    return tuple(dict.fromkeys(names))


def files_of(params: Mapping[str, str], rules: StepRules) -> tuple[str, ...]:
    """The files that one step's parameters name, each once."""
    values = [params[parameter] for parameter in rules.file_parameters if params.get(parameter)]
    return tuple(dict.fromkeys(name for value in values for name in rules.file_names(value)))


def one_file(value: str) -> tuple[str, ...]:
    """The rule of most file parameters: the value is the file's name."""
    return (value,)


def pipeline_text(stages: Sequence[Stage]) -> str:
    """The canonical text of a pipeline: parsing it gives the same stages."""
    return " | ".join(_stage_text(stage) for stage in stages)


def _stage_text(stage: Stage) -> str:
    params = ",".join(f"{name}={_quoted(value)}" for name, value in stage.params.items())
    return f"{stage.step}:{params}" if params else stage.step


def _quoted(value: str) -> str:
    if value and not re.search(r'[|,:="\\\s]', value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _split(text: str, separator: str) -> list[str]:
    parts = [""]
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise InvalidPipeline(f"a double quote is not closed in: {text.strip()}")
        if match.group() == separator:
            parts.append("")
        else:
            parts[-1] += match.group()
        at = match.end()
    return parts


def _call(part: str) -> StepCall:
    name, *rest = _split(part, ":")
    name = name.strip()
    if not _NAME.fullmatch(name):
        raise InvalidPipeline(f"a step's name is expected where the pipeline says {part or 'nothing'!r}")
    values: list[str] = []
    named: dict[str, str] = {}
    text = ":".join(rest)
    for item in _split(text, ",") if text.strip() else []:
        key, *value = _split(item, "=")
        if not value:
            values.append(_unquoted(key))
        elif _NAME.fullmatch(key.strip()) and key.strip() not in named:
            named[key.strip()] = _unquoted("=".join(value))
        else:
            raise InvalidPipeline(f"{name}: the parameter {key.strip()!r} is not a name, or is given twice")
    return StepCall(name, tuple(values), named)


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def _find(name: str, steps: Mapping[str, StepRules]) -> StepRules:
    if name in steps:
        return steps[name]
    near = get_close_matches(name, steps, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(steps))}"
    raise InvalidPipeline(f"there is no step {name!r}; {hint}")


def _params(call: StepCall, rules: StepRules) -> dict[str, str]:
    if len(call.values) > len(rules.positional):
        extra = call.values[len(rules.positional)]
        raise InvalidPipeline(f"{call.step}: {extra!r} needs a name, as in name={extra}")
    params = dict(zip(rules.positional, call.values, strict=False))
    for name, value in call.named.items():
        if name in params:
            raise InvalidPipeline(f"{call.step}: {name} is given twice")
        params[name] = value
    return params
