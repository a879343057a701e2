"""The network of ``upscale`` as it is trained: each 3x3 kernel of the body is a sum of several, merged before use.

After ECBSR (Zhang et al., ACM MM 2021) with the branches added up as kernels instead of as feature maps, which costs
next to nothing and gives the same function: a 3x3, a 1x1 that widens followed by a 3x3, and the identity.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from minimoto.engines.upscale_net import LINEAR_TAPS, UpscaleNet

SHARPNESS = -0.75
"""Of OpenCV's bicubic kernel, which the network's result is added to (Keys 1981, equation 8)."""


def bicubic_taps(factor: int) -> Tensor:
    """The kernels ``(factor^2, 1, 5, 5)`` that are ``cv2.resize`` with ``INTER_CUBIC`` after a pixel shuffle."""

    def weight(distance: float) -> float:
        x, a = abs(distance), SHARPNESS
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0

    reach = LINEAR_TAPS // 2
    rows = torch.tensor(
        [[weight(tap - ((phase + 0.5) / factor - 0.5)) for tap in range(-reach, reach + 1)] for phase in range(factor)]
    )
    return torch.einsum("ai,bj->abij", rows, rows).reshape(factor * factor, 1, LINEAR_TAPS, LINEAR_TAPS)


class MergedConv(nn.Module):
    """A 3x3 convolution of ``channels`` whose kernel is the sum of its branches."""

    def __init__(self, channels: int) -> None:
        """Start near the identity, so that a deep plain stack trains from the first step."""
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(channels, channels, 3, 3) * (0.3 / (9 * channels) ** 0.5))
        self.widen = nn.Parameter(torch.randn(2 * channels, channels) * (0.5 / channels**0.5))
        self.narrow = nn.Parameter(torch.randn(channels, 2 * channels, 3, 3) * (0.5 / (18 * channels) ** 0.5))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer(
            "identity", functional.pad(torch.eye(channels)[:, :, None, None], (1, 1, 1, 1)), persistent=False
        )

    def merged(self) -> Tensor:
        """The one kernel ``(channels, channels, 3, 3)`` that does what the branches do."""
        kernel: Tensor = self.kernel + torch.einsum("omyx,mi->oiyx", self.narrow, self.widen)
        return kernel + self.identity

    def forward(self, features: Tensor) -> Tensor:
        """``(N, channels, h, w)`` to the same."""
        return functional.conv2d(features, self.merged(), self.bias, padding=1)


class TrainedUpscaleNet(UpscaleNet):
    """``UpscaleNet`` with merged kernels in its body, which gives all of the enlarged luma while it is trained."""

    def __init__(self, factor: int, channels: int, layers: int) -> None:
        """Build with random weights in the body and a head that adds almost nothing."""
        super().__init__(factor, channels, layers)
        self.body = nn.ModuleList(MergedConv(channels) for _ in range(layers))
        assert self.linear.bias is not None
        assert self.head.bias is not None
        with torch.no_grad():
            self.linear.weight.copy_(bicubic_taps(factor))
            self.linear.bias.zero_()
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()

    def forward(self, luma: Tensor) -> Tensor:
        """The enlarged luma; what the stack adds may be computed in half precision (autocast), the sum may not."""
        features = torch.relu(self.first(luma))
        for layer in self.body:
            features = torch.relu(layer(features))
        missed = self.head(features).float()
        with torch.autocast(luma.device.type, enabled=False):
            enlarged: Tensor = self.shuffle(missed + self.linear(luma))
        return enlarged

    def merged(self, factor: int) -> UpscaleNet:
        """What it adds to bicubic enlargement as an ``UpscaleNet``, one kernel a layer."""
        plain = UpscaleNet(factor, self.first.out_channels, len(self.body))
        state = {k: v for k, v in self.state_dict().items() if not k.startswith("body.")}
        for i, layer in enumerate(self.body):
            assert isinstance(layer, MergedConv)
            state[f"body.{i}.weight"] = layer.merged().detach()
            state[f"body.{i}.bias"] = layer.bias.detach()
        state["linear.weight"] = state["linear.weight"] - bicubic_taps(factor)
        plain.load_state_dict(state)
        return plain.eval()
