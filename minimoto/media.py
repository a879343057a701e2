"""Reading pictures that strangers made, within bounds; finding the ffmpeg to use.

What a file is, is read from its content, never from its name. Size and pixels are checked before anything is decoded.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimoto.errors import ConfigError, UnreadablePicture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image, ImageCms

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF")
"""The formats that are read, by Pillow's names, besides HEIC; every other decoder stays out of strangers' reach."""

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*", b"GIF8")
_ORIENTATION, _EXIF_IFD, _DATE_TIME, _DATE_TIME_ORIGINAL = 0x0112, 0x8769, 0x0132, 0x9003
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_BAND_PIXELS = 8_000_000


@dataclass(frozen=True)
class Limits:
    """What a picture may cost to read.

    Parameters:
        pixels: width times height.
        bytes: length of the file.
    """

    pixels: int = 200_000_000
    bytes: int = 512 * 2**20


LIMITS = Limits()


class Picture:
    """A picture whose header was read and checked, and whose pixels were not decoded yet.

    Parameters:
        name: the file's name, for messages.
        size: (width, height) in pixels as a person sees it, the EXIF orientation applied.
        has_alpha: whether some of it may be transparent.
        is_grey: whether it has no colours by its kind.
        is_deep: whether it has 16 bits a channel that :meth:`decode_deep` keeps.
    """

    def __init__(self, image: Image.Image, name: str) -> None:
        self._image = image
        self.name = name
        # Pillow turns TIFF itself, and HEIC is turned by its own boxes, which its EXIF only repeats.
        self._orientation = 1 if image.format in {"TIFF", "HEIF"} else _exif(image).get(_ORIENTATION, 1)
        self.size = image.size[::-1] if self._turned else image.size
        self.has_alpha = image.has_transparency_data
        self.is_grey = image.mode in {"1", "L", "LA"} or image.mode.startswith(("I", "F"))
        self.is_deep = _is_deep(image)

    @property
    def _turned(self) -> bool:
        return self._orientation in {5, 6, 7, 8}

    def exif(self) -> bytes:
        """The EXIF block without its orientation, which :meth:`decode` applies; empty when there is none that
        could be written again."""
        exif = _exif(self._image)
        exif.pop(_ORIENTATION, None)
        try:
            return exif.tobytes() if len(exif) else b""
        except Exception:
            return b""

    def iptc(self) -> dict[tuple[int, int], bytes | list[bytes]]:
        """The fields of its IPTC record, by (record, data set); those of a JPEG or a TIFF."""
        from PIL import ImageFile, IptcImagePlugin

        if not isinstance(self._image, ImageFile.ImageFile) or self._image.format not in {"JPEG", "TIFF"}:
            return {}
        with _reading(self.name):
            return dict(IptcImagePlugin.getiptcinfo(self._image) or {})

    @property
    def transfer(self) -> int | None:
        """How its codes stand for light, by ITU-T H.273 (16 is PQ, 18 HLG), where it has no profile but says that."""
        said = self._image.info.get("nclx_profile") or {}
        return None if self._image.info.get("icc_profile") else said.get("transfer_characteristics")

    def decode(self, at_least: tuple[int, int] | None = None, *, keep_profile: bool = False) -> Image.Image:
        """The pixels, upright, 8 bits a channel, ``RGB`` or, where :attr:`has_alpha`, ``RGBA`` (not premultiplied).

        Parameters:
            at_least: (width, height) that the caller will shrink the picture to; decoding may stop at a smaller size
                that is not below it on either side. JPEG is then decoded with a reduced DCT.
            keep_profile: leave the colours of an RGB picture in its ICC profile (in ``info["icc_profile"]``) instead
                of converting them to sRGB. Others are always converted.

        A profile that cannot be read, or is for another kind of picture, is taken as sRGB, as browsers do.

        Raises:
            UnreadablePicture: the file is damaged or truncated.
        """
        wanted = at_least[::-1] if at_least and self._turned else at_least
        with _reading(self.name):
            if wanted:
                self._image.draft(None, wanted)
            self._image.load()
            image = _shrunk(self._image, wanted)
            profile = self._image.info.get("icc_profile") or b""
            if not (keep_profile and image.mode in {"RGB", "RGBA"}):
                image, profile = _to_srgb(image, profile), b""
            image = _upright(image, self._orientation)
            image = image.copy() if image is self._image else image
        image.info = {"icc_profile": profile} if profile else {}
        return image

    @property
    def profile(self) -> bytes:
        """The ICC profile of the pixels as the file holds them; empty when there is none."""
        return self._image.info.get("icc_profile") or b""

    def decode_deep(self) -> NDArray[np.uint16] | None:
        """The pixels of a 16-bit picture, upright, in their own profile: ``(H, W)``, ``(H, W, 3)`` RGB or ``(H, W, 4)``
        RGBA; ``None`` when it is of a kind that OpenCV does not keep at 16 bits.

        Raises:
            UnreadablePicture: the file is damaged or truncated.
        """
        import cv2
        import numpy as np

        with _reading(self.name):
            # OpenCV turns TIFF itself, whatever it is told.
            orientation = 1 if self._image.format == "TIFF" else self._orientation
            # Pillow reads 16-bit colours as 8 bits, but it tells a damaged file from a whole one.
            self._image.load()
            data = np.fromfile(self._image.filename, np.uint8)  # type: ignore[attr-defined]
            pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is None or pixels.dtype != np.uint16:
            return None
        if pixels.ndim == 3:
            pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
        return np.ascontiguousarray(_turned(pixels, orientation))


@contextmanager
def open_picture(path: Path, limits: Limits = LIMITS) -> Iterator[Picture]:
    """Open a picture and check its header; the first frame of an animation.

    Raises:
        UnreadablePicture: it is empty, too long, has too many pixels, or is of no format that is read; the message
            is one sentence that names the file.
    """
    image = _open(path, limits)
    try:
        with _reading(path.name):
            picture = Picture(image, path.name)
        yield picture
    finally:
        image.close()


def taken_at(path: Path) -> datetime | None:
    """When the photo was taken by its camera's clock, from EXIF (DateTimeOriginal, else DateTime), without a zone.

    Only the header is read. None when it does not say, or is no picture.
    """
    try:
        with open_picture(path) as picture, _reading(path.name):
            exif = _exif(picture._image)
            text = exif.get_ifd(_EXIF_IFD).get(_DATE_TIME_ORIGINAL) or exif.get(_DATE_TIME)
            return datetime.strptime(str(text).strip("\0 ")[:19], "%Y:%m:%d %H:%M:%S") if text else None  # noqa: DTZ007
    except (UnreadablePicture, OSError, ValueError):
        return None


def ffmpeg_path() -> str:
    """The ffmpeg to run: ``MINIMOTO_FFMPEG``, else the system's where it has x264, else imageio-ffmpeg's.

    Raises:
        ConfigError: there is none, or ``MINIMOTO_FFMPEG`` names none.
    """
    return _find_ffmpeg(os.environ.get("MINIMOTO_FFMPEG", ""), os.environ.get("PATH", ""))


@functools.cache
def _find_ffmpeg(chosen: str, path: str) -> str:
    if chosen:
        found = shutil.which(chosen, path=path)
        if found is None:
            raise ConfigError(f"MINIMOTO_FFMPEG names no program that can be run: {chosen}")
        return found
    system = shutil.which("ffmpeg", path=path)
    if system is not None and _has_x264(system):
        return system
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        raise ConfigError("no ffmpeg with x264 was found; install ffmpeg or the package imageio-ffmpeg") from None


def _has_x264(ffmpeg: str) -> bool:
    listing = subprocess.run([ffmpeg, "-hide_banner", "-encoders"], capture_output=True, check=False, timeout=30)
    return b" libx264 " in listing.stdout


def _open(path: Path, limits: Limits) -> Image.Image:
    size = path.stat().st_size
    if size == 0:
        raise UnreadablePicture(f"{path.name}: the file is empty")
    if size > limits.bytes:
        raise UnreadablePicture(f"{path.name}: {size / 1e6:.0f} MB is over the limit of {limits.bytes / 1e6:.0f} MB")
    with path.open("rb") as file:
        head = file.read(12)
    heif = head[4:8] == b"ftyp"
    if not heif and not head.startswith(_MAGIC):
        raise UnreadablePicture(f"{path.name}: not a JPEG, PNG, WebP, TIFF, HEIC or GIF picture")
    with _reading(path.name):
        image = _open_heif(path) if heif else _open_with_pillow(path)
    width, height = image.size
    if width * height > limits.pixels:
        image.close()
        raise UnreadablePicture(
            f"{path.name}: {width}x{height} is {width * height / 1e6:.0f} megapixels,"
            f" over the limit of {limits.pixels / 1e6:.0f}"
        )
    return image


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises on hostile bytes into one sentence; its warnings are about details we accept."""
    from PIL import UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (UnreadablePicture, MemoryError, FileNotFoundError, PermissionError):
        raise
    except UnidentifiedImageError:
        raise UnreadablePicture(f"{name}: the picture's header is damaged") from None
    except Exception as error:
        if "truncated" in str(error).lower():
            raise UnreadablePicture(f"{name}: the file is cut short; part of the picture is missing") from error
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnreadablePicture(f"{name}: the picture is damaged ({why})") from error


def _open_with_pillow(path: Path, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    from PIL import Image

    # The limit of this module is checked right after, with a sentence of its own; Pillow's would warn or raise first.
    Image.MAX_IMAGE_PIXELS = None
    return Image.open(path, formats=formats)


def _open_heif(path: Path) -> Image.Image:
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
    return _open_with_pillow(path, (*FORMATS, "HEIF"))


def _exif(image: Image.Image) -> Image.Exif:
    """The EXIF block; an empty one when there is none, or none that can be read: the pixels may be fine."""
    from PIL import Image

    # Pillow would decode a whole PNG to find an EXIF block that follows the pixels.
    if image.format == "PNG" and "exif" not in image.info:
        return Image.Exif()
    try:
        return image.getexif()
    except Exception:
        return Image.Exif()


def _is_deep(image: Image.Image) -> bool:
    """Whether a PNG or a TIFF holds unsigned 16-bit grey or RGB; Pillow's mode does not say."""
    if image.format == "PNG":
        return "16" in str(image.tile[0][3])  # type: ignore[attr-defined]
    if image.format != "TIFF":
        return False
    tags = image.tag_v2  # type: ignore[attr-defined]
    return (
        set(tags.get(_BITS, ())) == {16}
        and set(tags.get(_SAMPLE_FORMAT, (1,))) == {1}
        and tags.get(_PHOTOMETRIC) in {1, 2}
    )


def _turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Array upright, by the number that EXIF and TIFF share (CIPA DC-008, 4.6.5, Orientation)."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.swapaxes(0, 1)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in {3, 4, 7, 8} else pixels


def _shrunk(image: Image.Image, at_least: tuple[int, int] | None) -> Image.Image:
    """``image`` as L, LA, RGB, RGBA or CMYK, averaged down by a whole factor, in bands that bound the memory."""
    from PIL import Image

    width, height = image.size
    factor = max(1, min(width // at_least[0], height // at_least[1])) if at_least else 1
    if factor == 1:
        return _plain(image)
    rows = max(factor, _BAND_PIXELS // width // factor * factor)
    out: Image.Image | None = None
    for top in range(0, height, rows):
        band = _plain(image.crop((0, top, width, min(height, top + rows)))).reduce(factor)
        out = out or Image.new(band.mode, (band.width, -(-height // factor)))
        out.paste(band, (0, top // factor))
    assert out is not None
    return out


def _plain(image: Image.Image) -> Image.Image:
    """``image`` at 8 bits a channel in one of the modes L, LA, RGB, RGBA, CMYK; 16 bits are scaled, not clipped."""
    if image.mode.startswith(("I", "F")):
        return _scaled_grey(image)
    if image.has_transparency_data and image.mode not in {"LA", "RGBA"}:
        return image.convert("LA" if image.mode in {"1", "L"} else "RGBA")
    if image.mode in {"L", "LA", "RGB", "RGBA", "CMYK"}:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _scaled_grey(image: Image.Image) -> Image.Image:
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0, neginf=0)
    # 16 bits are the full scale of integers; a float picture holds 0..1 unless it says otherwise by its values.
    white = 65535.0 if image.mode.startswith("I") else 1.0
    if values.max(initial=0) > white:
        white = float(values.max())
    return Image.fromarray(np.clip(values * (255 / white) + 0.5, 0, 255).astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    alpha = image.getchannel("A") if image.mode in {"LA", "RGBA"} else None
    colours = image if alpha is None else image.convert(image.mode[:-1])
    colours = _through_profile(colours, profile) if profile else colours
    colours = colours.convert("RGB")
    if alpha is not None:
        colours.putalpha(alpha)
    return colours


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    from PIL import ImageCms

    space = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}[image.mode]
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        return _converted(image, source, _srgb()) if _differs(source, space) else image
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def from_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An ``RGB`` picture in sRGB, in the colours of an ICC profile; as it is where the profile cannot be used."""
    from PIL import ImageCms

    try:
        target = ImageCms.ImageCmsProfile(BytesIO(profile))
        return _converted(image, _srgb(), target) if _differs(target, "RGB") else image
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def _differs(profile: ImageCms.ImageCmsProfile, space: str) -> bool:
    """Whether colours of a kind (``space``, by its ICC name) that have this profile are others in sRGB."""
    from PIL import ImageCms

    fits = profile.profile.xcolor_space.strip() == space
    return fits and "srgb" not in ImageCms.getProfileDescription(profile).lower()


def _converted(image: Image.Image, source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile) -> Image.Image:
    from PIL import ImageCms

    converted = ImageCms.profileToProfile(
        image,
        source,
        target,
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return converted or image


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image
