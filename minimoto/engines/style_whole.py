"""The loss of a whole picture and its gradient on a GPU of NVIDIA, as one CUDA graph: nothing waits for the host.

The same sum of losses as :class:`minimoto.engines.style_objective.Objective`'s, from features that are bfloat16: Gram
matrices are summed in float32, what pulls on features is rounded to bfloat16 as the gradient is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from minimoto.engines.cuda_graph import Captured
from minimoto.engines.gpu_products import products
from minimoto.engines.style_optimise_settings import OptimiseOptions
from minimoto.engines.vgg import LEVELS
from minimoto.engines.vgg_cuda import CudaFeatures

log = logging.getLogger("minimoto.style")

USED = True
"""Whether whole pictures are evaluated so."""
GRAPHED = True
"""Whether as a CUDA graph."""
_WARM = 2
_SQUARE = LEVELS * LEVELS


class WholeEvaluation:
    """Loss and gradient at pictures of one size.

    Parameters:
        features: of the layers that ``options`` name.
        style: the normalised Gram matrices that are aimed at, by layer.
        content: the features that are aimed at, by layer: (h, w, channels), float32.
    """

    def __init__(
        self,
        features: CudaFeatures,
        options: OptimiseOptions,
        style: Mapping[str, Tensor],
        content: Mapping[str, Tensor],
    ) -> None:
        self._features, self._options, self._style = features, options, style
        kind = features.precision
        self._content = {
            name: (aim / LEVELS).to(kind).permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)
            for name, aim in content.items()
        }
        self._pixels: Tensor | None = None
        self._graph: Captured[tuple[Tensor, Tensor]] | None = None

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Content, style and total variation, weighted, ``(3,)``, and the gradient, as ``pixels``, (H, W, 3).

        The losses are written over by the next call.
        """
        with torch.no_grad():
            if not (GRAPHED and pixels.is_cuda):
                return self._found(pixels.contiguous())
            if self._pixels is None:
                self._capture(pixels)
            assert self._pixels is not None
            self._pixels.copy_(pixels)
            losses, gradient = self._graph() if self._graph else self._found(self._pixels)
            return losses, gradient.clone()

    def _capture(self, pixels: Tensor) -> None:
        given = self._pixels = pixels.clone(memory_format=torch.contiguous_format)
        try:
            self._graph = Captured(lambda: self._found(given), _WARM)
        except RuntimeError as error:
            log.warning("optimise: no CUDA graph, so kernels are started one by one, more slowly: %s", error)

    def _found(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        losses: dict[str, list[Tensor]] = {"content": [], "style": []}

        def pulled(name: str, found: Tensor, gradient: Tensor | None) -> Tensor | None:
            if name in self._content:
                gradient, loss = self._content_pulled(name, found, gradient)
                losses["content"].append(loss)
            if name in self._style:
                gradient, loss = self._style_pulled(name, found, gradient)
                losses["style"].append(loss)
            return gradient

        back = self._features.back(self._features.steps(pixels), pulled)
        none = torch.zeros((), device=pixels.device)
        content, style = (torch.stack(losses[kind]).sum() if losses[kind] else none for kind in ("content", "style"))
        gradient, tv = self._features.varied(back, pixels, self._options.tv_weight)
        return torch.stack([content, style, tv]), gradient

    def _content_pulled(self, name: str, found: Tensor, gradient: Tensor | None) -> tuple[Tensor, Tensor]:
        scale = self._options.content_weight * _SQUARE / found.numel()
        apart = found - self._content[name]
        loss = torch.linalg.vector_norm(apart, dtype=torch.float32).square() * scale
        own = apart * (2 * scale) if gradient is None else gradient.add(apart, alpha=2 * scale)
        return own, loss

    def _style_pulled(self, name: str, found: Tensor, gradient: Tensor | None) -> tuple[Tensor, Tensor]:
        channels, height, width = found.shape[1:]
        count, weight = found.numel(), self._options.style_weight / (channels * channels)
        flat = found.permute(0, 2, 3, 1).reshape(-1, channels)
        apart = torch.sub(products(flat) * (_SQUARE / count), self._style[name])
        loss = torch.linalg.vector_norm(apart).square() * weight
        matrix = (apart * (4 * weight * _SQUARE / count)).to(found.dtype)
        if gradient is None:
            own = flat @ matrix
        else:
            own = torch.addmm(gradient.permute(0, 2, 3, 1).reshape(-1, channels), flat, matrix)
        return own.view(1, height, width, channels).permute(0, 3, 1, 2), loss
