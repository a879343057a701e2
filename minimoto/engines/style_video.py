"""Consecutive frames styled without flicker.

Two things make styled frames flicker: colours that are matched to each frame's own, and strokes that the network puts
elsewhere when a frame differs by a little noise. So all frames of a scene share their colours; and each result is
blended with the one before it, moved along the optical flow, where the two frames show the same thing (Ruder et al.,
"Artistic style transfer for videos", 2016, section 4.1, for the check of the flow; Lai et al., "Learning blind video
temporal consistency", 2018, equation 1 and 3, for the warping error and its weights).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from minimoto.engines import style_colour as colour
from minimoto.errors import UnreadablePicture
from minimoto.media import open_picture

Pixels = NDArray[np.uint8]
Flow = NDArray[np.float32]
"""``(H, W, 2)``: where a pixel of this frame was in the frame before, less where it is: x and y in pixels."""

SHARE = 0.8
"""Of the frame before, in a pixel that shows the same thing in both."""

_FLOW_PIXELS = 400_000
_THUMBNAIL = 48
_CUT = 0.13
_SAME = 0.06
_ROWS = 512
_LONGEST = 32_000
"""Pixels a side; OpenCV moves no larger pictures, and such panoramas are no frames."""


@dataclass(frozen=True)
class Glance:
    """What is looked at before the frames are styled.

    Parameters:
        size: (width, height) that the frame will be styled at.
        thumbnail: ``(48, 48, 3)``, 0..1.
        colours: of the whole frame.
    """

    size: tuple[int, int]
    thumbnail: NDArray[np.float32]
    colours: colour.Statistics


def glance(path: Path, fitted: Callable[[tuple[int, int]], tuple[int, int]]) -> Glance | None:
    """A quick look at a frame, decoded small; ``None`` for one that cannot be read.

    Parameters:
        fitted: the size that a photo of some (width, height) will be styled at.
    """
    try:
        with open_picture(path) as picture:
            size = fitted(picture.size)
            image = picture.decode((256, 256), keep_profile=True).convert("RGB")
    except UnreadablePicture:
        return None
    return glance_at(np.asarray(image), size)


def glance_at(pixels: Pixels, size: tuple[int, int] | None = None) -> Glance:
    """The same at a frame that is decoded already; ``size``: (width, height) that it is styled at, default its own."""
    small = cv2.resize(pixels, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    thumbnail = np.asarray(small, np.float32) / np.float32(255)
    return Glance(size or (pixels.shape[1], pixels.shape[0]), thumbnail, colour.statistics(pixels))


def scenes(glances: Sequence[Glance | None]) -> list[int]:
    """The number of each frame's scene: a new one begins at a cut, or at another size. Unreadable frames belong to
    the scene that they lie in."""
    numbers: list[int] = []
    before: Glance | None = None
    number = 0
    for one in glances:
        if one is not None and before is not None and not _goes_on(before, one):
            number += 1
        numbers.append(number)
        before = one or before
    return numbers


def _goes_on(before: Glance, after: Glance) -> bool:
    return before.size == after.size and float(np.abs(before.thumbnail - after.thumbnail).mean()) < _CUT


class Frames:
    """The frames of a film or burst, styled in their order.

    Parameters:
        glances: one for each frame.
    """

    def __init__(self, glances: Sequence[Glance | None]) -> None:
        self._scenes = scenes(glances)
        self._colours: dict[int, colour.Statistics] = {}
        for number in set(self._scenes):
            found = [one.colours for one, scene in zip(glances, self._scenes, strict=True) if one and scene == number]
            if found:
                self._colours[number] = colour.blend(found, [1.0] * len(found))
        self._before: tuple[int, NDArray[np.uint8], Pixels] | None = None

    @classmethod
    def of(cls, paths: Sequence[Path], fitted: Callable[[tuple[int, int]], tuple[int, int]]) -> Frames:
        """The frames in files; see :func:`glance`."""
        return cls([glance(path, fitted) for path in paths])

    def colours(self, index: int) -> colour.Statistics | None:
        """The colours that the scene of frame ``index`` shares."""
        return self._colours.get(self._scenes[index])

    def steadied(self, index: int, photo: Pixels, styled: Pixels) -> Pixels:
        """``styled``, the result of frame ``index``, blended with that of the frame before; frames come in order.

        Parameters:
            photo, styled: ``(H, W, 3)``, of the same size.
        """
        scene, small = self._scenes[index], flow_size(photo)
        fits = self._before is not None and self._before[2].shape == styled.shape and max(styled.shape) < _LONGEST
        if self._before and self._before[0] == scene and fits:
            _, seen, result = self._before
            flow, sure = track(seen, small)
            styled = carried(result, styled, flow, sure * np.float32(SHARE))
        self._before = (scene, small, styled)
        return styled


def flow_size(photo: Pixels) -> Pixels:
    """``photo`` at the size that movement is looked for at."""
    height, width = photo.shape[:2]
    scale = min(1.0, (_FLOW_PIXELS / (width * height)) ** 0.5)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def track(before: Pixels, after: Pixels) -> tuple[Flow, NDArray[np.float32]]:
    """Where each pixel of ``after`` was in ``before``, and how sure that is.

    Parameters:
        before, after: ``(H, W, 3)``, of the same size.

    Returns:
        The flow, and ``(H, W)``, 0..1: near 0 where the flow there and back disagree (something was hidden), or where
        the two frames differ along it.
    """
    height, width = after.shape[:2]
    if min(height, width) < 16:
        return np.zeros((height, width, 2), np.float32), _alike(before, after)
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (before, after)]
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # The last argument is where the search begins, and is written to.
    back, forth = (
        np.asarray(finder.calc(*pair, np.zeros((height, width, 2), np.float32)), np.float32)
        for pair in ((greys[1], greys[0]), (greys[0], greys[1]))
    )
    returned = warped(forth, back)
    apart = ((back + returned) ** 2).sum(-1)
    allowed = 0.01 * ((back**2).sum(-1) + (returned**2).sum(-1)) + 0.5
    sure = np.clip(2 - apart / allowed, 0, 1) * _alike(warped(before, back), after) * _inside(back)
    return back, np.asarray(cv2.GaussianBlur(sure.astype(np.float32), (0, 0), 1.0), np.float32)


def warped(picture: Pixels | Flow, flow: Flow) -> NDArray[np.float32]:
    """``picture``, of the frame before, moved to where ``flow`` says its pixels are now."""
    x, y = _places(flow, 0)
    moved = cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def carried(before: Pixels, after: Pixels, flow: Flow, share: NDArray[np.float32]) -> Pixels:
    """``after``, blended with ``before`` moved along ``flow``, in bands that bound the memory.

    Parameters:
        flow, share: at any size; the flow in pixels of its own size; ``share`` of ``before``, 0..1.
    """
    height, width = after.shape[:2]
    scale = (width / flow.shape[1], height / flow.shape[0])
    result = np.empty_like(after)
    for top in range(0, height, _ROWS):
        rows = min(_ROWS, height - top)
        part = _stretched(flow, (width, height), top, rows) * np.asarray(scale, np.float32)
        x, y = _places(part, top)
        moved = cv2.remap(before, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        weight = _stretched(share, (width, height), top, rows)[..., None]
        own = after[top : top + rows].astype(np.float32)
        result[top : top + rows] = np.clip(own + (moved - own) * weight + np.float32(0.5), 0, 255)
    return result


def warping_error(before: Pixels, after: Pixels, flow: Flow, valid: NDArray[np.bool_]) -> float:
    """Mean squared difference, 0..1, of ``after`` and ``before`` moved along ``flow``, where ``valid``."""
    difference = (warped(before, flow) - after.astype(np.float32)) / np.float32(255)
    return float((difference[valid] ** 2).mean())


def _stretched(array: NDArray[np.float32], size: tuple[int, int], top: int, rows: int) -> NDArray[np.float32]:
    """Rows ``top`` to ``top + rows`` of ``array`` scaled to ``size`` (width, height)."""
    x = (np.arange(size[0], dtype=np.float32) + 0.5) * (array.shape[1] / size[0]) - 0.5
    y = (np.arange(top, top + rows, dtype=np.float32) + 0.5) * (array.shape[0] / size[1]) - 0.5
    across, down = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    return np.asarray(cv2.remap(array, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _places(flow: Flow, top: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    x, y = np.meshgrid(np.arange(flow.shape[1]), np.arange(top, top + flow.shape[0]))
    return (x + flow[..., 0]).astype(np.float32), (y + flow[..., 1]).astype(np.float32)


def _alike(one: Pixels | NDArray[np.float32], other: Pixels) -> NDArray[np.float32]:
    """1 where two frames show the same colours, falling to 0 where they do not."""
    difference = cv2.GaussianBlur(one.astype(np.float32) - other.astype(np.float32), (0, 0), 1.0) / np.float32(255)
    return np.asarray(np.exp(-((difference**2).mean(-1)) / np.float32(_SAME**2)), np.float32)


def _inside(flow: Flow) -> NDArray[np.bool_]:
    x, y = _places(flow, 0)
    inside = (x >= 0) & (y >= 0) & (x <= flow.shape[1] - 1) & (y <= flow.shape[0] - 1)
    return np.asarray(inside, np.bool_)
