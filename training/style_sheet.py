"""Draws ``docs/style.jpg``: example photos in styles of ours, each style above its column.

python -m training.style_sheet [--weights FILE] [--styles swirl,mosaic,ink,woodblock] [--out docs/style.jpg]
"""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from minimoto.engines.style import fast_style
from minimoto.engines.style_settings import MADE

ROOT = Path(__file__).parents[1]
PHOTOS = ("5-temple", "8-chelsea", "2-astronaut")
CELL, GAP, HEAD = (300, 225), 6, 112
MOST_BYTES = 300_000


def photo(name: str) -> Image.Image:
    """An example photo, cropped to twice a cell, which is what the network is given."""
    image = Image.open(ROOT / "examples" / "photos" / f"{name}.jpg").convert("RGB")
    width, height = CELL[0] * 2, CELL[1] * 2
    scale = max(width / image.width, height / image.height)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    left, top = (image.width - width) // 2, (image.height - height) // 3
    return image.crop((left, top, left + width, top + height))


def sheet(weights: Path, styles: list[str]) -> Image.Image:
    """The photos in the first column, and each of them in each style."""
    engine = fast_style(weights)
    width, height = CELL
    size = ((width + GAP) * (len(styles) + 1) - GAP, HEAD + (height + GAP) * len(PHOTOS))
    page = Image.new("RGB", size, "white")
    for row, name in enumerate(PHOTOS):
        page.paste(photo(name).resize(CELL, Image.Resampling.LANCZOS), (0, HEAD + GAP + row * (height + GAP)))
    for column, style in enumerate(styles, 1):
        picture = Image.open(MADE / f"{style}.jpg")
        small = picture.resize((HEAD * picture.width // picture.height, HEAD), Image.Resampling.LANCZOS)
        left = column * (width + GAP)
        page.paste(small, (left + (width - small.width) // 2, 0))
        look = engine.look([np.asarray(picture)])
        for row, name in enumerate(PHOTOS):
            painted = Image.fromarray(engine.apply(np.asarray(photo(name)), look))
            page.paste(painted.resize(CELL, Image.Resampling.LANCZOS), (left, HEAD + GAP + row * (height + GAP)))
    return page


def main() -> None:
    """Draw the page, as well as its bytes allow."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--weights", type=Path)
    arguments.add_argument("--styles", default="swirl,mosaic,ink,woodblock")
    arguments.add_argument("--out", type=Path, default=ROOT / "docs" / "style.jpg")
    options = arguments.parse_args()
    weights = options.weights
    if weights is None:
        from minimoto.engines.registry import model_path

        weights = model_path("style")
    page = sheet(weights, options.styles.split(","))
    for quality in range(92, 40, -3):
        data = BytesIO()
        page.save(data, "JPEG", quality=quality, optimize=True)
        if data.tell() <= MOST_BYTES:
            break
    options.out.write_bytes(data.getvalue())
    print(f"{options.out}: {page.width}x{page.height}, {len(data.getvalue()) / 1e3:.0f} kB, quality {quality}")


if __name__ == "__main__":
    main()
