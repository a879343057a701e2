"""The tensors that each published model's file must hold: names as its network in this package has them, and shapes.

Order is that of the forward pass, in which ncnn's files, which have no names, hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Layout = dict[str, tuple[int, ...]]
"""A tensor's name to its shape; convolutions are (out, in, height, width)."""

_VGG_CHANNELS = (64, 128, 256, 512, 512)
_FEATURES, _GROWTH = 64, 32


def vgg(convolutions: tuple[int, ...]) -> Layout:
    """The convolutions of VGG (Simonyan and Zisserman 2014, table 1, D and E) as torchvision numbers them.

    Parameters:
        convolutions: how many before each of the five poolings.
    """
    layout: Layout = {}
    number, before = 0, 3
    for count, channels in zip(convolutions, _VGG_CHANNELS, strict=True):
        for _ in range(count):
            layout |= _convolution(f"features.{number}", before, channels)
            number, before = number + 2, channels
        number += 1
    return layout


def rrdbnet(blocks: int, inputs: int = 3) -> Layout:
    """ESRGAN's generator (Wang et al. 2018, section 3.1), by the names of its authors' files.

    Parameters:
        inputs: channels that go in: 3, or 12 where the picture was folded by two.
    """
    layout = _convolution("conv_first", inputs, _FEATURES)
    for block in range(blocks):
        for dense in (1, 2, 3):
            for k in range(5):
                name = f"body.{block}.rdb{dense}.conv{k + 1}"
                layout |= _convolution(name, _FEATURES + k * _GROWTH, _GROWTH if k < 4 else _FEATURES)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        layout |= _convolution(name, _FEATURES, _FEATURES)
    return layout | _convolution("conv_last", _FEATURES, 3)


def compact(convolutions: int, factor: int = 4) -> Layout:
    """Real-ESRGAN's compact network: convolutions with learnt rectifiers between them."""
    layout: Layout = {}
    for number in range(convolutions + 1):
        layout |= _convolution(f"body.{2 * number}", _FEATURES if number else 3, _FEATURES)
        layout[f"body.{2 * number + 1}.weight"] = (_FEATURES,)
    return layout | _convolution(f"body.{2 * convolutions + 2}", _FEATURES, 3 * factor**2)


def rdn(c: int, d: int, g: int = 64, g0: int = 64, factor: int = 2) -> Layout:
    """idealo's residual dense network, with the letters of Zhang et al. 2018, section 3."""
    layout = _convolution("shallow.0", 3, g0) | _convolution("shallow.1", g0, g0)
    for block in range(d):
        for k in range(c):
            layout |= _convolution(f"blocks.{block}.dense.{k}", g0 + k * g, g)
        layout |= _convolution(f"blocks.{block}.fuse", g0 + c * g, g0, 1)
    layout |= _convolution("fuse.0", d * g0, g0, 1) | _convolution("fuse.1", g0, g0)
    channels = 3 * factor**2
    layout |= _convolution("up.0", g0, 64, 5) | _convolution("up.1", 64, 32) | _convolution("up.2", 32, channels)
    return layout | _convolution("last", channels, 3)


def rrdn(c: int, d: int, t: int, g: int = 32, g0: int = 32, factor: int = 4) -> Layout:
    """idealo's residual-in-residual dense network: ``t`` blocks of ``d`` dense blocks of ``c`` convolutions."""
    layout = _convolution("first", 3, g0)
    for block in range(t):
        for dense in range(d):
            for k in range(c):
                layout |= _convolution(f"blocks.{block}.{dense}.dense.{k}", g0 + k * g, g)
            layout |= _convolution(f"blocks.{block}.{dense}.fuse", g0 + c * g, g0)
    layout |= _convolution("post", g0, g0) | _convolution("up", g0, 3 * factor**2)
    return layout | _convolution("last", 3, 3)


LAYOUTS: dict[str, Callable[[], Layout]] = {
    "vgg16": lambda: vgg((2, 2, 3, 3, 3)),
    "vgg19": lambda: vgg((2, 2, 4, 4, 4)),
    "psnr-small": lambda: rdn(3, 10),
    "psnr-large": lambda: rdn(6, 20),
    "noise-cancel": lambda: rdn(6, 20),
    "gans": lambda: rrdn(4, 3, 10),
    "realesrgan-x4plus": lambda: rrdbnet(23),
    "realesrgan-x2plus": lambda: rrdbnet(23, inputs=12),
    "realesrgan-x4plus-anime": lambda: rrdbnet(6),
    "realesr-general-x4v3": lambda: compact(32),
    "realesr-general-wdn-x4v3": lambda: compact(32),
    "realesr-animevideov3": lambda: compact(16),
}
"""The layout of each published model."""


def modules(layout: Layout) -> Iterator[str]:
    """The names of the layers of a layout, in order, each once."""
    return iter(dict.fromkeys(name.rpartition(".")[0] for name in layout))


def _convolution(name: str, inputs: int, outputs: int, kernel: int = 3) -> Layout:
    return {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}
