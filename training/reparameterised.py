"""The network of ``upscale`` as it is trained: each 3x3 kernel of the body is a sum of several, merged before use.

After ECBSR (Zhang et al., ACM MM 2021) with the branches added up as kernels instead of as feature maps, which costs
next to nothing and gives the same function: a 3x3, a 1x1 that widens followed by a 3x3, and the identity. The kernels
of all layers lie in one stack, ``(layers, out, 3, 3, in)``, so that one batched product merges them, and each layer's
is already laid out as a GPU's convolutions read it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from minimoto.engines.upscale_net import LINEAR_TAPS, UpscaleNet

SHARPNESS = -0.75
"""Of OpenCV's bicubic kernel, which the network's result is added to (Keys 1981, equation 8)."""
ALIGNED = 8
"""Channels that a GPU's matrix units take at once."""


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


class MergedStack(nn.Module):
    """The 3x3 convolutions of the body, of ``channels`` each, whose kernels are the sums of their branches."""

    identity: Tensor

    def __init__(self, layers: int, channels: int) -> None:
        """Start near the identity, so that a deep plain stack trains from the first step."""
        super().__init__()
        n = channels
        self.kernel = nn.Parameter(torch.randn(layers, n, 3, 3, n) * (0.3 / (9 * n) ** 0.5))
        self.widen = nn.Parameter(torch.randn(layers, 2 * n, n) * (0.5 / n**0.5))
        self.narrow = nn.Parameter(torch.randn(layers, n, 3, 3, 2 * n) * (0.5 / (18 * n) ** 0.5))
        self.bias = nn.Parameter(torch.zeros(layers, n))
        identity = torch.zeros(n, 3, 3, n)
        identity[:, 1, 1] = torch.eye(n)
        self.register_buffer("identity", identity, persistent=False)

    def merged(self) -> Tensor:
        """The kernels ``(layers, out, 3, 3, in)`` that do what the branches do."""
        layers, n = self.kernel.shape[:2]
        added = torch.baddbmm(self.kernel.view(layers, 9 * n, n), self.narrow.view(layers, 9 * n, 2 * n), self.widen)
        return added.view(layers, n, 3, 3, n) + self.identity


def _windows(padded: Tensor, side: int) -> Tensor:
    """Every window of ``(N, 1, h + side - 1, w + side - 1)``, as ``(N, h * w, side * side)``."""
    windows = padded.unfold(2, side, 1).unfold(3, side, 1)
    return windows.reshape(len(padded), -1, side * side)


def _single(windows: Tensor, weight: Tensor, bias: Tensor, height: int) -> Tensor:
    """A convolution of one channel by ``weight`` ``(out, 1, side, side)``, ``(N, out, height, w)``, channels last.

    As a product for each patch: a GPU's convolutions are slow with one channel, most of all their gradients.
    """
    matrix = weight.flatten(1).t().to(windows.dtype)
    done = torch.baddbmm(bias.to(windows.dtype), windows, matrix.expand(len(windows), -1, -1))
    return done.view(len(windows), height, -1, len(weight)).permute(0, 3, 1, 2)


class TrainedUpscaleNet(nn.Module):
    """``UpscaleNet`` with merged kernels in its body, which gives all of the enlarged luma while it is trained."""

    def __init__(self, factor: int, channels: int, layers: int) -> None:
        """Build with random weights in the body and a head that adds almost nothing."""
        super().__init__()
        plain = UpscaleNet(factor, channels, 0)
        self.linear, self.first, self.head, self.shuffle = plain.linear, plain.first, plain.head, plain.shuffle
        self.body = MergedStack(layers, channels)
        assert self.linear.bias is not None
        assert self.head.bias is not None
        with torch.no_grad():
            self.linear.weight.copy_(bicubic_taps(factor))
            self.linear.bias.zero_()
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()

    def forward(self, luma: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """The enlarged luma ``(N, 1, factor * h, factor * w)`` of ``(N, 1, h, w)``, both float32, 0..1.

        Parameters:
            dtype: what the stack is computed in; what it is added to stays in float32.
        """
        assert self.first.bias is not None
        assert self.head.bias is not None
        assert self.linear.bias is not None
        height, reach = luma.shape[2], LINEAR_TAPS // 2
        # 16 taps of which 9 count: a product with a depth of 9 would not be aligned.
        near = _windows(functional.pad(luma.to(dtype), (1, 2, 1, 2)), 4)
        first = functional.pad(self.first.weight, (0, 1, 0, 1))
        features = torch.relu(_single(near, first, self.first.bias, height))
        kernels, biases = self.body.merged().to(dtype), self.body.bias.to(dtype)
        for kernel, bias in zip(kernels.unbind(), biases.unbind(), strict=True):
            features = functional.conv2d(features, kernel.permute(0, 3, 1, 2), bias, padding=1).relu_()
        phases = self.head.out_channels
        spare = -phases % ALIGNED
        head = functional.pad(self.head.weight, (0, 0, 0, 0, 0, 0, 0, spare)).to(dtype)
        head = head.contiguous(memory_format=torch.channels_last)
        missed = functional.conv2d(features, head, functional.pad(self.head.bias, (0, spare)).to(dtype), padding=1)
        wide = _windows(functional.pad(luma, (reach, reach, reach, reach), mode="replicate"), LINEAR_TAPS)
        linear = _single(wide, self.linear.weight, self.linear.bias, height)
        enlarged: Tensor = self.shuffle(missed[:, :phases].float() + linear)
        return enlarged

    @torch.no_grad()
    def begin(self, shipped: Mapping[str, Tensor], factor: int) -> None:
        """Go on from the weights of :meth:`merged`, of as many channels and layers or fewer; the function is theirs.

        Layers that they lack leave features as they are. Channels that they lack begin at random and are read by
        nothing older than they are. What is wider begins at random, and what makes it narrow again at nothing.
        """
        body, count = self.body, sum(k.startswith("body.") and k.endswith(".bias") for k in shipped)
        old, linear = len(shipped["first.weight"]), self.linear
        self.first.weight[:old], self.first.bias[:old] = shipped["first.weight"], shipped["first.bias"]
        self.head.weight.zero_()
        self.head.weight[:, :old], self.head.bias[:] = shipped["head.weight"], shipped["head.bias"]
        linear.weight[:] = shipped["linear.weight"] + bicubic_taps(factor)
        linear.bias[:] = shipped["linear.bias"]
        body.narrow.zero_()
        body.bias.zero_()
        body.kernel[count:] = 0
        body.kernel[:, :old, :, :, old:] = 0
        for i in range(count):
            kernel = shipped[f"body.{i}.weight"].float().permute(0, 2, 3, 1)
            body.kernel[i, :old, :, :, :old] = kernel - body.identity[:old, :, :, :old].cpu()
            body.bias[i, :old] = shipped[f"body.{i}.bias"]

    @torch.no_grad()
    def merged(self, factor: int) -> UpscaleNet:
        """What it adds to bicubic enlargement as an ``UpscaleNet`` on the CPU, one kernel a layer."""
        plain = UpscaleNet(factor, self.first.out_channels, len(self.body.kernel))
        state = {k: v.detach().cpu() for k, v in self.state_dict().items() if not k.startswith("body.")}
        kernels = self.body.merged().permute(0, 1, 4, 2, 3).cpu().contiguous()
        for i, (kernel, bias) in enumerate(zip(kernels, self.body.bias.cpu(), strict=True)):
            state[f"body.{i}.weight"], state[f"body.{i}.bias"] = kernel, bias
        state["linear.weight"] = state["linear.weight"] - bicubic_taps(factor)
        plain.load_state_dict(state)
        return plain.eval()
