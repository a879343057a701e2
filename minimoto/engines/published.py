"""The published networks that enlarge photos: what each needs to be run in tiles, and how it is built.

``margin`` is exact: a result depends on no pixel of the photo farther away than that. Little comes from its outer part
in the deep networks, so that less will do where equality to the last bit is not asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from minimoto.errors import ModelMissing

if TYPE_CHECKING:
    from torch import nn

DENOISED = "realesr-general-x4v3"
NOISY = "realesr-general-wdn-x4v3"


@dataclass(frozen=True)
class Upscaler:
    """A published network.

    Parameters:
        model: as the registry names it.
        factor: how many times as wide and high the result is.
        margin: pixels of the photo around a tile that its result depends on.
        builder: ``module:function`` in this package.
        multiple: what width and height of a tile must be multiples of.
        denoises: whether :func:`denoise_weights` has a say.
    """

    model: str
    factor: int
    margin: int
    builder: str
    multiple: int = 1
    denoises: bool = False

    def build(self, path: Path) -> nn.Module:
        """The network, from its safetensors file; takes and gives ``(N, 3, H, W)``, RGB, 0..1, float32, not clipped.

        Raises:
            ModelMissing: the file is another network's.
        """
        module, _, function = self.builder.partition(":")
        build: Callable[[Path], nn.Module] = getattr(import_module(f"minimoto.engines.{module}"), function)
        return build(path)


def rdn_margin(c: int, d: int) -> int:
    """Two pixels before the blocks, one after them, 2 + 1 + 1 in the last part, and one at twice the size."""
    return 2 + c * d + 1 + 4 + 1


def rrdn_margin(c: int, d: int, t: int) -> int:
    """One before the blocks, one after them, one to shuffle, and one at four times the size."""
    return 1 + t * d * (c + 1) + 1 + 1 + 1


def rrdb_margin(blocks: int, fold: int = 1) -> int:
    """Fifteen a block, one before and one after, one at twice and three at four times the size."""
    return fold * math.ceil(1 + 15 * blocks + 1 + 1 / 2 + 3 / 4)


_ALL = (
    Upscaler("psnr-small", 2, rdn_margin(3, 10), "rdn:build_psnr_small"),
    Upscaler("psnr-large", 2, rdn_margin(6, 20), "rdn:build_psnr_large"),
    Upscaler("noise-cancel", 2, rdn_margin(6, 20), "rdn:build_noise_cancel"),
    Upscaler("gans", 4, rrdn_margin(4, 3, 10), "rrdn:build_gans"),
    Upscaler("realesrgan-x4plus", 4, rrdb_margin(23), "realesrgan:build_realesrgan_x4plus"),
    Upscaler("realesrgan-x2plus", 2, rrdb_margin(23, fold=2), "realesrgan:build_realesrgan_x2plus", multiple=2),
    Upscaler("realesrgan-x4plus-anime", 4, rrdb_margin(6), "realesrgan:build_realesrgan_x4plus_anime"),
    Upscaler("realesr-general-x4v3", 4, 34, "realesrgan:build_realesr_general_x4v3", denoises=True),
    Upscaler("realesr-general-wdn-x4v3", 4, 34, "realesrgan:build_realesr_general_x4v3"),
    Upscaler("realesr-animevideov3", 4, 18, "realesrgan:build_realesr_animevideov3"),
)

UPSCALERS: dict[str, Upscaler] = {upscaler.model: upscaler for upscaler in _ALL}
"""Every published upscaler by its model's name."""


def load_weights(make: Callable[[], nn.Module], path: Path) -> nn.Module:
    """A network with the weights of a safetensors file, ready to compute.

    Parameters:
        make: makes the network; its own first weights are never made.

    Raises:
        ModelMissing: the file is another network's, or none.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with torch.device("meta"):
        network = make()
    try:
        # Ours are kept in halves; numbers of batches are whole.
        stored = {name: t.float() if t.is_floating_point() else t for name, t in load_file(path).items()}
        network.load_state_dict(stored, assign=True)
    except (RuntimeError, OSError, SafetensorError) as error:
        raise ModelMissing(f"{path}: not the weights of this network: {' '.join(str(error).split())[:200]}") from error
    return network.eval().requires_grad_(False)


def denoise_weights(strength: float) -> Path:
    """Weights of ``realesr-general-x4v3`` that take away so much noise: 1 all of it, 0 as little as its twin.

    The weights of the two are interpolated (Wang et al. 2019, "Deep network interpolation", equation 3), in steps of a
    hundredth, and kept in the cache.

    Raises:
        ModelMissing: one of the two is not here.
        ValueError: the strength is not within 0..1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"denoise={strength:g}: 0 to 1")
    from safetensors.numpy import load_file, save

    from minimoto.engines.registry import model_path
    from minimoto.engines.registry_download import digest
    from minimoto.engines.registry_record import place
    from minimoto.engines.runtime_cache import cache_dir

    percent = round(100 * strength)
    if percent in (0, 100):
        return model_path(DENOISED if percent else NOISY)
    strong, weak = model_path(DENOISED), model_path(NOISY)
    made = f"{DENOISED}-{percent:02d}-{digest(strong)[:8]}-{digest(weak)[:8]}.safetensors"
    path = cache_dir() / "denoise" / made
    a, b = load_file(strong), load_file(weak)
    data = save({name: (percent * a[name] + (100 - percent) * b[name]) / 100 for name in a})
    # What lies there already is taken only if it is the very same: it is cheap to make, and was never checked.
    if not path.is_file() or path.read_bytes() != data:
        place(data, path)
    return path
