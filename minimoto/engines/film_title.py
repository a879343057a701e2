"""The film's title: text with a soft shadow, drawn once and blended into frames as it fades in and out."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from minimoto.engines.film_frame import Frame, from_rgb, half, planes

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_OTHER_FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf")
_UNDEFINED = "\U0010ffff"
_WIDEST, _MOST_LINES = 0.84, 3


class Title:
    """A title for frames of ``size`` (width, height).

    Parameters:
        text: what to write; wrapped and shrunk until it fits. Characters that no font here has are left out and kept
            in :attr:`missing`.
        size: the frame's.
    """

    def __init__(self, text: str, size: tuple[int, int]) -> None:
        name, self.missing = _covering(text)
        written = "".join(character for character in text if character not in self.missing).strip()
        drawn = _draw(written, name, size)
        alpha = np.asarray(drawn.getchannel("A"), np.float32) / np.float32(255)
        rows = np.flatnonzero(alpha.any(axis=1))
        self._rows = (int(rows[0]) // 2 * 2, int(rows[-1]) // 2 * 2 + 2) if rows.size else (0, 0)
        self._layers = planes(from_rgb(np.asarray(drawn.convert("RGB"))))
        small = half(alpha)
        self._masks = (alpha, small, small)

    def blend(self, frame: Frame, level: float, out: Frame) -> Frame:
        """``frame`` with the title over it at ``level``, 0..1, drawn in ``out``; ``frame`` itself at 0."""
        if level <= 0:
            return frame
        np.copyto(out, frame)
        top, bottom = self._rows
        for target, layer, mask in zip(planes(out), self._layers, self._masks, strict=True):
            ratio = out.shape[1] // target.shape[1]
            rows = slice(top // ratio, bottom // ratio)
            weight = mask[rows] * np.float32(level)
            target[rows] = cv2.blendLinear(target[rows], layer[rows], 1 - weight, weight)
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


def _draw(text: str, font_name: str, size: tuple[int, int]) -> Image.Image:
    width, height = size
    text, points = _layout(text, font_name, size)
    shape = Image.new("L", size, 0)
    ImageDraw.Draw(shape).multiline_text(
        (width / 2, height / 2), text, fill=255, font=_font(font_name, points), anchor="mm", align="center",
        spacing=points * 0.25,
    )  # fmt: skip
    shadow = shape.filter(ImageFilter.GaussianBlur(points * 0.22)).point([min(255, level * 2) for level in range(256)])
    edge = shape.filter(ImageFilter.GaussianBlur(max(1.0, points * 0.04)))
    drawn = Image.new("RGBA", size, (0, 0, 0, 0))
    for mask, strength, colour in ((shadow, 0.7, (0, 0, 0)), (edge, 0.6, (0, 0, 0)), (shape, 1.0, (255, 255, 255))):
        layer = Image.new("RGBA", size, (*colour, 0))
        layer.putalpha(mask.point([round(level * strength) for level in range(256)]))
        drawn = Image.alpha_composite(drawn, layer)
    return drawn


def _layout(text: str, font_name: str, size: tuple[int, int]) -> tuple[str, int]:
    """``text`` with line breaks, and the largest size of its font, in pixels, at which it fits the frame."""
    room = size[0] * _WIDEST
    points = max(8, round(min(size[1] / 9, size[0] / 12)))
    while True:
        font = _font(font_name, points)
        lines = _wrapped(text, font, room)
        fits = len(lines) <= _MOST_LINES and all(font.getlength(line) <= room for line in lines)
        if fits or points <= 8:
            return "\n".join(_balanced(text, font, room)), points
        points = max(8, points * 9 // 10)


def _balanced(text: str, font: Font, room: float) -> list[str]:
    """As few lines as fit in ``room``, broken so that they are about equally long."""
    lines = _wrapped(text, font, room)
    while True:
        room *= 0.95
        narrower = _wrapped(text, font, room)
        if len(narrower) > len(lines) or any(font.getlength(line) > room for line in narrower):
            return lines
        lines = narrower


def _wrapped(text: str, font: Font, room: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
