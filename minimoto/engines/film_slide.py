"""One slide of the film: a photo on its canvas, a clip, or a card; and the text over it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from PIL import Image

from minimoto.core.framing import Rect, crop, kept_in_view
from minimoto.core.timeline import Span, share, text_level
from minimoto.engines.film_canvas import contain, cover
from minimoto.engines.film_captions import caption_of
from minimoto.engines.film_clip import ClipReader, probe
from minimoto.engines.film_faces import SIDE, faces
from minimoto.engines.film_frame import Frame, empty
from minimoto.engines.film_motion import ZOOM, path
from minimoto.engines.film_motion import Path as Movement
from minimoto.engines.film_paint import paint
from minimoto.engines.film_photo import Pixels, decode, part_of, size_of, small
from minimoto.engines.film_settings import FilmSettings
from minimoto.engines.film_title import ABOVE, BELOW, CAPTION, MIDDLE, Place, Title, card
from minimoto.engines.film_zoom import Zoom
from minimoto.engines.photo_facts import looks_like_clip
from minimoto.media import open_picture


@dataclass(frozen=True)
class Source:
    """A photo or a clip, decoded as far as the film needs it.

    Parameters:
        file: where it came from.
        canvas: the photo on its canvas; None for a clip.
        heads: what must not be cut, in the canvas's pixels.
        clip: None for a photo.
        caption: what is to be written under it; None for nothing.
    """

    file: Path
    canvas: Frame | None = None
    heads: tuple[Rect, ...] = ()
    clip: ClipReader | None = None
    caption: Title | None = None

    @property
    def frames(self) -> int | None:
        """How many frames there are of it; None where that is for the film to say."""
        return self.clip.frames if self.clip else None


@dataclass(frozen=True)
class Draft:
    """A slide before it is known when it will be on screen.

    Parameters:
        photo: the number of its photo or clip, from 1; 0 for a card.
        frames: for how many it should be on screen.
        texts: what is written over it.
    """

    source: Source
    photo: int
    frames: int
    texts: tuple[Title, ...] = ()

    def slide(self, index: int, span: Span, settings: FilmSettings) -> Slide:
        """The slide, number ``index`` of the film, from 0."""
        canvas = self.source.canvas
        # A card made of a clip's frame has nothing to move over.
        moves = canvas is not None and canvas.shape[1] == canvas_size(settings)[0]
        path = movement(index, self.source.heads, settings) if moves else None
        zoom = Zoom(canvas, path.focus, settings.size) if canvas is not None and path is not None else None
        still = None if zoom else canvas
        return Slide(self.photo, self.source.file, span, still, zoom, path, self.source.clip, self.texts)


@dataclass(frozen=True)
class Slide:
    """What a stretch of the film shows.

    Parameters:
        photo: the number of its photo or clip, from 1; 0 for a card.
        file: where that lies.
        span: when it is on screen.
        canvas: what a photo or a card shows that holds still; else None.
        zoom: the same for one that moves.
        movement: how it does.
        clip: its frames; None for a photo.
        texts: what is written over it.
        written: whether there was anything, once the slide was shown and let go of it.
    """

    photo: int
    file: Path
    span: Span
    canvas: Frame | None
    zoom: Zoom | None = None
    movement: Movement | None = None
    clip: ClipReader | None = None
    texts: tuple[Title, ...] = ()
    written: bool = False

    def view(self, local: int, leaving: int, settings: FilmSettings, out: Frame) -> Frame:
        """Its frame ``local``; in ``out``, or its canvas itself. Those of a clip must be asked for in their order.

        Parameters:
            leaving: frames at the end that the next slide shares; what is written is gone by then.
        """
        frame = self._picture(local, settings, out)
        for text in self.texts:
            level = text_level(local, settings.fps, self.span.length, self.span.entering, leaving)
            frame = text.blend(frame, level, out)
        return frame

    def _picture(self, local: int, settings: FilmSettings, out: Frame) -> Frame:
        if self.clip is not None:
            return self.clip.frame(local, out)
        if self.zoom is not None and self.movement is not None:
            return self.zoom.draw(self.movement.scale(share(local, self.span.length)), out)
        assert self.canvas is not None
        return self.canvas


def backdrop(source: Source, settings: FilmSettings) -> Source:
    """What lies behind a card's text: the photo next to it, blurred beyond recognition, and darker."""
    canvas = source.canvas
    if canvas is None:
        assert source.clip is not None
        canvas = source.clip.frame(0, empty(settings.size))
    return Source(source.file, card(canvas))


def free_place(source: Source) -> Place:
    """Where a title over a photo hides no face: in the middle, else lower, else above; lower if all are taken,
    where it hides no eyes."""
    if source.canvas is None:
        return MIDDLE
    height = source.canvas.shape[0] * 2 / 3
    for place in (MIDDLE, BELOW, ABOVE):
        band = Rect(0, height * (place.centre - 0.13), source.canvas.shape[1], height * (place.centre + 0.13))
        if all(head.bottom <= band.top or band.bottom <= head.top for head in source.heads):
            return place
    return BELOW


def canvas_size(settings: FilmSettings) -> tuple[int, int]:
    """The frame's size, or, where there is motion, a larger one with even sides to move over."""
    if settings.motion == "none":
        return settings.size
    width, height = (math.ceil(side * ZOOM / 2) * 2 for side in settings.size)
    return width, height


def movement(index: int, heads: tuple[Rect, ...], settings: FilmSettings) -> Movement | None:
    """How slide ``index`` moves: its own path, bent so that no head is ever cut; None to hold still."""
    if settings.motion == "none":
        return None
    free = path(index, settings.seed)
    near, far = min(free.start, free.end), max(free.start, free.end)
    focus, near = kept_in_view(heads, canvas_size(settings), settings.size, free.focus, near)
    far = max(near, far)
    return Movement(far, near, focus) if free.start > free.end else Movement(near, far, focus)


def read(file: Path, settings: FilmSettings) -> Source:
    """Decodes a photo, or opens a clip and decodes its first frame.

    Raises:
        UnreadablePicture: it cannot be used; one sentence that names it.
    """
    source = _open_clip(file, settings) if looks_like_clip(file) else read_photo(file, settings)
    text = caption_of(file, settings.captions) if settings.captions else ""
    return replace(source, caption=Title(text, settings.size, CAPTION)) if text else source


def _open_clip(file: Path, settings: FilmSettings) -> Source:
    clip = probe(file, settings.clip_seconds)
    frames = max(1, math.floor(clip.seconds * settings.fps + Fraction(1, 2)))
    return Source(file, clip=ClipReader(clip, settings.size, settings.fps, frames, settings.fill))


def read_photo(file: Path, settings: FilmSettings) -> Source:
    """Decodes a photo onto its canvas.

    Raises:
        UnreadablePicture: it cannot be used; one sentence that names it.
    """
    size = canvas_size(settings)
    crops = settings.fill == "crop"
    with open_picture(file) as picture:
        photo = decode(picture, file, (cover if crops else contain)(picture.size, size))
    heads = _heads(photo, settings)
    cut = crop(size_of(photo), size, heads) if crops else Rect(0, 0, *size_of(photo))
    placed = tuple(head.moved(-cut.left, -cut.top) for head in heads)
    if crops and abs(cut.width * size[1] - cut.height * size[0]) < 1e-6 * cut.width * size[1]:
        box = (cut.left, cut.top, cut.right, cut.bottom)
        frame = paint(photo, size, "crop", "black", box)
        return Source(file, frame, _scaled(placed, cut, size, (0, 0)))
    if crops:
        # Heads that no crop would hold are worth more than a filled frame.
        cut = Rect(math.floor(cut.left), math.floor(cut.top), math.ceil(cut.right), math.ceil(cut.bottom))
        photo = part_of(photo, (int(cut.left), int(cut.top), int(cut.right), int(cut.bottom)))
    front = contain(size_of(photo), size)
    fill = "black" if settings.fill == "black" else "blur"
    frame = paint(photo, size, "pad", fill)
    corner = ((size[0] - front[0]) // 2, (size[1] - front[1]) // 2)
    return Source(file, frame, _scaled(placed, cut, front, corner))


def _scaled(heads: tuple[Rect, ...], part: Rect, size: tuple[int, int], corner: tuple[int, int]) -> tuple[Rect, ...]:
    """Heads within a part of a photo, where that part lies at ``corner`` of a canvas with ``size``."""
    x, y = size[0] / part.width, size[1] / part.height
    return tuple(head.scaled(x, y).moved(*corner) for head in heads)


def may_cut(settings: FilmSettings) -> bool:
    """Whether faces have to be looked for: not where nothing is ever cut."""
    return settings.faces != "off" and (settings.motion != "none" or settings.fill == "crop")


def _heads(photo: Pixels | Image.Image, settings: FilmSettings) -> tuple[Rect, ...]:
    """The heads in a decoded photo, in its pixels; none where they are not looked for."""
    if not may_cut(settings):
        return ()
    return tuple(head.scaled(*size_of(photo)) for head in faces(small(photo, SIDE)))
