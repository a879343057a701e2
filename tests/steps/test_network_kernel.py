"""The compiled kernels of our own networks: each against torch, the whole of the ``fast`` style against it too."""

from __future__ import annotations

import logging
import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from style_weights import engine, weights  # noqa: F401

from minimoto.core.tiles import Box
from minimoto.engines import network_kernel, style_network
from minimoto.engines.compiled import library
from minimoto.engines.network_kernel import NOISE, Kernels
from minimoto.engines.network_kernel_layout import (
    PAINT,
    SQUARE,
    aligned,
    painting,
    panels,
    phases,
    squared,
    transformed,
)
from minimoto.engines.runtime_device import Device
from minimoto.engines.style import FastStyle, Look
from minimoto.engines.style_colour import ColourMap, statistics
from minimoto.engines.style_kernel_run import KernelNetwork
from minimoto.engines.style_seen import Seen, folded

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from minimoto.engines import style_net  # noqa: E402

Array = NDArray[np.float32]
CPU = Device("cpu", "any", "openvino", "fp32")
PADDING = {"zero": "constant", "mirror": "reflect", "repeat": "replicate"}
SIZES = [(2, 2), (5, 7), (6, 12), (13, 29)]
CHANCE = np.random.default_rng(5)


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    made = library(network_kernel.SOURCE, "nothing is tested", logging.getLogger("minimoto.runtime"))
    if made is None:
        pytest.skip("no C compiler here makes the kernels")
    return Kernels(made, 1)


def noise(*shape: int) -> Array:
    made = aligned(*shape)
    made[:] = CHANCE.standard_normal(shape, np.float32)
    return made


def there(features: Array) -> Tensor:
    return torch.from_numpy(features).permute(2, 0, 1)[None]


def back(tensor: Tensor) -> Array:
    return np.asarray(tensor[0].permute(1, 2, 0), np.float32)


def holds(found: NDArray[Any], wanted: NDArray[Any]) -> None:
    """To some 100 dB."""
    assert np.abs(found - wanted).max() < 3e-5 * np.abs(wanted).max()


def convolved(given: Tensor, weight: Array, edges: str = "zero", stride: int = 1) -> Tensor:
    padded = functional.pad(given, (1, 1, 1, 1), PADDING[edges])
    return functional.conv2d(padded, torch.from_numpy(weight), stride=stride)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("edges", PADDING)
@pytest.mark.parametrize("channels", [(32, 32), (64, 128)])
def test_a_convolution_is_torchs(
    kernels: Kernels, size: tuple[int, int], edges: str, channels: tuple[int, int]
) -> None:
    given, weight = noise(*size, channels[0]), noise(channels[1], channels[0], 3, 3)
    before, after = noise(2, channels[0]), noise(2, channels[1])
    out = aligned(*size, channels[1])
    sums = kernels.convolve(
        "plain", given, transformed(weight), after, out, edges=edges, before=before, counted=True, relu=True
    )
    normed = np.maximum(given * before[0] + before[1], 0)
    wanted = np.maximum(back(convolved(there(normed), weight, edges)) * after[0] + after[1], 0)
    holds(out, wanted)
    assert sums is not None
    np.testing.assert_allclose(sums[0], wanted.sum((0, 1)), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(sums[1], (wanted**2).sum((0, 1)), rtol=1e-4, atol=1e-2)


def test_a_convolution_of_some_rows_is_that_of_these(kernels: Kernels) -> None:
    given, weight, after = noise(21, 9, 32), noise(32, 32, 3, 3), noise(2, 32)
    whole, part = aligned(21, 9, 32), aligned(8, 9, 32)
    for out, rows in ((whole, None), (part, (5, 8))):
        kernels.convolve("plain", given, transformed(weight), after, out, edges="mirror", rows=rows)
    assert whole.min() < 0
    holds(part, whole[5:13])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("added", [False, True])
def test_a_convolution_of_what_is_enlarged_is_torchs_but_at_the_edges(
    kernels: Kernels, size: tuple[int, int], added: bool
) -> None:
    given, weight, after = noise(*size, 64), noise(32, 64, 3, 3), noise(2, 32)
    out = noise(2 * size[0], 2 * size[1], 32)
    large = style_net.enlarged(there(given))
    wanted = back(convolved(large, weight)) * after[0] + after[1] + (out if added else 0)
    four = transformed(phases(weight).reshape(128, 64, 3, 3))
    kernels.convolve("added" if added else "enlarged", given, four, after, out, edges="repeat")
    holds(out[1:-1, 1:-1], wanted[1:-1, 1:-1])


@pytest.mark.parametrize("size", SIZES)
def test_what_is_painted_is_torchs_to_half_a_level(kernels: Kernels, size: tuple[int, int]) -> None:
    given, weight, bias = noise(*size, 32), noise(3, 32, 3, 3) / 20, noise(3) / 5
    palette = np.concatenate([noise(3, 3), np.full((3, 1), 0.5, np.float32)], 1)
    made, after = painting(weight, bias, palette)
    out = np.zeros((2 * size[0], 2 * size[1], 3), np.uint8)
    kernels.convolve("painted", given, made, after, out, edges="repeat")
    assert after.shape == (2, PAINT)
    plain = back(convolved(style_net.enlarged(there(given)), weight)) + bias
    wanted = np.clip((plain @ palette[:, :3].T + palette[:, 3]) * 255, 0, 255)
    assert 0 < wanted.mean() < 255
    assert np.abs(out - wanted)[1:-1, 1:-1].max() <= 0.501


@pytest.mark.parametrize("size", [(2, 2), (6, 10), (14, 78)])
def test_a_convolution_to_half_the_size_is_torchs(kernels: Kernels, size: tuple[int, int]) -> None:
    given, weight, after = noise(*size, 32), noise(64, 32, 3, 3), noise(2, 64)
    out = aligned(size[0] // 2, size[1] // 2, 64)
    matrix = panels(weight.transpose(2, 3, 1, 0).reshape(-1, 64))
    kernels.halved(given, matrix, after, out)
    wanted = np.maximum(back(convolved(there(given), weight, stride=2)) * after[0] + after[1], 0)
    holds(out, wanted)
    kernels.halved(given[1:], matrix, after, out[1:], 1)
    holds(out, wanted)


@pytest.mark.parametrize("size", [(2, 2), (6, 10), (14, 78)])
def test_the_network_sees_squares_of_mapped_pixels(kernels: Kernels, size: tuple[int, int]) -> None:
    photo = picture(40, 30)
    mapped, without = ColourMap(noise(3, 3) / 2, noise(3) / 2), ColourMap(noise(3, 3), noise(3))
    seen = Seen(photo, mapped, without, 2)
    box = Box(0, 4, size[1], 4 + size[0])
    wanted = functional.pixel_unshuffle(torch.from_numpy(seen(box)), 2)
    out = aligned(size[0] // 2, size[1] // 2, SQUARE)
    maps = np.stack(
        [np.column_stack([mapped.matrix / 255, mapped.offset]), np.column_stack([without.matrix, without.offset])]
    )
    kernels.seen(photo, (folded(4, 4 + size[0], 30), folded(0, size[1], 40)), maps.astype(np.float32), out)
    holds(out[..., :12], back(wanted))
    assert not out[..., 12:].any()
    weight = noise(32, 12, 3, 3)
    assert squared(weight).shape == (32, SQUARE, 3, 3)
    np.testing.assert_array_equal(squared(weight)[:, :12], weight)


def test_features_are_mixed_and_summed_in_place(kernels: Kernels) -> None:
    features, matrix, grain, after = noise(7, 31, 64), noise(64 + NOISE + 1, 64), noise(1, NOISE, 7, 31), noise(2, 64)
    rows = np.concatenate([features, grain[0].transpose(1, 2, 0), np.ones((7, 31, 1), np.float32)], 2)
    kernels.mixed(features, panels(matrix), grain)
    holds(features, rows @ matrix)
    more = noise(7, 31, 64)
    wanted = features + more * after[0] + after[1]
    kernels.summed(features, more, after)
    holds(features, wanted)


@pytest.fixture(scope="module")
def compiled(kernels: Kernels, weights: Path) -> KernelNetwork:  # noqa: F811
    return KernelNetwork(kernels, weights)


@pytest.fixture
def kernel_engine(engine: FastStyle, compiled: KernelNetwork) -> Iterator[FastStyle]:  # noqa: F811
    """The engine of the other tests, whose style pictures torch looks at, painting by the kernels."""
    networks = engine._networks
    networks.__dict__["compiled"] = compiled
    yield engine
    networks.__dict__["compiled"] = None


@pytest.fixture(scope="module")
def look(engine: FastStyle) -> Look:  # noqa: F811
    return engine.look([picture(300, 260, 7)])


def picture(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    chance = np.random.default_rng(seed)
    shades = np.indices((height, width)).sum(0)[..., None] * np.array([3, 2, 1]) % 256
    return (shades * 0.7 + chance.integers(0, 77, (height, width, 3))).astype(np.uint8)


def painted(engine: FastStyle, network: KernelNetwork | None, photo: Any, look: Look) -> Any:  # noqa: F811
    engine._networks.__dict__["compiled"] = network
    return engine.apply(photo, look)


@pytest.mark.usefixtures("kernel_engine")
@pytest.mark.parametrize("size", [(1, 1), (3, 50), (97, 64), (233, 201)])
def test_photos_of_any_size_are_painted_as_by_torch(
    engine: FastStyle,  # noqa: F811
    compiled: KernelNetwork,
    look: Look,
    size: tuple[int, int],
) -> None:
    photo = picture(*size)
    one, other = (painted(engine, network, photo, look).astype(int) for network in (compiled, None))
    assert np.abs(one - other).max() <= 1
    # 80 dB and more.
    assert (one != other).mean() < 6e-4


@pytest.mark.usefixtures("kernel_engine")
@given(width=st.integers(1, 70), height=st.integers(1, 70), band=st.sampled_from([1, 2000]))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bands_and_threads_change_nothing_but_rounding(
    engine: FastStyle,  # noqa: F811
    compiled: KernelNetwork,
    look: Look,
    width: int,
    height: int,
    band: int,
) -> None:
    photo = picture(width, height, 3)
    whole = painted(engine, compiled, photo, look)
    banded = painted(engine, replace(compiled, band=band), photo, look)
    several = replace(compiled, kernels=Kernels(compiled.kernels._library, 3))
    first, again = (painted(engine, several, photo, look) for _ in range(2))
    assert np.array_equal(first, again)
    for other in (banded, first):
        assert np.abs(other.astype(int) - whole).max() <= 1
        assert (other != whole).sum() <= max(2, 6e-4 * whole.size)


def test_the_kernels_tell_how_far_they_are_and_can_be_stopped(kernel_engine: FastStyle, look: Look) -> None:
    seen: list[float] = []
    kernel_engine.apply(picture(100, 90), look, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1

    def stop(done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kernel_engine.apply(picture(100, 90), look, progress=stop)


def test_large_photos_need_little_more_than_their_features(kernel_engine: FastStyle, look: Look) -> None:
    photo = picture(1100, 900)
    own = statistics(photo)
    kernel_engine.apply(photo, look, own=own)
    tracemalloc.start()
    kernel_engine.apply(photo, look, own=own)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 16 bytes a pixel of features at a quarter of the size, three times 8 at an eighth, noise, the result; a band.
    assert peak < 50 * photo.shape[0] * photo.shape[1] + 20_000_000


MADE = Kernels.__new__(Kernels)
BF16 = replace(CPU, precision="bf16")


@pytest.mark.parametrize(
    ("device", "flags", "found", "said"),
    [
        (CPU, "avx avx2 fma", MADE, ""),
        (BF16, "avx2 fma avx512f avx512_bf16", MADE, ""),
        (BF16, "avx2 fma avx512f avx512_bf16 amx_bf16", None, "run by openvino, bf16"),
        (CPU, "sse4_2 avx", None, "no AVX2, so OpenVINO runs"),
        (CPU, "", None, "no AVX2, so OpenVINO runs"),
        (replace(CPU, backend="torch"), "avx2 fma", None, "run by torch, fp32"),
        (Device("cuda", "any", "torch", "fp16"), "avx2 fma", None, "run by torch, fp16"),
    ],
)
def test_kernels_paint_where_they_are_the_fastest(
    device: Device,
    flags: str,
    found: Kernels | None,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    weights: Path,  # noqa: F811
) -> None:
    monkeypatch.setattr(network_kernel, "cpu_flags", lambda: flags)
    monkeypatch.setattr(network_kernel, "compiled_kernels", lambda threads: MADE)
    with caplog.at_level(logging.INFO):
        assert network_kernel.kernels(device) is found
    assert said in caplog.text
    made = style_network.Networks(weights, device).compiled
    assert (made.kernels if made else None) is found


@pytest.mark.parametrize("compiler", ["", "/bin/false"])
def test_without_a_compiler_that_works_openvino_paints(
    compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MINIMOTO_CACHE", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name: compiler or None)
    assert network_kernel.compiled_kernels.__wrapped__(1) is None
    assert "so OpenVINO runs our own networks, more slowly" in caplog.text


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_every_compiler_makes_kernels_that_hold(compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler} here")
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("MINIMOTO_CACHE", str(tmp_path))
    made = library(network_kernel.SOURCE, "nothing is tested", logging.getLogger("minimoto.runtime"))
    assert made is not None
    given, weight, after, out = noise(13, 9, 32), noise(32, 32, 3, 3), noise(2, 32), aligned(13, 9, 32)
    Kernels(made, 1).convolve("plain", given, transformed(weight), after, out, edges="zero")
    holds(out, back(convolved(there(given), weight)) * after[0] + after[1])
