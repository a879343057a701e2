"""Styling by optimisation: the picture itself is changed until its features have the photo's content and the style.

Source: Gatys, Ecker and Bethge 2016, "Image style transfer using convolutional neural networks".
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from minimoto.engines.runtime_device import NO_TORCH, choose_device
from minimoto.engines.style_optimise_settings import Iteration, Model, OptimiseOptions, Pooling
from minimoto.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from minimoto.engines.runtime_device import Device
    from minimoto.engines.style_objective import Features
    from minimoto.engines.vgg import Vgg

    Network = tuple[Vgg, Features]

__all__ = ["Iteration", "OptimiseOptions", "stylise"]

# The network's memory is that of one picture, and one picture keeps all processors busy.
_ONE_AT_A_TIME = threading.Lock()


def stylise(
    photo: NDArray[np.float32],
    styles: Sequence[NDArray[np.float32]],
    options: OptimiseOptions | None = None,
    progress: Callable[[Iteration], None] | None = None,
    *,
    mask: NDArray[np.float32] | None = None,
    init_image: NDArray[np.float32] | None = None,
    weights: Path | None = None,
    device: Device | None = None,
) -> NDArray[np.float32]:
    """Style ``photo`` like ``styles``.

    Parameters:
        photo: (H, W, 3), RGB, 0..1, float32; so is each of ``styles``, at any size.
        progress: told of every iteration; what it raises ends the work and passes through.
        mask: (H, W), 0..1: where the result is seen; the photo stays elsewhere. Scaled to the result.
        init_image: started from instead of the photo where ``options.init`` is ``image``.
        weights: safetensors of the network; else the registry's file of ``options.model``.
        device: where to work; else chosen by :func:`minimoto.engines.runtime.choose_device`.

    Returns:
        (h, w, 3), RGB, 0..1, float32; the longer side is ``options.image_size``, if the photo's is not shorter.

    Raises:
        InvalidInput: arrays of a wrong shape, or not one blend weight for each style.
        ModelMissing: the network's weights are not there.
        ConfigError: torch is not installed.
    """
    if find_spec("torch") is None:
        raise ConfigError(f"style, mode=optimise: {NO_TORCH}")
    from minimoto.engines.style_scales import stylise_with

    options = options or OptimiseOptions()
    if weights is None:
        from minimoto.engines.registry import model_path

        weights = model_path(options.model)
    with _ONE_AT_A_TIME:
        layers = tuple(sorted({*options.content_layers, *options.style_layers}))
        vgg, features = _network(weights, options.model, layers, options.pooling, device or choose_device())
        return stylise_with(features, vgg, photo, styles, options, progress, mask=mask, init_image=init_image)


@functools.lru_cache(maxsize=1)
def _network(weights: Path, model: Model, layers: tuple[str, ...], pooling: Pooling, device: Device) -> Network:
    """The network and the way to its features, kept for the next photo."""
    from minimoto.engines.style_scales import features_on
    from minimoto.engines.vgg import load_vgg

    vgg = load_vgg(weights, model).until(layers)
    features = features_on(vgg, layers, pooling, device)
    return vgg.outline(), features
