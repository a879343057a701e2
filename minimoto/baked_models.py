"""Which models an image shall carry: what the setting ``[AMI] models`` means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from minimoto.engines.registry import state

if TYPE_CHECKING:
    from minimoto.config import Config

AUTO, NONE = "auto", "none"
WISHED = ("yunet",)
"""What ``auto`` means: models without which the defaults of the steps work, but less well."""


def named(config: Config) -> tuple[str, ...]:
    """The models that somebody asked for by name: without them there is no image."""
    return tuple(name for name in config.models if name not in {AUTO, NONE})


def wished(config: Config) -> tuple[str, ...]:
    """The models that an image carries where they can be had. None on the embedded AWS, whose nodes use the cache."""
    if AUTO not in config.models or config.local:
        return ()
    return tuple(name for name in WISHED if name not in named(config))


def carried(config: Config, baked: Iterable[str] = ()) -> tuple[str, ...]:
    """The models that an image of this deployment has, made now and on this computer.

    Parameters:
        baked: models of an image that stands; it keeps those that are wished for, whether they are here or not.
    """
    have = frozenset(baked)
    return (*named(config), *(name for name in wished(config) if name in have or state(name) == "here"))
