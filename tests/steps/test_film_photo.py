"""JPEGs that the film lets OpenCV decode are what Pillow makes of them; what is damaged stays Pillow's to refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from minimoto.engines import film_photo
from minimoto.engines.film_photo import decode, small
from minimoto.errors import UnreadablePicture
from minimoto.media import open_picture


def jpeg(path: Path, orientation: int = 1, mode: str = "RGB", profile: bytes | None = None) -> Path:
    """A photo of 320x200 with soft shapes."""
    shapes = np.random.default_rng(4).integers(0, 256, (10, 16, 3), np.uint8)
    image = Image.fromarray(shapes).resize((320, 200), Image.Resampling.BICUBIC).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, quality=92, exif=exif, icc_profile=profile)
    return path


def both(path: Path, at_least: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Ours and Pillow's pixels."""
    with open_picture(path) as picture:
        ours = decode(picture, path, at_least)
    with open_picture(path) as picture:
        return np.asarray(ours), np.asarray(picture.decode(at_least))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("at_least", [(320, 320), (100, 100), (50, 50), (25, 25)])
def test_a_jpeg_is_decoded_as_pillow_does(tmp_path: Path, orientation: int, at_least: tuple[int, int]) -> None:
    ours, pillow = both(jpeg(tmp_path / "a.jpg", orientation), at_least)
    # Beyond a reduced DCT Pillow averages, too, which the film does later.
    if ours.shape == pillow.shape:
        assert np.abs(ours.astype(int) - pillow).max() <= 2
    assert ours.shape[0] / ours.shape[1] == pytest.approx(pillow.shape[0] / pillow.shape[1], rel=0.03)
    assert min(ours.shape[:2]) >= min(at_least[0], 200)


def test_a_plain_jpeg_is_decoded_by_opencv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, seen = jpeg(tmp_path / "a.jpg", 6), list[object]()
    with open_picture(photo) as picture:
        monkeypatch.setattr(picture, "decode", seen.append)
        assert np.asarray(decode(picture, photo, (200, 320))).shape == (320, 200, 3)
    assert not seen


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colours_are_pillows(tmp_path: Path, mode: str) -> None:
    ours, pillow = both(jpeg(tmp_path / "a.jpg", mode=mode), (320, 200))
    assert (ours == pillow).all()


def test_a_profile_is_heeded(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    ours, pillow = both(jpeg(tmp_path / "a.jpg", profile=profile), (320, 200))
    assert (ours == pillow).all()


@pytest.mark.parametrize("left", [0.2, 0.4, 0.9, 0.9999])
def test_a_jpeg_cut_short_is_refused(tmp_path: Path, left: float) -> None:
    photo = jpeg(tmp_path / "a.jpg")
    whole = photo.read_bytes()
    photo.write_bytes(whole[: int(len(whole) * left)])
    with open_picture(photo) as picture, pytest.raises(UnreadablePicture, match="cut short"):
        decode(picture, photo, (320, 200))


def test_the_end_of_a_thumbnail_is_not_the_pictures(tmp_path: Path) -> None:
    photo = jpeg(tmp_path / "a.jpg")
    whole, thumbnail = photo.read_bytes(), jpeg(tmp_path / "b.jpg").read_bytes()
    segment = b"\xff\xe2" + (2 + len(thumbnail)).to_bytes(2, "big") + thumbnail
    photo.write_bytes(whole[:2] + segment + whole[2 : len(whole) // 2])
    with open_picture(photo) as picture, pytest.raises(UnreadablePicture, match="cut short"):
        decode(picture, photo, (320, 200))


def test_an_opencv_that_does_not_decode_to_rgb_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_photo, "_RGB", None)
    monkeypatch.setattr("cv2.imread", None)
    ours, pillow = both(jpeg(tmp_path / "a.jpg"), (320, 200))
    assert (ours == pillow).all()


def test_a_small_copy_keeps_the_shape() -> None:
    photo = np.zeros((200, 400, 3), np.uint8)
    assert small(photo, 100).size == (100, 50)
    assert small(photo, 1000).size == (400, 200)
    assert small(photo[:1], 100).size == (100, 1)
