"""From a pipeline's text to typed values, with one clear sentence for each mistake."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from fractions import Fraction

from minimoto.errors import InvalidPipeline

_SIZE = re.compile(r"(\d{1,5})[xX×](\d{1,5})")
_COLOUR = re.compile(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{3})")
_NAMED_COLOURS = {"black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128), "gray": (128, 128, 128)}
_LONGEST_NUMBER = 40
_NTSC = {"23.976": Fraction(24000, 1001), "29.97": Fraction(30000, 1001), "59.94": Fraction(60000, 1001)}


def fraction(text: str) -> Fraction:
    """A number exactly as written: ``0.1``, ``1/3``, ``29.97``, which means NTSC's, or ``1e9``.

    Raises:
        ValueError: it is none, or written so long that it would take a while to read.
    """
    if text in _NTSC:
        return _NTSC[text]
    # Of 1e999999999 all the digits would be computed.
    if len(text) > _LONGEST_NUMBER or re.search(r"[eE][+-]?[\d_]{3}", text):
        raise ValueError(f"not a number that is read: {text[:20]}")
    try:
        return Fraction(text)
    except ZeroDivisionError as error:
        raise ValueError(str(error)) from None


class Parameters:
    """The text parameters of one step, read one by one by name.

    Parameters:
        values: text by parameter name.
        known: the names that the step has.

    Raises:
        InvalidPipeline: a name that the step does not have.
    """

    def __init__(self, values: Mapping[str, str], known: Collection[str]) -> None:
        self._values = values
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"
                raise InvalidPipeline(f"no parameter is called '{name}'; {hint}")

    def wrong(self, name: str, must: str) -> InvalidPipeline:
        """The error that says what parameter ``name`` must be."""
        return InvalidPipeline(f"{name} must be {must}, not '{self._values.get(name, '')}'")

    def text(self, name: str, default: str = "") -> str:
        """The parameter as it stands."""
        return self._values.get(name, default)

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """One of ``choices``."""
        value = self._values.get(name, default)
        if value not in choices:
            raise self.wrong(name, f"one of {', '.join(choices)}")
        return value

    def number(self, name: str, default: Fraction, low: Fraction | int, high: Fraction | int) -> Fraction:
        """A number from ``low`` to ``high``, exactly as written (``0.1`` is a tenth)."""
        try:
            value = fraction(self._values[name]) if name in self._values else default
        except ValueError:
            raise self.wrong(name, "a number") from None
        if not low <= value <= high:
            raise self.wrong(name, f"from {float(low):g} to {float(high):g}")
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        value = self.number(name, Fraction(default), low, high)
        if value.denominator != 1:
            raise self.wrong(name, "a whole number")
        return int(value)

    def size(self, name: str, default: tuple[int, int], low: int, high: int, *, even: bool) -> tuple[int, int]:
        """``WIDTHxHEIGHT`` in pixels, each side from ``low`` to ``high``, and even where video needs it."""
        if name not in self._values:
            return default
        match = _SIZE.fullmatch(self._values[name])
        if match is None:
            raise self.wrong(name, "WIDTHxHEIGHT, such as 1920x1080")
        width, height = int(match[1]), int(match[2])
        if not (low <= width <= high and low <= height <= high):
            raise self.wrong(name, f"from {low} to {high} pixels a side")
        if even and (width % 2 or height % 2):
            raise self.wrong(name, "an even number of pixels a side")
        return width, height

    def colour(self, name: str, default: str, others: Collection[str] = ()) -> str | tuple[int, int, int]:
        """An RGB colour, 0..255, from ``#rgb``, ``rrggbb`` or a few names; or one of the words in ``others``."""
        value = self._values.get(name, default)
        if value in others:
            return value
        if value in _NAMED_COLOURS:
            return _NAMED_COLOURS[value]
        match = _COLOUR.fullmatch(value)
        if match is None:
            raise self.wrong(name, " or ".join([*others, "a colour such as black or #1a2b3c"]))
        digits = match[1] if len(match[1]) == 6 else "".join(digit * 2 for digit in match[1])
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)

    def file(self, name: str) -> str:
        """The plain name of a file that lies beside the photos; empty when not given."""
        value = self._values.get(name, "")
        if value and (value in {".", ".."} or value.startswith("-") or re.search(r"[/\\\x00-\x1f]", value)):
            raise self.wrong(name, "the name of a file beside the photos")
        return value
