"""Our film against moviepy 2, same work: photos that fill the frame, a slow zoom, a crossfade, x264 `superfast`.

    python -m benchmarks.film_moviepy [--photos 15 125] [--runs 5]

moviepy is given the photos as files, brings each to the size of our canvas with Pillow, zooms with ``Resize`` and
``Crop``, fades with ``CrossFadeIn``, and encodes with our own options of x264.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.film_work import SETTINGS, frames, make_photos, ours, turns
from benchmarks.measure import machine, versions


def make_film(photos: list[Path], film: Path) -> None:
    """The same work with moviepy."""
    import moviepy
    import numpy as np
    from moviepy import vfx
    from PIL import Image

    from minimoto.engines.film_canvas import compose
    from minimoto.engines.film_encoder import encoding
    from minimoto.engines.film_slide import canvas_size

    (width, height), canvas = SETTINGS.size, canvas_size(SETTINGS)
    shown, shared, rate = float(SETTINGS.seconds), float(SETTINGS.transition_seconds), float(SETTINGS.fps)
    clips = []
    for index, photo in enumerate(photos):
        with Image.open(photo) as image:
            image.draft("RGB", canvas)
            pixels = np.asarray(compose(image.convert("RGB"), canvas, "crop", "black"))
        # From all of the canvas to 1.14 times as near, as our paths go.
        base = width / canvas[0]
        moving = moviepy.ImageClip(pixels, duration=shown).with_effects(
            [vfx.Resize(lambda t, base=base: base * (1 + 0.14 * t / shown))]
        )
        view = moviepy.CompositeVideoClip([moving.with_position("center")], size=(width, height)).with_duration(shown)
        fades = [vfx.CrossFadeIn(shared)] if index else []
        clips.append(view.with_start(index * (shown - shared)).with_effects(fades))
    options = encoding(SETTINGS.crf, SETTINGS.fps, nvenc=False)
    extra = [part for name in ("crf", "x264-params", "g") for part in (f"-{name}", str(options[name]))]
    whole = moviepy.CompositeVideoClip(clips, size=(width, height))
    whole.write_videofile(
        str(film), fps=rate, codec="libx264", preset=options["preset"], audio=False, ffmpeg_params=extra, logger=None
    )


def main() -> int:
    """Exit status 1 when the target was missed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--photos", type=int, nargs="+", default=[15, 125])
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--only", nargs=2, metavar=("FOLDER", "FILM"), help="make moviepy's film of a folder")
    options = arguments.parse_args()
    if options.only:
        make_film(sorted(Path(options.only[0]).glob("*.jpg")), Path(options.only[1]))
        return 0
    print(f"## Film against moviepy\n\n{machine()}\n{versions('minimoto', 'moviepy', 'opencv-python-headless')}\n")
    ratios = []
    for count in options.photos:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place, "photos")
            make_photos(folder, count)
            words = [sys.executable, "-m", "benchmarks.film_moviepy", "--only", str(folder), f"{place}/theirs.mp4"]
            theirs, own = turns(words, ours(folder, Path(place, "ours.mp4")), options.runs)
        ratios.append(statistics.median(a[0] / b[0] for a, b in zip(theirs, own, strict=True)))
        print(f"\n{count} photos, {frames(count)} frames, {len(own)} runs\n\n| way | median s | MiB |\n|---|---|---|")
        for name, kept in (("moviepy", theirs), ("minimoto", own)):
            print(f"| {name} | {statistics.median(k[0] for k in kept):.1f} | {max(k[1] for k in kept):.0f} |")
        print(f"\nminimoto is {ratios[-1]:.1f}x as fast", flush=True)
    return 0 if min(ratios) >= 14 else 1


if __name__ == "__main__":
    sys.exit(main())
