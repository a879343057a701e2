"""Where a photo was taken, in words: what it says itself, else the town nearest to its coordinates.

No network is asked. The towns (34 000, of more than 15 000 people) are GeoNames' (https://www.geonames.org, CC BY 4.0);
``training/places.py`` makes the file that holds them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minimoto.engines.photo_facts import clip_facts, looks_like_clip, photo_spot

DATA = Path(__file__).parent / "places.npz"
_EARTH = 6371.0
_FARTHEST = 50.0
"""Kilometres from a town beyond which a photo is not said to be there."""


@dataclass(frozen=True)
class _Places:
    """Positions ``(N, 3)`` on the unit sphere, weights ``(N,)``, and names."""

    where: NDArray[np.float64]
    weight: NDArray[np.float64]
    names: tuple[str, ...]


def place_of(file: Path) -> str:
    """The place of a photo or a clip, such as ``Lisbon, Portugal``; empty if it is not known."""
    spot = clip_facts(file).spot if looks_like_clip(file) else photo_spot(file)
    if spot.words:
        return spot.words
    return nearest(*spot.at) if spot.at else ""


def nearest(latitude: float, longitude: float) -> str:
    """The town that somebody at a point would name: near, or not much farther and much larger; empty far from all.

    Parameters:
        latitude, longitude: in degrees.
    """
    places = _places()
    along = _on_sphere(np.array([[latitude, longitude]]))[0]
    distance = _EARTH * np.arccos(np.clip(places.where @ along, -1, 1))
    close = np.flatnonzero(distance <= _FARTHEST)
    if not close.size:
        return ""
    return places.names[int(close[np.argmin((distance[close] + 2) / places.weight[close])])]


@functools.cache
def _places() -> _Places:
    with np.load(DATA) as held:
        countries = held["countries"].tobytes().decode().split("\n")
        towns = held["names"].tobytes().decode().split("\n")
        names = tuple(f"{town}, {countries[at]}" for town, at in zip(towns, held["country"].tolist(), strict=True))
        # Ten times the people make a town's name reach 1.8 times as far.
        weight = 10 ** (held["people"].astype(np.float64) / 4)
        return _Places(_on_sphere(held["where"] / 100), weight, names)


def _on_sphere(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    up, along = np.radians(degrees).T
    return np.stack([np.cos(up) * np.cos(along), np.cos(up) * np.sin(along), np.sin(up)], 1)
