"""What a network is: where its code and its weights are, and what goes in."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minimoto.engines import runtime_check
from minimoto.engines.runtime_device import NO_TORCH
from minimoto.errors import ConfigError

if TYPE_CHECKING:
    import torch

_FORMAT = 1
"""Of what is cached; a new number leaves everything older unused."""
_TEXT = re.compile(r"([\w.]+):(\w+)(?:\((\d+)\))?")


@dataclass(frozen=True)
class Spec:
    """A network: the arguments of :func:`minimoto.engines.runtime.load`."""

    name: str
    build: Callable[[Path], torch.nn.Module] | str
    weights: Path
    inputs: Mapping[str, tuple[int | None, ...]]
    example: Mapping[str, tuple[int, ...]] | None = None

    def probe(self) -> tuple[NDArray[np.float32], ...]:
        """Arrays to trace it and to compare its results with, always the same."""
        return runtime_check.probe(self.inputs, self.example)

    def module(self) -> torch.nn.Module:
        """The torch module with its weights.

        Raises:
            ConfigError: torch is not installed.
        """
        if find_spec("torch") is None:
            raise ConfigError(f"{self.name}: {NO_TORCH}")
        build = self.build
        if isinstance(build, str):
            module, function, argument = _parts(build)
            build = getattr(importlib.import_module(module), function)
            if argument:
                build = build(int(argument))
        return build(self.weights).eval().requires_grad_(False)

    def key(self) -> str:
        """Of all that the network's numbers depend on.

        Raises:
            ConfigError: the weights cannot be read.
        """
        inputs = [[name, list(shape)] for name, shape in self.inputs.items()]
        example = sorted((name, list(shape)) for name, shape in (self.example or {}).items())
        about = [self.name, inputs, example, _FORMAT, metadata.version("openvino")]
        try:
            weights = self.weights.read_bytes()
        except OSError as error:
            raise ConfigError(f"{self.name}: its weights {self.weights} cannot be read ({error.strerror})") from error
        parts = (json.dumps(about).encode(), weights, _source(self.build))
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]


def _parts(build: str) -> tuple[str, str, str | None]:
    match = _TEXT.fullmatch(build)
    if match is None:
        raise ValueError(f"{build}: say package.module:function, or package.module:function(number)")
    return match[1], match[2], match[3]


def _source(build: Callable[..., Any] | str) -> bytes:
    """The code that makes the network, found without importing it."""
    if isinstance(build, str):
        found = find_spec(_parts(build)[0])
        origin = None if found is None else found.origin
    else:
        origin = inspect.getsourcefile(build)
    return Path(origin).read_bytes() if origin else b""
