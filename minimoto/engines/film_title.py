"""Text in the film, its title or a caption: white on a soft shadow, drawn once and blended into frames as it fades."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from minimoto.engines.film_frame import Frame, from_rgb, half, planes

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_OTHER_FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf")
_UNDEFINED = "\U0010ffff"


@dataclass(frozen=True)
class Place:
    """Where a text stands, and how large it is.

    Parameters:
        widest: share of the frame's width that a line may take.
        lines: as many at most, as long as the letters stay legible.
        share: height of the letters, as shares of the frame's width and height; the smaller one counts.
        low: at the lower left, inside the margins that screens and players may cover, instead of centred.
        centre: the height at which a centred text stands, as a share of the frame's.
    """

    widest: float
    lines: int
    share: tuple[float, float]
    low: bool = False
    centre: float = 0.5


MIDDLE = Place(0.84, 3, (1 / 12, 1 / 9))
BELOW = Place(0.84, 2, (1 / 12, 1 / 9), centre=0.75)
ABOVE = Place(0.84, 2, (1 / 12, 1 / 9), centre=0.2)
CAPTION = Place(0.84, 2, (1 / 17, 1 / 20), low=True)

_MARGIN = (0.05, 0.08)


class Title:
    """A text for frames of ``size`` (width, height).

    Parameters:
        text: what to write; wrapped and shrunk until it fits. Characters that no font here has are left out and kept
            in :attr:`missing`.
        size: the frame's.
        place: where.
    """

    def __init__(self, text: str, size: tuple[int, int], place: Place = MIDDLE) -> None:
        name, self.missing = _covering(text)
        written = "".join(character for character in text if character not in self.missing).strip()
        drawn = _draw(written, name, size, place)
        rows = np.flatnonzero(np.asarray(drawn.getchannel("A")).any(axis=1))
        top, bottom = (int(rows[0]) // 2 * 2, int(rows[-1]) // 2 * 2 + 2) if rows.size else (0, 2)
        self._rows = (top, bottom)
        drawn = drawn.crop((0, top, size[0], bottom))
        alpha = np.asarray(drawn.getchannel("A"), np.float32) / np.float32(255)
        self._layers = planes(from_rgb(np.asarray(drawn.convert("RGB"))))
        small = half(alpha)
        self._masks = (alpha, small, small)

    def blend(self, frame: Frame, level: float, out: Frame) -> Frame:
        """``frame`` with the text over it at ``level``, 0..1, drawn in ``out``, which may be ``frame``; ``frame``
        itself at 0."""
        if level <= 0:
            return frame
        if out is not frame:
            np.copyto(out, frame)
        for target, layer, mask in zip(planes(out), self._layers, self._masks, strict=True):
            ratio = out.shape[1] // target.shape[1]
            rows = slice(self._rows[0] // ratio, self._rows[1] // ratio)
            weight = mask * np.float32(level)
            target[rows] = cv2.blendLinear(target[rows], layer, 1 - weight, weight)
        return out


def card(canvas: Frame) -> Frame:
    """A background for a title: ``canvas`` blurred beyond recognition, and darker."""
    made = np.empty_like(canvas)
    for source, target, black in zip(planes(canvas), planes(made), (16, 128, 128), strict=True):
        height, width = source.shape
        small = cv2.resize(source, (max(1, width // 24), max(1, height // 24)), interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(small.astype(np.float32), (0, 0), 2.5) - black
        grown = np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
        noise = np.random.default_rng(1).random(source.shape, np.float32)
        target[:] = np.clip(grown * 0.6 + black + noise, 16, 240)
    return made


def _covering(text: str) -> tuple[str, frozenset[str]]:
    """The first font that has the most of ``text``'s characters (empty: Pillow's own), and what it lacks."""
    lacks: dict[str, frozenset[str]] = {}
    for name in ("", *_OTHER_FONTS):
        try:
            font = _font(name, 32)
        except OSError:
            continue
        undefined = _picture(font, _UNDEFINED)
        lacks[name] = frozenset(c for c in text if not c.isspace() and _picture(font, c) == undefined)
    best = min(lacks, key=lambda name: len(lacks[name]))
    return best, lacks[best]


def _font(name: str, points: int) -> Font:
    return ImageFont.truetype(name, points) if name else ImageFont.load_default(points)


def _picture(font: Font, character: str) -> bytes:
    return bytes(font.getmask(character))


def _draw(text: str, font_name: str, size: tuple[int, int], place: Place) -> Image.Image:
    """``text`` on a transparent ``RGBA`` picture of ``size``: white, with a dark outline and a soft dark shadow."""
    text, points = _layout(text, font_name, size, place)
    width, height = size
    shape = Image.new("L", size, 0)
    if place.low:
        where, anchor, align = (width * _MARGIN[0], height * (1 - _MARGIN[1])), "ld", "left"
    else:
        where, anchor, align = (width / 2, height * place.centre), "mm", "center"
    ImageDraw.Draw(shape).multiline_text(
        where, text, fill=255, font=_font(font_name, points), anchor=anchor, align=align, spacing=points * 0.25
    )
    shadow = shape.filter(ImageFilter.GaussianBlur(points * 0.22)).point([min(255, level * 2) for level in range(256)])
    edge = shape.filter(ImageFilter.GaussianBlur(max(1.0, points * 0.04)))
    drawn = Image.new("RGBA", size, (0, 0, 0, 0))
    dark = 0.85 if place.low else 0.7
    for mask, strength, colour in ((shadow, dark, (0, 0, 0)), (edge, 0.6, (0, 0, 0)), (shape, 1.0, (255, 255, 255))):
        layer = Image.new("RGBA", size, (*colour, 0))
        layer.putalpha(mask.point([round(level * strength) for level in range(256)]))
        drawn = Image.alpha_composite(drawn, layer)
    return drawn


def _layout(text: str, font_name: str, size: tuple[int, int], place: Place) -> tuple[str, int]:
    """``text`` with line breaks, and the largest size of its font, in pixels, at which it fits the frame."""
    room = size[0] * place.widest
    points = max(8, round(min(size[0] * place.share[0], size[1] * place.share[1])))
    while True:
        font = _font(font_name, points)
        lines = _wrapped(text, font, room)
        fits = len(lines) <= place.lines and all(font.getlength(line) <= room for line in lines)
        if fits or points <= 8:
            return "\n".join(_balanced(text, font, room)), points
        points = max(8, points * 9 // 10)


def _balanced(text: str, font: Font, room: float) -> list[str]:
    """As few lines as fit in ``room``, broken so that they are about equally long."""
    lines = _wrapped(text, font, room)
    while lines:
        room *= 0.95
        narrower = _wrapped(text, font, room)
        if len(narrower) > len(lines) or any(font.getlength(line) > room for line in narrower):
            return lines
        lines = narrower
    return lines


def _wrapped(text: str, font: Font, room: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
