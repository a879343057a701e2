"""Tries one source of a model: brings its file, knows it by its SHA-256, converts it, and puts it where it is kept."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import replace
from pathlib import Path

from minimoto.engines.registry_convert import convert
from minimoto.engines.registry_download import Report, bring, digest
from minimoto.engines.registry_models import Model, Source
from minimoto.engines.registry_onnx import plain
from minimoto.engines.registry_record import Record, place, read_record, record_of, write_record
from minimoto.errors import ModelMissing


def bring_from(model: Model, source: Source | Path, target: Path, sha256: str, report: Report) -> Record:
    """Makes ``target`` and its record from one source.

    Parameters:
        sha256: a digest that a person vouches for, or nothing.

    Raises:
        ModelMissing: the source does not have it, or has another file.
        OSError: the disk is full, or the folder may not be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, Path):
        return _from_path(model, source, target, sha256)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        wanted = (
            replace(source, sha256=sha256, result="") if sha256 not in {"", source.sha256} and source.url else source
        )
        file = bring(wanted, Path(folder), report)
        return _keep(model, wanted, file, target, str(source), given=wanted.sha256 != source.sha256)


def _from_path(model: Model, path: Path, target: Path, sha256: str) -> Record:
    """From a file, or from what lies in a folder by the names that files are published under."""
    if not path.exists():
        raise ModelMissing(f"{path}: no such file or folder")
    fetched = path / target.name if path.is_dir() else path
    if fetched.suffix == model.suffix and record_of(fetched).is_file():
        return _copy_fetched(model, fetched, target)
    names = [source.file for source in model.sources]
    files = [path / name for name in names if (path / name).is_file()] if path.is_dir() else [path]
    if not files:
        raise ModelMissing(f"{path}: none of {', '.join([target.name, *names])} is there")
    file = files[0]
    found = digest(file)
    source = next((source for source in model.sources if source.sha256 == found), None)
    if source is not None:
        return _keep(model, source, file, target, str(file), given=False)
    if found != sha256:
        wanted = ", ".join(f"{source.sha256} ({source.file})" for source in model.sources)
        raise ModelMissing(f"{file}: its SHA-256 is {found}, published is {wanted}; --sha256 takes another one")
    like = next((source for source in model.sources if Path(source.file).suffix == file.suffix), None)
    if like is None and (file.suffix, model.suffix) != (".safetensors", ".safetensors"):
        raise ModelMissing(f"{file}: {model.name} is published as {', '.join(names)}; no other kind of file is read")
    kind = replace(model.sources[0], format="safetensors") if like is None else like
    return _keep(model, replace(kind, sha256=found, result=""), file, target, str(file), given=True)


def _copy_fetched(model: Model, fetched: Path, target: Path) -> Record:
    """From another machine's folder of fetched models."""
    record = read_record(model, fetched)
    if digest(fetched) != record.sha256:
        raise ModelMissing(f"{fetched}: its bytes are not those that {record_of(fetched).name} says")
    if not target.exists() or not fetched.samefile(target):
        place(fetched.read_bytes(), target)
        write_record(record, target)
    return record


def _keep(model: Model, source: Source, file: Path, target: Path, origin: str, *, given: bool) -> Record:
    data = _content(model, source, file)
    made = hashlib.sha256(data).hexdigest()
    if source.result not in {"", made}:
        raise ModelMissing(f"{file}: what was made of it has the SHA-256 {made} instead of {source.result}")
    place(data, target)
    record = Record(model.name, made, origin, source.sha256, given)
    write_record(record, target)
    return record


def _content(model: Model, source: Source, file: Path) -> bytes:
    """What is kept of a published file; the same file gives the same bytes."""
    from safetensors.numpy import save

    if source.format == "onnx":
        return plain(model.name, file)
    # One entry only: safetensors writes several in no particular order.
    about = {"minimoto": f"{model.name} from {source.sha256}, {model.licence}"}
    return save(convert(model.name, source.format, file), about)
