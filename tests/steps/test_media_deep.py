"""Pictures of 16 bits a channel are read as they are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import odd_pictures as odd
import pytest
from PIL import Image

from minimoto.errors import UnreadablePicture
from minimoto.media import open_picture

RNG = np.random.default_rng(3)


def deep(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    pixels = RNG.integers(0, 65536, shape, dtype=np.uint16)
    cv2.imwrite(str(path), pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: shape[2]]])
    return pixels


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3), (9, 7, 4)])
def test_sixteen_bits_are_kept(tmp_path: Path, shape: tuple[int, ...], suffix: str) -> None:
    path = tmp_path / f"deep.{suffix}"
    pixels = deep(path, shape)
    with open_picture(path) as picture:
        assert (picture.is_deep, picture.is_grey, picture.has_alpha) == (True, len(shape) == 2, shape[-1] == 4)
        assert picture.size == (7, 9)
        np.testing.assert_array_equal(picture.decode_deep(), pixels)


UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_turned_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    pixels = RNG.integers(0, 65536, (4, 6), dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(pixels).save(path, exif=exif)
    with open_picture(path) as picture:
        assert picture.size == ((6, 4) if orientation < 5 else (4, 6))
        np.testing.assert_array_equal(picture.decode_deep(), UPRIGHT[orientation](pixels))


def test_eight_bits_are_not_deep(tmp_path: Path) -> None:
    for mode in ("1", "L", "RGB"):
        for suffix in ("png", "tiff"):
            Image.new(mode, (5, 4)).save(tmp_path / f"a.{suffix}")
            with open_picture(tmp_path / f"a.{suffix}") as picture:
                assert not picture.is_deep
                assert picture.is_grey == (mode != "RGB")
    with open_picture(odd.cmyk(tmp_path)) as picture:
        assert (picture.is_deep, picture.is_grey) == (False, False)


def test_a_truncated_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    deep(path, (60, 80, 3))
    path.write_bytes(path.read_bytes()[:9000])
    with open_picture(path) as picture, pytest.raises(UnreadablePicture, match=r"deep\.png"):
        picture.decode_deep()
