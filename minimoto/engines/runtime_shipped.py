"""The networks whose weights are shipped with the package, and the making of their graphs.

    network = load_shipped("style.encoder", device)

After the weights or the code of a network changed: ``python -m minimoto.engines.runtime_shipped`` (needs torch).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from minimoto.engines.runtime import CONVERTED, Network, Spec, load
from minimoto.engines.runtime_device import Device

WEIGHTS = Path(__file__).parent / "weights"

_STYLE = "minimoto.engines.style_net"
_UPSCALE = "minimoto.engines.upscale_net:build_upscale"


def _style() -> tuple[Spec, ...]:
    file = WEIGHTS / "style.safetensors"
    features, vector = (1, 48, None, None), (1, 192)
    return (
        Spec("style.style_encoder", f"{_STYLE}:build_style_encoder", file, {"style": (1, 3, 256, 256)}),
        Spec("style.encoder", f"{_STYLE}:build_encoder", file, {"photo": (1, 3, None, None)}),
        Spec("style.trunk", f"{_STYLE}:build_trunk", file, {"features": features, "style": vector}),
        Spec(
            "style.decoder",
            f"{_STYLE}:build_decoder",
            file,
            {"features": features, "photo": (1, 3, None, None), "style": vector},
            # The photo is four times the size of its features.
            {"features": (1, 48, 16, 16), "photo": (1, 3, 64, 64)},
        ),
    )


SHIPPED = {
    spec.name: spec
    for spec in (
        *_style(),
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
    spec = SHIPPED[name]
    return load(spec.name, spec.build, spec.weights, spec.inputs, device, example=spec.example)


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
