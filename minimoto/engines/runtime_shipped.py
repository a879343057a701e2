"""The networks whose weights are shipped with the package, and the making of their graphs.

    network = load_shipped("style.encoder", device)

After the weights or the code of a network changed: ``python -m minimoto.engines.runtime_shipped`` (needs torch).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from minimoto.engines import style_network
from minimoto.engines.runtime import CONVERTED, Network, Spec, load_spec
from minimoto.engines.runtime_device import Device

WEIGHTS = Path(__file__).parent / "weights"

_UPSCALE = "minimoto.engines.upscale_net:build_upscale"

SHIPPED = {
    spec.name: spec
    for spec in (
        *style_network.specs(WEIGHTS / "style.safetensors").values(),
        *(
            Spec(
                f"upscale{n}",
                f"{_UPSCALE}({n})",
                WEIGHTS / f"upscale{n}.safetensors",
                {"luma": (None, 1, None, None)},
                {"luma": (1, 1, 64, 64)},
            )
            for n in (2, 3, 4)
        ),
    )
}
"""Name to network."""


def load_shipped(name: str, device: Device | None = None) -> Network:
    """:func:`minimoto.engines.runtime.load` of a shipped network.

    Raises:
        KeyError: no such network is shipped.
        ConfigError: a library that is needed is not installed.
    """
    return load_spec(SHIPPED[name], device)


def main(names: Sequence[str] = ()) -> int:
    """Makes the graphs of the named networks, or of all whose weights are there."""
    from minimoto.engines.runtime_graph import write_graph
    from minimoto.engines.runtime_openvino import convert

    status = 0
    for spec in SHIPPED.values():
        if (names and spec.name not in names) or not spec.weights.is_file():
            continue
        graph = convert(spec.module(), spec.inputs, spec.probe())
        if graph.psnr <= CONVERTED:
            sys.stderr.write(f"{spec.name}: holds only {graph.psnr:.1f} dB to torch, not {CONVERTED:.0f}\n")
            status = 1
            continue
        file = write_graph(graph, spec.weights, spec.name)
        sys.stdout.write(f"{file.name}: {file.stat().st_size} bytes, {graph.psnr:.1f} dB to torch\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
