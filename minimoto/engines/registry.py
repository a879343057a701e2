"""The model registry: where each network's weights lie, and how they come there.

Weights of our own lie in the package. Published ones are fetched once, held to the SHA-256 of their publisher, turned
into safetensors (ONNX where OpenCV reads it) and kept in a folder, each with a small ``NAME.json`` beside it that says
where it came from and what its bytes must be. They are looked for in this order: ``MINIMOTO_MODELS``, the
installation's own ``models`` (baked into an image), the cache. Nothing is fetched unless :func:`fetch` is called.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from minimoto.engines.registry_bring import bring_from
from minimoto.engines.registry_download import Progress, Report, digest, silent
from minimoto.engines.registry_models import MODELS, Model, Source
from minimoto.engines.registry_record import read_record, record_of
from minimoto.engines.runtime_cache import cache_dir
from minimoto.errors import ModelMissing

__all__ = [
    "MODELS",
    "Model",
    "Progress",
    "Source",
    "State",
    "check",
    "fetch",
    "folders",
    "model_path",
    "paths",
    "size",
    "state",
    "verify",
]

SHIPPED = Path(__file__).parent / "weights"
SUMS = "SHA256SUMS"
"""In :data:`SHIPPED`, as ``sha256sum`` writes it: the digests of our own weights."""

FOLDER_VARIABLE = "MINIMOTO_MODELS"

State = Literal["shipped", "here", "missing", "wrong"]
"""Of a model: in the package, fetched, not here, or here with other bytes than were fetched."""


def folders() -> tuple[Path, ...]:
    """Where fetched models are looked for, in order."""
    named = os.environ.get(FOLDER_VARIABLE)
    installed = Path(sys.prefix).parent
    return (
        *([Path(named).expanduser()] if named else []),
        *([installed / "models"] if installed.name == "minimoto" else []),
        cache_dir() / "models",
    )


def model_path(name: str) -> Path:
    """The model's file, its bytes checked: safetensors, but for ``yunet``, which is ONNX.

    Raises:
        ModelMissing: it is not here, or was changed; the message says how to bring it.
    """
    model = known(name)
    path = _find(model)
    if path is None:
        raise ModelMissing(_how_to_bring(model))
    _check(model, path)
    return path


def check(name: str, folder: Path) -> Path:
    """The model's file in that very folder, its bytes checked.

    Raises:
        ModelMissing: it is not there, or was changed.
    """
    model = known(name)
    path = folder / model.file
    if not path.is_file():
        raise ModelMissing(f"{path}: no such file")
    _check(model, path)
    return path


def paths(name: str) -> tuple[Path, ...]:
    """The files of a fetched model: its weights and its record, both checked; for copying it to another machine.

    Raises:
        ModelMissing: as :func:`model_path`.
    """
    path = model_path(name)
    return (path,) if known(name).shipped else (path, record_of(path))


def state(name: str) -> State:
    """What there is of the model. Its bytes are read."""
    model = known(name)
    path = _find(model)
    if path is None:
        return "missing"
    try:
        _check(model, path)
    except ModelMissing:
        return "wrong"
    return "shipped" if model.shipped else "here"


def size(name: str) -> int:
    """Bytes of the model's published file, or of the shipped one; 0 where that is missing."""
    model = known(name)
    path = SHIPPED / model.file
    if not model.shipped:
        return model.size
    return path.stat().st_size if path.is_file() else 0


def verify(name: str) -> Path:
    """Reads the model's file anew and checks its bytes.

    Raises:
        ModelMissing: as :func:`model_path`.
    """
    _digest_of.cache_clear()
    return model_path(name)


def fetch(
    name: str,
    sources: Sequence[Source | Path] | None = None,
    *,
    sha256: str = "",
    to: Path | None = None,
    report: Report = silent,
) -> Path:
    """Brings a model and returns its file; one that is here already stays as it is.

    Parameters:
        sources: tried in order: addresses, files and folders that hold a published file (or a fetched model with its
            ``.json``); ``None``: the folder ``MINIMOTO_MODELS``, then those of the registry.
        sha256: a published file with this digest is taken too, of a kind that the registry knows by the file's suffix.
        to: the folder to write to; ``None``: the cache.
        report: called with :class:`Progress`.

    Raises:
        ModelMissing: it could not be had; the message says why, source by source.
    """
    model = known(name)
    if model.shipped:
        return model_path(name)
    if sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ModelMissing(f"{sha256!r} is no SHA-256: 64 hexadecimal digits are")
    if sources is None and to is None and not sha256 and state(name) == "here":
        return model_path(name)
    target = (to or cache_dir() / "models") / model.file
    failures = []
    for source in _default_sources(model) if sources is None else sources:
        try:
            bring_from(model, source, target, sha256, report)
        except ModelMissing as error:
            failures.append(str(error))
        except OSError as error:
            raise ModelMissing(f"{error.filename or target.parent}: {error.strerror or error}") from error
        else:
            return target
    raise ModelMissing(f"{name}: not to be had: {'; '.join(failures)}. {_by_hand(model)}")


def known(name: str) -> Model:
    """The model of that name.

    Raises:
        ModelMissing: there is none.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise ModelMissing(f"there is no model {name!r}; there are: {', '.join(MODELS)}") from None


def _default_sources(model: Model) -> tuple[Source | Path, ...]:
    named = os.environ.get(FOLDER_VARIABLE)
    return (*([Path(named).expanduser()] if named else []), *model.sources)


def _find(model: Model) -> Path | None:
    candidates = (SHIPPED,) if model.shipped else folders()
    found = (folder / model.file for folder in candidates)
    return next((path for path in found if path.is_file()), None)


def _check(model: Model, path: Path) -> None:
    if model.shipped:
        wanted = shipped_sums().get(path.name, "")
        advice = "reinstall minimoto"
    else:
        wanted, advice = read_record(model, path).sha256, f"delete it and run: minimoto models fetch {model.name}"
    if _digest(path) != wanted:
        raise ModelMissing(f"{path}: its bytes are not those that came with minimoto or were fetched; {advice}")


def shipped_sums() -> dict[str, str]:
    """File name to SHA-256 of what is shipped."""
    try:
        lines = (SHIPPED / SUMS).read_text("utf-8").splitlines()
    except OSError as error:
        raise ModelMissing(f"{SHIPPED / SUMS}: {error.strerror}; reinstall minimoto") from error
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _digest(path: Path) -> str:
    status = path.stat()
    return _digest_of(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(64)
def _digest_of(path: Path, size: int, changed: int) -> str:
    """A process reads a file once, as long as it stays what it was."""
    return digest(path)


def _how_to_bring(model: Model) -> str:
    if model.shipped:
        return f"{model.name}: {SHIPPED / model.file} is missing; reinstall minimoto"
    return f"{model.name} ({model.what}) is not here; run: minimoto models fetch {model.name}. {_by_hand(model)}"


def _by_hand(model: Model) -> str:
    address = next((source.url for source in model.sources if source.url), "")
    return f"Or bring {address} by hand: minimoto models fetch {model.name} --from FILE"
