"""Styling by optimisation as a whole, on tiny pictures and a tiny network."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from minimoto.engines.runtime import Device
from minimoto.engines.style_descent import History, adam, lbfgs
from minimoto.engines.style_objective import Features, Losses, Objective
from minimoto.engines.style_optimise import stylise
from minimoto.engines.style_optimise_settings import Iteration, OptimiseOptions, layer_names
from minimoto.engines.style_scales import features_on, scales, stylise_with, with_colours_of
from minimoto.engines.vgg import Vgg, from_tensors, load_vgg, random_vgg
from minimoto.engines.vgg_torch import TorchFeatures
from minimoto.errors import ConfigError, InvalidInput

torch.set_num_threads(1)

Picture = NDArray[np.float32]
CPU = Device("cpu", "test", "torch", "fp32")
WIDTHS = (16, 16, 16, 32, 32)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIMOTO_THREADS", "1")


@pytest.fixture(scope="module")
def vgg() -> Vgg:
    return random_vgg("vgg19", WIDTHS).until(["relu5_1"])


def picture(width: int, height: int, seed: int = 0) -> Picture:
    import cv2

    coarse = np.random.default_rng(seed).random((5, 4, 3), np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1).astype(np.float32)


PHOTO, STYLE = picture(40, 32, 1), picture(36, 48, 2)
QUICK = OptimiseOptions(num_iterations=6, scales=1)


def features(vgg: Vgg, options: OptimiseOptions, device: Device) -> Features:
    return features_on(vgg, {*options.content_layers, *options.style_layers}, options.pooling, device)


def styled(vgg: Vgg, options: OptimiseOptions = QUICK, photo: Picture = PHOTO, **more: object) -> Picture:
    return stylise_with(features(vgg, options, CPU), vgg, photo, [STYLE], options, **more)  # type: ignore[arg-type]


def changed(options: OptimiseOptions, **values: object) -> OptimiseOptions:
    return OptimiseOptions(**{**vars(options), **values})


def test_the_result_has_the_photos_size_and_less_loss_than_the_photo(vgg: Vgg) -> None:
    seen: list[Iteration] = []
    result = styled(vgg, changed(QUICK, num_iterations=30), progress=seen.append)
    assert result.shape == PHOTO.shape
    assert result.dtype == np.float32
    assert 0 <= result.min() <= result.max() <= 1
    assert min(event.loss for event in seen) < 0.2 * seen[0].loss
    assert np.abs(result - PHOTO).mean() > 0.02


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("init", ["image", "random"])
def test_the_same_seed_gives_the_same_result(vgg: Vgg, optimizer: str, init: str) -> None:
    options = changed(QUICK, optimizer=optimizer, init=init, scales=2)
    first, second = styled(vgg, options), styled(vgg, options)
    assert np.array_equal(first, second)
    other = styled(vgg, changed(options, seed=1))
    assert np.array_equal(first, other) == (init == "image")


def test_progress_rises_to_one_and_counts_every_iteration(vgg: Vgg) -> None:
    seen: list[Iteration] = []
    styled(vgg, changed(QUICK, num_iterations=7, scales=2), progress=seen.append)
    assert [event.iteration for event in seen] == list(range(1, 8))
    assert all(event.iterations == 7 for event in seen)
    done = [event.done for event in seen]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    assert [event.size for event in seen] == [(20, 16)] * 3 + [(40, 32)] * 4
    assert all(event.loss == pytest.approx(event.content + event.style + event.tv) for event in seen)


def test_fewer_iterations_than_scales_leave_out_the_coarse_ones(vgg: Vgg) -> None:
    seen: list[Iteration] = []
    styled(vgg, changed(QUICK, num_iterations=1, scales=3), progress=seen.append)
    assert [(event.size, event.done) for event in seen] == [((40, 32), 1.0)]


def test_what_progress_raises_ends_the_work(vgg: Vgg) -> None:
    class Cancelled(Exception):
        pass

    seen: list[Iteration] = []

    def cancel(event: Iteration) -> None:
        seen.append(event)
        if len(seen) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        styled(vgg, changed(QUICK, num_iterations=50), progress=cancel)
    assert len(seen) == 3


def test_strength_0_returns_the_photo(vgg: Vgg) -> None:
    assert np.array_equal(styled(vgg, changed(QUICK, strength=0)), PHOTO)


def test_less_strength_stays_nearer_to_the_photo(vgg: Vgg) -> None:
    far = [np.abs(styled(vgg, changed(QUICK, strength=s, num_iterations=40)) - PHOTO).mean() for s in (0.2, 1.0)]
    assert 0 < far[0] < far[1]


def test_a_mask_leaves_the_photo_elsewhere(vgg: Vgg) -> None:
    mask = np.zeros((32, 40), np.float32)
    mask[:, 20:] = 1
    whole, part = styled(vgg), styled(vgg, mask=mask)
    assert np.array_equal(part[:, :20], PHOTO[:, :20])
    assert np.allclose(part[:, 20:], whole[:, 20:], atol=1e-6)


def test_original_colors_keeps_the_chroma(vgg: Vgg) -> None:
    to_chroma = np.array([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
    photo = PHOTO * 0.4 + 0.3
    lighter = np.clip(photo + 0.1, 0, 1)
    found = with_colours_of(photo, lighter * np.array([1.05, 1, 0.95], np.float32))
    assert np.allclose(found @ to_chroma.T, photo @ to_chroma.T, atol=1e-5)
    assert found.mean() > photo.mean() + 0.05
    result = styled(vgg, changed(QUICK, original_colors=True), photo=photo)
    inside = ((result > 0.001) & (result < 0.999)).all(-1)
    assert inside.mean() > 0.3
    assert np.allclose((result @ to_chroma.T)[inside], (photo @ to_chroma.T)[inside], atol=1e-5)


def test_image_size_shrinks_but_never_enlarges(vgg: Vgg) -> None:
    assert styled(vgg, changed(QUICK, image_size=20)).shape == (16, 20, 3)
    assert styled(vgg, changed(QUICK, image_size=4096)).shape == (32, 40, 3)
    assert styled(vgg, changed(QUICK, image_size=0)).shape == (32, 40, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (17, 3), (15, 16)])
def test_tiny_and_thin_pictures_are_styled(vgg: Vgg, size: tuple[int, int]) -> None:
    result = styled(vgg, photo=picture(*size))
    assert result.shape == (size[1], size[0], 3)
    assert np.isfinite(result).all()


def test_flat_pictures_are_styled(vgg: Vgg) -> None:
    flat = np.full((24, 24, 3), 0.5, np.float32)
    result = stylise_with(features(vgg, QUICK, CPU), vgg, flat, [flat], QUICK)
    assert np.abs(result - flat).max() < 0.01
    # These two take steps of a fixed length however small the gradient is.
    for options in (changed(QUICK, normalize_gradients=True), changed(QUICK, optimizer="adam", learning_rate=0.1)):
        result = stylise_with(features(vgg, options, CPU), vgg, flat, [flat], options)
        assert np.isfinite(result).all()


def test_an_init_image_is_started_from(vgg: Vgg) -> None:
    start = picture(40, 32, 9)
    one = changed(QUICK, num_iterations=1)
    assert np.allclose(styled(vgg, one, init_image=start), start, atol=1e-5)
    assert np.allclose(styled(vgg, one), PHOTO, atol=1e-5)


def test_two_styles_blend_by_their_weights(vgg: Vgg) -> None:
    other = picture(30, 30, 7)
    options = changed(QUICK, num_iterations=10)

    def result(weights: tuple[float, ...], styles: list[Picture]) -> Picture:
        one = changed(options, style_blend_weights=weights)
        return stylise_with(features(vgg, one, CPU), vgg, PHOTO, styles, one)

    assert np.allclose(result((5, 0), [STYLE, other]), result((), [STYLE]), atol=1e-4)
    assert np.allclose(result((), [STYLE, other]), result((2, 2), [STYLE, other]), atol=1e-6)
    assert np.abs(result((1, 9), [STYLE, other]) - result((9, 1), [STYLE, other])).max() > 0.01


def test_the_compiled_kernels_and_torch_reach_the_same_loss(vgg: Vgg) -> None:
    options = changed(QUICK, num_iterations=60)
    lowest = []
    for way in (features(vgg, options, CPU), TorchFeatures(vgg, layer_names("vgg19")[:13])):
        seen: list[Iteration] = []
        stylise_with(way, vgg, PHOTO, [STYLE], options, seen.append)
        lowest.append(min(event.loss for event in seen))
    assert lowest[0] == pytest.approx(lowest[1], rel=0.1)


@pytest.mark.parametrize(
    ("photo", "styles", "options", "more", "says"),
    [
        (PHOTO[..., 0], [STYLE], QUICK, {}, "photo: an array of"),
        (PHOTO, [STYLE[:0]], QUICK, {}, "style picture 1: an array of"),
        (PHOTO, [], QUICK, {}, "needs a style picture"),
        (PHOTO, [STYLE], changed(QUICK, style_blend_weights=(1, 2)), {}, "has 2 numbers for 1 style pictures"),
        (PHOTO, [STYLE], QUICK, {"mask": PHOTO}, "mask: an array of"),
        (PHOTO, [STYLE], QUICK, {"init_image": STYLE[..., :2]}, "init_image: an array of"),
    ],
)
def test_wrong_arrays_are_named(
    vgg: Vgg, photo: Picture, styles: list[Picture], options: OptimiseOptions, more: dict[str, Picture], says: str
) -> None:
    with pytest.raises(InvalidInput, match=says):
        stylise_with(features(vgg, options, CPU), vgg, photo, styles, options, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"model": "vgg13"}, "model must be one of vgg19, vgg16"),
        ({"optimizer": "sgd"}, "optimizer must be one of lbfgs, adam"),
        ({"num_iterations": 0}, "num_iterations must be from 1 to 10000, not 0"),
        ({"style_weight": float("nan")}, "style_weight must be from 0"),
        ({"strength": 1.5}, "strength must be from 0 to 1"),
        ({"style_layers": ("relu6_1",)}, "vgg19 has no layer 'relu6_1'; it has relu1_1 to relu5_4"),
        ({"model": "vgg16", "content_layers": ("relu4_4",)}, "vgg16 has no layer 'relu4_4'"),
        ({"style_layers": (), "content_layers": ()}, "must not both be empty"),
        ({"style_blend_weights": (-1.0, 2.0)}, "style_blend_weights must be"),
        ({"style_blend_weights": (0.0,)}, "style_blend_weights must be"),
    ],
)
def test_wrong_options_are_named(values: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        OptimiseOptions(**values)  # type: ignore[arg-type]


@given(width=st.integers(1, 9000), height=st.integers(1, 9000), count=st.integers(0, 8))
def test_scales_grow_to_the_size(width: int, height: int, count: int) -> None:
    found = scales((width, height), count)
    assert found[-1] == (width, height)
    assert all(a[0] <= b[0] and a[1] <= b[1] and a != b for a, b in pairwise(found))
    assert len(found) <= max(count, 1) or count == 0
    assert count or max(found[0]) < 2 * 256
    assert count or len(found) == 1 or max(found[0]) >= 190


def quadratic(length: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    root = torch.randn(length, length, generator=chance) / length**0.5
    return root @ root.T + 0.1 * torch.eye(length), torch.randn(length, generator=chance)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1000))
def test_lbfgs_finds_the_least_of_a_quadratic(seed: int) -> None:
    matrix, right = quadratic(30, seed)

    def evaluate(x: Tensor) -> tuple[float, Tensor]:
        return float(x @ matrix @ x / 2 - right @ x), matrix @ x - right

    best = torch.linalg.solve(matrix, right)
    found = lbfgs(evaluate, torch.zeros(30), 80, 20)
    assert evaluate(found)[0] == pytest.approx(evaluate(best)[0], rel=1e-2)


def test_lbfgs_goes_torchs_way() -> None:
    matrix, right = quadratic(40)
    seen: dict[str, list[float]] = {"ours": [], "torch": []}

    def evaluate(x: Tensor) -> tuple[float, Tensor]:
        seen["ours"].append(float(x @ matrix @ x / 2 - right @ x))
        return seen["ours"][-1], matrix @ x - right

    lbfgs(evaluate, torch.ones(40), 12, 5)
    x = torch.ones(40).requires_grad_()
    optimizer = torch.optim.LBFGS([x], max_iter=12, max_eval=12, history_size=5, tolerance_change=-1, tolerance_grad=-1)

    def closure() -> float:
        loss = x @ matrix @ x / 2 - right @ x
        x.grad = (matrix @ x - right).detach()
        seen["torch"].append(float(loss.detach()))
        return seen["torch"][-1]

    optimizer.step(closure)
    # The history is rounded to bfloat16: the ways part slowly.
    assert seen["ours"][:8] == pytest.approx(seen["torch"][:8], rel=0.05, abs=0.05)


def test_a_history_forgets_the_oldest_and_skips_what_does_not_curve() -> None:
    history = History(2, 4, torch.device("cpu"))
    history.add(torch.tensor([1.0, 0, 0, 0]), torch.tensor([-1.0, 0, 0, 0]))
    assert history.empty
    for size in (2.0, 4.0, 8.0):
        history.add(torch.tensor([1.0, 0, 0, 0]), torch.tensor([size, 0, 0, 0]))
    assert history.direction(torch.tensor([8.0, 0, 0, 0])).tolist() == [-1.0, 0, 0, 0]


def test_adam_takes_torchs_steps() -> None:
    matrix, right = quadratic(10)
    found = adam(lambda x: (0.0, matrix @ x - right), torch.ones(10), 20, 0.1)
    x = torch.ones(10).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.1)
    for _ in range(20):
        x.grad = (matrix @ x - right).detach()
        optimizer.step()
    assert torch.allclose(found, x.detach())


def test_losses_add_up() -> None:
    assert Losses(1.0, 2.0, 4.0).total == 7.0


def saved(path: Path, tensors: dict[str, Tensor]) -> Path:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def torchvision_names(seed: int = 0) -> dict[str, Tensor]:
    numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    chance = torch.Generator().manual_seed(seed)
    found, inputs = {}, 3
    for index, number in enumerate(numbers):
        outputs = 16 if index < 7 else 32
        found[f"features.{number}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=chance) / (3 * inputs**0.5)
        found[f"features.{number}.bias"] = torch.randn(outputs, generator=chance)
        inputs = outputs
    return found


def test_a_file_of_weights_is_read_by_torchvisions_names(tmp_path: Path) -> None:
    tensors = torchvision_names()
    path = saved(tmp_path / "vgg16.safetensors", {name: one.half() for name, one in tensors.items()})
    vgg = load_vgg(path, "vgg16")
    assert [layer.name for layer in vgg.layers] == list(layer_names("vgg16"))
    assert [layer.name for layer in vgg.layers if layer.pools] == ["relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    assert torch.allclose(vgg.layers[4].weight, tensors["features.10.weight"], atol=1e-3)
    assert torch.allclose(vgg.layers[4].bias, 255 * tensors["features.10.bias"], atol=0.2)
    options = OptimiseOptions(model="vgg16", num_iterations=2, scales=1)
    result = stylise(PHOTO, [STYLE], options, weights=path, device=CPU)
    assert result.shape == PHOTO.shape


def test_a_wrong_file_of_weights_is_named(tmp_path: Path) -> None:
    tensors = torchvision_names()
    with pytest.raises(InvalidInput, match=r"features.16 is missing; this is not vgg19"):
        from_tensors(tensors, "vgg19")
    tensors["features.5.weight"] = torch.zeros(16, 7, 3, 3)
    with pytest.raises(InvalidInput, match=r"features.5 has the shape \(16, 7, 3, 3\)"):
        from_tensors(tensors, "vgg16")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no safetensors at all")
    with pytest.raises(InvalidInput, match=r"broken\.safetensors: no readable safetensors file"):
        load_vgg(broken, "vgg16")


def test_without_torch_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimoto.engines.style_optimise.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"mode=optimise: this needs torch"):
        stylise(PHOTO, [STYLE], QUICK, device=CPU)


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu(vgg: Vgg) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    from minimoto.engines.vgg import to_pixels

    found = []
    for device in ("cpu", "cuda"):
        way = TorchFeatures(vgg, layer_names("vgg19")[:13], device=device)
        pictures = [to_pixels(one).to(device) for one in (PHOTO, STYLE)]
        losses, _ = Objective(way, vgg, pictures[0], [pictures[1]], QUICK)(pictures[0])
        found.append(losses.total)
    assert found[1] == pytest.approx(found[0], rel=1e-2)
