"""Draws ``docs/upscale.jpg``: crops of the example photos, shrunk and enlarged again.

``python -m training.upscale_sheet`` after the weights of ``upscale`` were replaced.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from minimoto.engines.upscale import Upscaler
from minimoto.engines.upscale_settings import UpscaleSettings

ROOT = Path(__file__).parents[1]
FACTOR = 3
SIDE = 264
CROPS = {"8-chelsea.jpg": (120, 30), "2-astronaut.jpg": (130, 20), "5-temple.jpg": (250, 90)}
"""Left and top of the crop by photo."""
TITLES = ("shrunk by 3, enlarged bicubically", "enlarged by upscale:3", "the photo itself")


def main() -> None:
    """The command."""
    upscaler = Upscaler(UpscaleSettings(factor=FACTOR))
    head = 22
    sheet = Image.new("RGB", (SIDE * len(TITLES), head + SIDE * len(CROPS)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(TITLES):
        draw.text((SIDE * column + 6, 4), title, "black", ImageFont.load_default(13))
    for row, (name, (left, top)) in enumerate(CROPS.items()):
        with Image.open(ROOT / "examples" / "photos" / name) as image:
            photo = image.convert("RGB").crop((left, top, left + SIDE, top + SIDE))
        small = photo.resize((SIDE // FACTOR, SIDE // FACTOR), Image.Resampling.BICUBIC)
        larger = small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        ours = Image.fromarray(upscaler.enlarge(np.asarray(small)))
        for column, picture in enumerate((larger, ours, photo)):
            sheet.paste(picture, (SIDE * column, head + SIDE * row))
    sheet.save(ROOT / "docs" / "upscale.jpg", quality=90, subsampling=0)


if __name__ == "__main__":
    main()
