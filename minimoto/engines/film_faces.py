"""Finding faces in a photo, so that none is cut.

YuNet (W. Wu, H. Peng, S. Yu: YuNet: A Tiny Millisecond-level Face Detector, Machine Intelligence Research 20, 2023), as
OpenCV's ``FaceDetectorYN`` runs it. Its weights are those that OpenCV's model zoo publishes; they come through the
registry as ``yunet``.
"""

from __future__ import annotations

import threading
from typing import Any

import cv2
import numpy as np
from PIL import Image

from minimoto.core.framing import Rect
from minimoto.engines.registry import model_path
from minimoto.errors import ModelMissing

MODEL = "yunet"

SIDE = 480
"""Pixels of a photo's long side at which faces are looked for: those of a fortieth of it are still found."""
# At 0.7, what it finds are faces.
_SURE = 0.7
_OVERLAP = 0.3
_MOST = 200

# What it marks goes from the brows to the chin: a head is more.
_HEAD = (0.15, 0.4, 0.15, 0.15)

_own = threading.local()


def ready() -> None:
    """Sees that faces can be looked for.

    Raises:
        ModelMissing: the network is not here, was changed, or this OpenCV does not read it; says what to do.
    """
    _detector()


def faces(image: Image.Image) -> tuple[Rect, ...]:
    """The heads in a picture, in shares of its sides, the surest first.

    Parameters:
        image: upright, ``RGB`` or ``RGBA``.

    Raises:
        ModelMissing: as :func:`ready`.
    """
    scale = min(1.0, SIDE / max(image.size))
    small = image.convert("RGB").resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BOX)
    pixels = np.ascontiguousarray(np.asarray(small)[..., ::-1])
    # The network halves its input five times.
    height, width = pixels.shape[:2]
    padded = cv2.copyMakeBorder(pixels, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT)
    detector = _detector()
    detector.setInputSize((padded.shape[1], padded.shape[0]))
    found = detector.detect(padded)[1]
    whole = Rect(0, 0, 1, 1)
    heads = []
    for x, y, across, down in [] if found is None else found[:, :4].round(1).tolist():
        face = Rect(x, y, x + across, y + down).scaled(1 / width, 1 / height)
        heads.append(face.grown(*_HEAD).inside(whole))
    return tuple(head for head in heads if head.width > 0 and head.height > 0)


def _detector() -> Any:
    """One for each thread: it keeps its input."""
    if not hasattr(_own, "detector"):
        path = model_path(MODEL)
        level = cv2.utils.logging.setLogLevel(2)  # it warns that no other device was asked for
        try:
            _own.detector = cv2.FaceDetectorYN.create(str(path), "", (SIDE, SIDE), _SURE, _OVERLAP, _MOST)
        except cv2.error as error:
            raise ModelMissing(f"{path}: OpenCV {cv2.__version__} does not read it: {error.err}") from error
        finally:
            cv2.utils.logging.setLogLevel(level)
    return _own.detector
