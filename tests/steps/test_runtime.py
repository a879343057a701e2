"""Networks on this machine's CPU: OpenVINO held to torch, cached, and torch where OpenVINO is not."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import runtime_nets
import torch
from numpy.typing import NDArray

from minimoto.engines import runtime, runtime_openvino, runtime_spec
from minimoto.engines.runtime import Device, load
from minimoto.engines.runtime_check import least_psnr
from minimoto.errors import ConfigError

HERE = Path(__file__).parent
CPU = Device("cpu", "test", "openvino", "fp32")
EAGER = Device("cpu", "test", "torch", "fp32")
PHOTO = {"photo": (1, 3, None, None)}
JOINED = {"features": (1, 12, None, None), "photo": (1, 3, None, None), "vector": (1, 4)}
EXAMPLE = {"features": (1, 12, 8, 8), "photo": (1, 3, 16, 16)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINIMOTO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINIMOTO_THREADS", "1")
    return tmp_path / "cache" / "networks"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return runtime_nets.save(runtime_nets.Every, tmp_path / "every.safetensors")


def photo(*size: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).random((1, 3, *size), np.float32)


def entries(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir() if path.is_dir()}


def test_openvino_computes_what_torch_does_at_any_size(weights: Path) -> None:
    fast = load("every", "runtime_nets:build_every", weights, PHOTO, CPU)
    module = runtime_nets.build_every(weights)
    for size in ((16, 16), (34, 50), (64, 18), (34, 50)):
        (got,) = fast(photo(*size))
        with torch.inference_mode():
            wanted = module(torch.from_numpy(photo(*size))).numpy()
        assert got.dtype == np.float32
        assert np.abs(got - wanted).max() < 1e-4


def test_eager_torch_gives_what_the_module_does(weights: Path) -> None:
    (got,) = load("every", "runtime_nets:build_every", weights, PHOTO, EAGER)(photo(20, 30))
    with torch.inference_mode():
        wanted = runtime_nets.build_every(weights)(torch.from_numpy(photo(20, 30))).numpy()
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize("device", [CPU, EAGER], ids=["openvino", "torch"])
def test_several_inputs_and_outputs_keep_their_order(tmp_path: Path, device: Device) -> None:
    file = runtime_nets.save(runtime_nets.Joined, tmp_path / "joined.safetensors")
    network = load("joined", "runtime_nets:build_joined", file, JOINED, device, example=EXAMPLE)
    random = np.random.default_rng(1)
    arrays = [random.random(shape, np.float32) for shape in ((1, 12, 5, 7), (1, 3, 10, 14), (1, 4))]
    styled, scale = network(*arrays)
    with torch.inference_mode():
        wanted = runtime_nets.build_joined(file)(*map(torch.from_numpy, arrays))
    assert np.abs(styled - wanted[0].numpy()).max() < 1e-5
    assert np.abs(scale - wanted[1].numpy()).max() < 1e-5


def test_results_stay_after_the_next_call(weights: Path) -> None:
    network = load("every", "runtime_nets:build_every", weights, PHOTO, CPU)
    (first,) = network(photo(16, 16))
    kept = first.copy()
    network(1 - photo(16, 16))
    network.release()
    assert np.array_equal(first, kept)
    assert np.array_equal(network(photo(16, 16))[0], kept)


def test_what_is_lent_is_not_copied_and_stays_after_a_release(weights: Path) -> None:
    network = load("every", "runtime_nets:build_every", weights, PHOTO, CPU)
    (wanted,) = network(photo(16, 16))
    (lent,) = network.lent(1 - photo(16, 16))
    assert not np.array_equal(lent, wanted)
    (again,) = network.lent(photo(16, 16))
    assert np.shares_memory(lent, again)
    network.release()
    (other,) = network.lent(1 - photo(16, 16))
    assert np.array_equal(again, wanted)
    assert not np.array_equal(other, wanted)


def test_a_release_lets_go_of_what_was_given(weights: Path) -> None:
    network = load("every", "runtime_nets:build_every", weights, PHOTO, CPU)
    given = photo(16, 16)
    network(given)
    held = weakref.ref(given)
    del given
    network.release()
    gc.collect()
    assert held() is None


def test_arrays_of_any_layout_and_number_type_are_taken(weights: Path) -> None:
    network = load("every", "runtime_nets:build_every", weights, PHOTO, CPU)
    (wanted,) = network(photo(16, 24))
    turned = np.ascontiguousarray(photo(16, 24).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(network(turned)[0], wanted)
    assert np.array_equal(network(photo(16, 24).astype(np.float64))[0], wanted)


def test_functions_and_numbered_builders_are_taken_too(weights: Path) -> None:
    (wanted,) = load("every", "runtime_nets:build_every", weights, PHOTO, CPU)(photo(16, 16))
    assert np.array_equal(load("b", runtime_nets.build_every, weights, PHOTO, CPU)(photo(16, 16))[0], wanted)
    assert np.array_equal(load("c", "runtime_nets:build_numbered(3)", weights, PHOTO, CPU)(photo(16, 16))[0], wanted)
    with pytest.raises(ValueError, match=r"say package\.module:function"):
        load("d", "runtime_nets.build_every", weights, PHOTO, CPU)


LOAD = """
import sys
import numpy as np
from pathlib import Path
from minimoto.engines.runtime import Device, load
device = Device("cpu", "test", "openvino", "fp32")
network = load("every", "runtime_nets:build_every", Path(sys.argv[1]), {"photo": (1, 3, None, None)}, device)
(result,) = network(np.full((1, 3, 16, 16), 0.5, np.float32))
print(f"{result.mean():.6f}", "torch" in sys.modules)
"""


def start(weights: Path) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}"}
    return subprocess.Popen([sys.executable, "-c", LOAD, str(weights)], stdout=subprocess.PIPE, text=True, env=environ)


def test_a_warm_start_does_not_import_torch(weights: Path) -> None:
    load("every", "runtime_nets:build_every", weights, PHOTO, CPU)
    mean, imported = start(weights).communicate()[0].split()
    assert imported == "False"
    with torch.inference_mode():
        assert float(mean) == pytest.approx(
            runtime_nets.build_every(weights)(torch.full((1, 3, 16, 16), 0.5)).mean().item(), abs=1e-4
        )


def test_two_processes_that_start_at_once_agree(weights: Path, cache: Path) -> None:
    processes = [start(weights) for _ in range(2)]
    means = [process.communicate()[0].split()[0] for process in processes]
    assert means[0] == means[1]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(entries(cache)) == 2  # as converted, and as compiled for this CPU


@pytest.mark.parametrize("pattern", ["every-*/compiled", "every-*/graph.xml", "every-*/constants.bin"])
def test_a_damaged_cache_is_made_again(
    weights: Path, cache: Path, pattern: str, caplog: pytest.LogCaptureFixture
) -> None:
    (wanted,) = load("every", "runtime_nets:build_every", weights, PHOTO, CPU)(photo(16, 16))
    for file in {*cache.glob(pattern), *cache.glob("every-*/compiled")}:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0xFF
        file.write_bytes(data)
    (got,) = load("every", "runtime_nets:build_every", weights, PHOTO, CPU)(photo(16, 16))
    assert "is damaged" in caplog.text
    assert np.array_equal(got, wanted)
    caplog.clear()
    load("every", "runtime_nets:build_every", weights, PHOTO, CPU)
    assert caplog.text == ""


def test_what_another_openvino_compiled_is_made_again(
    weights: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from minimoto.engines.runtime_cache import Entry, read, write

    (wanted,) = load("every", "runtime_nets:build_every", weights, PHOTO, CPU)(photo(16, 16))
    (folder,) = {file.parent for file in cache.glob("every-*/compiled")}
    entry = read(folder)
    assert entry is not None
    write(folder, Entry({"compiled": b"of another version"}, entry.about))
    (got,) = load("every", "runtime_nets:build_every", weights, PHOTO, CPU)(photo(16, 16))
    assert "cannot be used here" in caplog.text
    assert np.array_equal(got, wanted)


def test_other_weights_are_another_entry(weights: Path, cache: Path) -> None:
    (first,) = load("every", "runtime_nets:build_every", weights, PHOTO, CPU)(photo(16, 16))
    state = runtime_nets.load_file(weights)
    runtime_nets.save_file({name: tensor * 1.1 for name, tensor in state.items()}, weights)
    (second,) = load("every", "runtime_nets:build_every", weights, PHOTO, CPU)(photo(16, 16))
    assert not np.allclose(first, second)
    assert len(entries(cache)) == 4


def test_a_network_runs_where_nothing_can_be_cached(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MINIMOTO_CACHE", str(weights))
    assert load("every", "runtime_nets:build_every", weights, PHOTO, CPU)(photo(16, 16))[0].shape == (1, 3, 32, 32)
    assert "cannot be cached" in caplog.text


def test_what_openvino_gets_wrong_is_run_by_torch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = runtime_nets.save(runtime_nets.Untraceable, tmp_path / "untraceable.safetensors")
    network = load("untraceable", "runtime_nets:build_untraceable", file, PHOTO, CPU)
    assert "so torch runs it" in caplog.text
    (got,) = network(photo(8, 8))
    with torch.inference_mode():
        assert np.allclose(got, runtime_nets.build_untraceable(file)(torch.from_numpy(photo(8, 8))).numpy())


def test_without_torch_what_is_not_cached_says_how_to_bring_it(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_spec, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"every: .*pip install torch"):
        load("every", runtime_nets.build_every, weights, PHOTO, CPU)


def test_weights_that_are_not_there_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"every: its weights .*absent cannot be read \(No such file"):
        load("every", "runtime_nets:build_every", tmp_path / "absent", PHOTO, CPU)


@pytest.mark.parametrize(("psnr", "precision"), [(44.9, "fp32"), (45.1, "bf16")])
def test_bfloat16_is_used_only_where_it_is_exact_enough(
    weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, psnr: float, precision: str
) -> None:
    graph = runtime_openvino.convert(
        runtime_nets.build_every(weights), PHOTO, runtime.Spec("every", "", weights, PHOTO).probe()
    )
    monkeypatch.setattr(runtime_openvino, "least_psnr", lambda got, wanted: psnr)
    monkeypatch.setattr(runtime, "_converted", lambda spec, folder: graph)
    monkeypatch.setattr(runtime_openvino, "PRECISIONS", {"fp32": "f32", "bf16": "f32"})
    seen = []
    opened = runtime_openvino.open_compiled
    monkeypatch.setattr(runtime_openvino, "open_compiled", lambda made: seen.append(made.precision) or opened(made))
    for _ in range(2):
        load("every", "runtime_nets:build_every", weights, PHOTO, Device("cpu", "test", "openvino", "bf16"))
    assert seen == [precision, precision]
    assert ("bf16 holds only 44.9 dB" in caplog.text) is (precision == "fp32")


def test_half_precision_that_is_not_enough_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from minimoto.engines.runtime_torch import TorchNetwork

    file = runtime_nets.save(runtime_nets.Rough, tmp_path / "rough.safetensors")
    module = runtime_nets.build_rough(file)
    half = Device("cpu", "test", "torch", "fp16")
    network = TorchNetwork("rough", module, half, (photo(16, 16),), 45.0)
    assert caplog.text.count("not 45") == 2
    with torch.inference_mode():
        wanted = runtime_nets.build_rough(file)(torch.from_numpy(photo(8, 8))).numpy()
    assert np.array_equal(network(photo(8, 8))[0], wanted)


def test_half_precision_that_is_enough_is_taken(weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    from minimoto.engines.runtime_torch import TorchNetwork

    caplog.set_level(logging.INFO, "minimoto.runtime")
    half = Device("cpu", "test", "torch", "fp16")
    network = TorchNetwork("every", runtime_nets.build_every(weights), half, (photo(16, 16),), 45.0)
    (got,) = network(photo(20, 20))
    with torch.inference_mode():
        wanted = runtime_nets.build_every(weights)(torch.from_numpy(photo(20, 20))).numpy()
    assert got.dtype == np.float32
    assert least_psnr((got,), (wanted,)) > 45
    assert "torch.float16 holds" in caplog.text


def test_many_shapes_do_not_pile_up_in_memory(weights: Path) -> None:
    import psutil

    network = load("every", "runtime_nets:build_every", weights, PHOTO, CPU)
    network(photo(256, 256))
    process = psutil.Process()
    before = process.memory_info().rss
    for height in range(64, 224, 4):
        network(photo(height, 288 - height))
    assert process.memory_info().rss - before < 40 * 2**20
