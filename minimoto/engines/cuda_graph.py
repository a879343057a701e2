"""Work on a GPU of NVIDIA as a CUDA graph: all of its kernels are started at once, by one call of the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Result = TypeVar("Result")
WARM = 3
"""Times that work is done before it is captured: libraries choose their algorithms in them."""


class Captured(Generic[Result]):
    """Work that is done again and again with the same tensors; what changes is written into these.

    Source: PyTorch, CUDA semantics, "CUDA Graphs": warm up on a side stream, then capture.

    Parameters:
        work: starts kernels on the current stream and asks the device for nothing; not done by capturing it.
        warm: times that it is done before.

    Raises:
        RuntimeError: it cannot be captured. It was done ``warm`` times all the same.
    """

    def __init__(self, work: Callable[[], Result], warm: int = WARM) -> None:
        current, aside = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(warm):
                work()
        current.wait_stream(aside)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(self._graph):
                self._result = work()
        except RuntimeError:
            # What failed leaves its own stream behind as the current one.
            torch.cuda.set_stream(current)
            raise

    def __call__(self) -> Result:
        """Starts the work; returns what it gave when it was captured, tensors that each call writes over."""
        self._graph.replay()
        return self._result
