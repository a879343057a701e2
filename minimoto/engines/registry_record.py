"""What is known of a fetched model: the small ``NAME.json`` beside its safetensors file."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from minimoto.engines.registry_models import Model
from minimoto.errors import ModelMissing


@dataclass(frozen=True)
class Record:
    """Where a fetched model came from, and what its bytes must be.

    Parameters:
        sha256: of the safetensors file beside it.
        source: where the published file came from.
        source_sha256: of the published file.
        given: whether a person vouched for that digest, instead of the registry.
    """

    model: str
    sha256: str
    source: str
    source_sha256: str
    given: bool = False


def record_of(path: Path) -> Path:
    """The record's file."""
    return path.with_suffix(".json")


def read_record(model: Model, path: Path) -> Record:
    """The record beside a fetched model.

    Raises:
        ModelMissing: there is none, it is damaged, or it is of a file that is not published under that name.
    """
    file = record_of(path)
    try:
        record = Record(**json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelMissing(
            f"{file}: the record of {path.name} is missing or damaged; delete both and run: "
            f"minimoto models fetch {model.name}"
        ) from error
    published = {source.sha256 for source in model.sources}
    if record.model != model.name or not (record.given or record.source_sha256 in published):
        raise ModelMissing(f"{file}: not the record of a file that is published as {model.name}")
    return record


def write_record(record: Record, path: Path) -> None:
    """Writes the record beside ``path``."""
    place(json.dumps(asdict(record), indent=1).encode() + b"\n", record_of(path))


def place(data: bytes, target: Path) -> None:
    """Writes a file whole or not at all, readable by everybody.

    Raises:
        OSError: the disk is full, or the folder may not be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
