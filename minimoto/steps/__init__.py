"""The steps that a pipeline may name, in one dict."""

from __future__ import annotations

from minimoto.steps.base import Step
from minimoto.steps.fit import FIT
from minimoto.steps.nothing import NOTHING
from minimoto.steps.style import STYLE
from minimoto.steps.upscale import UPSCALE
from minimoto.steps.video import VIDEO

STEPS: dict[str, Step] = {
    "fit": FIT,
    "video": VIDEO,
    "style": STYLE,
    "upscale": UPSCALE,
    "nothing": NOTHING,
}
