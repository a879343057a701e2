"""Finding faces in a photo, so that none is cut.

YuNet (W. Wu, H. Peng, S. Yu: YuNet: A Tiny Millisecond-level Face Detector, Machine Intelligence Research 20, 2023), as
OpenCV's ``FaceDetectorYN`` runs it. The model, ``weights/yunet.onnx``, is the one that OpenCV's model zoo publishes
(``face_detection_yunet_2023mar``, MIT), its block-quantised weights written as plain
numbers so that any OpenCV reads it.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from minimoto.core.framing import Rect

MODEL = Path(__file__).parent / "weights" / "yunet.onnx"

# On photos of a long side of 480 pixels, faces of a fortieth of it are still found. At 0.7, what it finds are faces.
_SIDE = 480
_SURE = 0.7
_OVERLAP = 0.3
_MOST = 200

# What it marks goes from the brows to the chin: a head is more.
_HEAD = (0.15, 0.4, 0.15, 0.15)

_own = threading.local()


def faces(image: Image.Image) -> tuple[Rect, ...]:
    """The heads in a picture, in shares of its sides, the surest first.

    Parameters:
        image: upright, ``RGB`` or ``RGBA``.
    """
    scale = min(1.0, _SIDE / max(image.size))
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
        level = cv2.utils.logging.setLogLevel(2)  # it warns that no other device was asked for
        try:
            _own.detector = cv2.FaceDetectorYN.create(str(MODEL), "", (_SIDE, _SIDE), _SURE, _OVERLAP, _MOST)
        finally:
            cv2.utils.logging.setLogLevel(level)
    return _own.detector
