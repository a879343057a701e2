"""The pictures that strangers send, made on the spot."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]


def plain(path: Path, colour: Colour, size: tuple[int, int] = (160, 90)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def gradient(size: tuple[int, int]) -> Image.Image:
    """Red grows to the right, green downwards."""
    x = np.linspace(0, 255, size[0])[None, :].repeat(size[1], 0)
    y = np.linspace(0, 255, size[1])[:, None].repeat(size[0], 1)
    return Image.fromarray(np.stack([x, y, np.full_like(x, 60)], -1).astype(np.uint8))


def grain(path: Path, size: tuple[int, int] = (160, 120), **options: object) -> Path:
    pixels = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def portrait(folder: Path) -> Path:
    return plain(folder / "portrait.jpg", (200, 40, 40), (90, 160))


def panorama(folder: Path) -> Path:
    return plain(folder / "panorama.jpg", (40, 200, 40), (1200, 90))


def transparent(folder: Path) -> Path:
    image = Image.new("RGBA", (120, 120), (0, 0, 0, 0))
    image.paste((250, 200, 0, 255), (30, 30, 90, 90))
    image.save(folder / "transparent.png")
    return folder / "transparent.png"


def sixteen_bit(folder: Path) -> Path:
    ramp = np.linspace(0, 65535, 160).astype(np.uint16)[None, :].repeat(90, 0)
    Image.fromarray(ramp).save(folder / "sixteen.png")
    return folder / "sixteen.png"


def cmyk(folder: Path) -> Path:
    Image.new("CMYK", (160, 90), (255, 0, 0, 0)).save(folder / "cmyk.jpg")
    return folder / "cmyk.jpg"


def animated(folder: Path) -> Path:
    frames = [Image.new("RGB", (160, 90), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    return folder / "animated.gif"


def one_pixel(folder: Path) -> Path:
    return plain(folder / "pixel.png", (120, 60, 180), (1, 1))


def truncated(folder: Path) -> Path:
    path = grain(folder / "truncated.jpg")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


def text(folder: Path) -> Path:
    path = folder / "notes.jpg"
    path.write_text("These are not the pixels you are looking for.")
    return path


def bomb(folder: Path) -> Path:
    """A valid PNG of 300 megapixels in a few kilobytes."""
    header = struct.pack(">IIBBBBB", 20000, 15000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((20000 // 8 + 1) * 15000), 1)
    path = folder / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b""))
    return path


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
