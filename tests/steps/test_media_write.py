"""What belonged to the photo stays with the picture made from it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from minimoto.media_write import write_16_bit, write_picture

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif() -> bytes:
    block = Image.Exif()
    block[0x010F] = "A camera"
    return block.tobytes()


@pytest.mark.parametrize(
    ("mode", "lossless", "suffix"),
    [
        ("RGB", False, ".jpg"),
        ("RGB", True, ".png"),
        ("L", False, ".jpg"),
        ("RGBA", False, ".png"),
        ("LA", False, ".png"),
    ],
)
def test_profile_and_exif_stay(tmp_path: Path, mode: str, lossless: bool, suffix: str) -> None:
    image = Image.effect_noise((40, 30), 50).convert(mode)
    path = write_picture(image, tmp_path / "a.b", profile=PROFILE, exif=exif(), lossless=lossless)
    assert path == tmp_path / f"a.b{suffix}"
    with Image.open(path) as written:
        assert (written.mode, written.size) == (mode, (40, 30))
        assert written.info["icc_profile"] == PROFILE
        assert written.getexif()[0x010F] == "A camera"
        if suffix == ".png":
            np.testing.assert_array_equal(np.asarray(written), np.asarray(image))


def test_an_exif_block_that_no_jpeg_holds_is_left_out(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8))
    block = Image.Exif()
    block[0x010E] = "x" * 70_000
    with Image.open(write_picture(image, tmp_path / "a", exif=block.tobytes())) as written:
        assert not written.getexif()
    with Image.open(write_picture(image, tmp_path / "a", exif=block.tobytes(), lossless=True)) as written:
        assert len(written.getexif()[0x010E]) == 70_000


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3), (9, 7, 4)])
def test_sixteen_bits_come_back_as_they_were(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, shape, np.uint16)
    path = write_16_bit(pixels, tmp_path / "deep", profile=PROFILE, exif=exif())
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    assert read is not None
    if len(shape) == 3:
        read = read[..., [2, 1, 0, 3][: shape[2]]]
    np.testing.assert_array_equal(read, pixels)
    with Image.open(path) as written:
        assert written.info["icc_profile"] == PROFILE
        assert written.getexif()[0x010F] == "A camera"
