"""What a step is: its inputs, its outputs and what it promises about time and memory.

Nothing here, nor in the modules that describe steps, imports numpy, OpenCV or Pillow: the client and the watchdog read
:data:`minimoto.steps.STEPS` to check a pipeline. A step imports its engine when it runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from minimoto.core.pipeline import one_file

_NOT_IN_A_NAME = re.compile(r"[^\w.\- ]+")


@dataclass(frozen=True)
class Progress:
    """How far a step has come.

    Parameters:
        done: 0..1.
        note: what it is at, for a person, such as ``photo 3 of 12``.
    """

    done: float
    note: str = ""


@dataclass(frozen=True)
class Skip:
    """An input that could not be used, and why, in words for a person."""

    name: str
    reason: str

    @classmethod
    def of(cls, photo: Path, error: Exception) -> Skip:
        """The skip of ``photo`` for what ``error`` says; its name is not said twice."""
        return cls(photo.name, str(error).removeprefix(f"{photo.name}: "))


@dataclass(frozen=True)
class StepResult:
    """The files that a step made, in order, and the inputs that it left out."""

    outputs: tuple[Path, ...]
    skipped: tuple[Skip, ...] = ()


@dataclass(frozen=True)
class Context:
    """What a step is given besides its parameters.

    Parameters:
        inputs: local files, in the job's order.
        attachments: a parameter's file name, such as ``song.mp3``, to the local file.
        out: an empty folder for the outputs; nothing else of the step may stay in it.
        name: the job's name; a per-folder step names its file after it.
        progress: to be called often enough that ``Step.hang_seconds`` never passes in silence.
        first: index in the job of ``inputs[0]``.
    """

    inputs: tuple[Path, ...]
    attachments: Mapping[str, Path]
    out: Path
    name: str
    progress: Callable[[Progress], None]
    first: int = 0


@dataclass(frozen=True)
class Step:
    """One kind of processing.

    Parameters:
        name: its name in a pipeline.
        per: ``photo`` steps are spread over the fleet; ``folder`` steps see all the inputs at once.
        parse: text parameters to the step's frozen parameters; raises :class:`~minimoto.errors.InvalidPipeline`.
        run: does the work; raises :class:`~minimoto.errors.StepFailed`.
        seconds_per_item: what one input is expected to take on two cores, used until real times are known.
        memory_limit: bytes of the whole process tree above which the step is killed.
        hang_seconds: seconds without progress after which the step is killed.
        file_parameters: parameters that name a file beside the photos.
        file_names: from such a parameter's text to the names of the files that it needs; called on checked text only.
        positional: names for parameters given without ``=``, in order.
        result_suffix: suffix of a per-folder step's file, such as ``.mp4``.
        takes_clips: whether videos among the photos are inputs, too.
        reads_inputs: ``False`` for a step that is given no local copies of its inputs.
    """

    name: str
    per: Literal["photo", "folder"]
    parse: Callable[[Mapping[str, str]], Any]
    run: Callable[[Context, Any], StepResult]
    seconds_per_item: float
    memory_limit: int
    hang_seconds: float
    file_parameters: tuple[str, ...] = ()
    file_names: Callable[[str], tuple[str, ...]] = one_file
    positional: tuple[str, ...] = ()
    result_suffix: str | None = None
    takes_clips: bool = False
    reads_inputs: bool = True


def safe_stem(name: str, default: str) -> str:
    """``name`` as a file's stem that stays in its folder on any system; ``default`` when nothing of it is usable."""
    stem = _NOT_IN_A_NAME.sub("_", name).strip(" .")
    return stem.encode()[:100].decode(errors="ignore") or default
