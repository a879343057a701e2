"""What L-BFGS remembers in 8 bits, held to the vectors themselves and to the two loops in double precision."""

from __future__ import annotations

import pytest
import torch
from cuda_on_cpu import on_cpu
from torch import Tensor

from minimoto.engines import style_descent, style_history, style_history_cuda
from minimoto.engines.style_descent import History, lbfgs
from minimoto.engines.style_history import BLOCK, CompiledRows, Rows, TorchRows
from minimoto.engines.style_history_cuda import CudaRows

torch.set_num_threads(1)

CPU = torch.device("cpu")
LENGTHS = (1, BLOCK - 1, BLOCK, 5000)


def made(kind: str, count: int, length: int) -> Rows:
    if kind == "torch":
        return TorchRows(count, length, CPU)
    if kind == "kernels of a GPU":
        return CudaRows(on_cpu("style_history_cuda"), count, length, CPU)
    kernels = style_history._library()
    if kernels is None:
        pytest.skip("there is no C compiler here")
    return CompiledRows(kernels, count, length, 1 if kind == "compiled" else 3)


def vectors(count: int, length: int, seed: int = 0) -> Tensor:
    """Noise of which every block has another size."""
    chance = torch.Generator().manual_seed(seed)
    sizes = 10 ** (4 * torch.rand(count, length, generator=chance) ** 4)
    return torch.randn(count, length, generator=chance) * sizes


def remembered(rows: Rows, found: Tensor) -> Tensor:
    """What ``rows`` keep of ``found``, in double precision."""
    kept = found.clone()
    for row, vector in enumerate(kept):
        rows.put(row, vector)
    return kept.double()


KINDS = pytest.mark.parametrize("kind", ["torch", "compiled", "compiled, 3 threads", "kernels of a GPU"])


@KINDS
@pytest.mark.parametrize("length", LENGTHS)
def test_a_value_is_at_most_half_a_scale_off(kind: str, length: int) -> None:
    found = vectors(2, length)
    kept = remembered(made(kind, 2, length), found)
    for vector, near in zip(found, kept, strict=True):
        for block, close in zip(vector.split(BLOCK), near.split(BLOCK), strict=True):
            scale = float(block.abs().max()) / 127
            assert float((block - close).abs().max()) <= 0.5001 * scale
            assert float(close.abs().max()) == pytest.approx(127 * scale)


@KINDS
def test_noise_loses_less_than_a_hundredth_of_its_deviation(kind: str) -> None:
    noise = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0))
    error = remembered(made(kind, 1, 20_000), noise) - noise
    assert float(error.std() / noise.std()) < 0.008
    assert abs(float(error.mean())) < 3e-4


@KINDS
def test_what_is_remembered_is_remembered_again_as_it_is(kind: str) -> None:
    rows = made(kind, 1, 5000)
    once = remembered(rows, vectors(1, 5000)).float()
    assert torch.allclose(remembered(rows, once).float(), once, rtol=1e-6, atol=0)


@KINDS
@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-20, 1e30])
def test_the_least_and_the_largest_values(kind: str, size: float) -> None:
    found = torch.tensor([[size, -size / 2, 0.0]])
    kept = remembered(made(kind, 1, 3), found)
    assert torch.allclose(kept.float(), found, rtol=0, atol=0.004 * size + 1e-30)
    assert torch.isfinite(kept).all()


@KINDS
@pytest.mark.parametrize("length", LENGTHS)
def test_products_and_sums_are_those_of_what_is_remembered(kind: str, length: int) -> None:
    rows, found = made(kind, 6, length), vectors(6, length)
    kept = remembered(rows, found)
    one, two = vectors(2, length, seed=1)
    size = kept[1:5].norm(dim=1, keepdim=True) * torch.stack([one, two]).double().norm(dim=1)
    dots = rows.dots([one, two], 1, 5)
    assert dots.dtype == torch.float64
    assert float(((dots - kept[1:5] @ torch.stack([one, two]).double().T) / size).abs().max()) < 1e-6
    assert torch.equal(rows.dots([two], 1, 5)[:, 0], dots[:, 1]) or kind == "torch"
    weights = torch.tensor([1.0, -2.0, 0.0, 0.5], dtype=torch.float64)
    expected = weights @ kept[:4] - 3 * one.double()
    combined = rows.combined(weights, one, -3.0)
    assert combined.shape == one.shape
    assert float((combined - expected).abs().max()) < 1e-5 * float(kept.abs().max())


def two_loops(pairs: list[tuple[Tensor, Tensor]], gradient: Tensor) -> Tensor:
    """Nocedal and Wright 2006, algorithm 7.4, minus its result."""
    q, alphas = gradient.double(), []
    for step, change in reversed(pairs):
        alphas.append((step @ q) / (step @ change))
        q = q - alphas[-1] * change
    step, change = pairs[-1]
    q = q * ((step @ change) / (change @ change))
    for (step, change), alpha in zip(pairs, reversed(alphas), strict=True):
        q = q + (alpha - (change @ q) / (step @ change)) * step
    return -q


@pytest.mark.parametrize("compiles", [True, False])
@pytest.mark.parametrize("count", [1, 3, 9])
def test_a_direction_is_that_of_the_rounded_pairs(
    monkeypatch: pytest.MonkeyPatch, *, compiles: bool, count: int
) -> None:
    if not compiles:
        monkeypatch.setattr(style_history, "_library", lambda: None)
    corrections, length = 4, 700
    history, pairs = History(corrections, length, CPU), []
    for step, noise in zip(vectors(count, length), vectors(count, length, seed=1), strict=True):
        change = 2 * step + noise * step.norm() / noise.norm() / 2
        history.add(step, change)
        pairs.append((step.double(), change.double()))
        gradient = vectors(1, length, seed=2)[0]
        expected = two_loops(pairs[-corrections:], gradient)
        assert float((history.direction(gradient) - expected).norm()) < 1e-5 * float(expected.norm())


def test_a_pair_that_rounding_turns_is_not_remembered() -> None:
    history = History(2, 2, CPU)
    for _ in range(4):
        history.add(torch.tensor([1.0, 0.003]), torch.tensor([-0.002, 1.0]))
        assert history.empty
    for _ in range(4):
        history.add(torch.tensor([1.0, 0]), torch.tensor([4.0, 0]))
        history.add(torch.tensor([1.0, 0.003]), torch.tensor([-0.002, 1.0]))
        assert history.direction(torch.tensor([8.0, 0])).tolist() == pytest.approx([-2.0, 0])


def test_the_same_start_goes_the_same_way() -> None:
    sizes = torch.logspace(-2, 1, 3000)
    found = [lbfgs(lambda x: (float(x @ (sizes * x)) / 2, sizes * x), torch.ones(3000), 30, 10) for _ in range(2)]
    assert torch.equal(found[0], found[1])


def test_a_history_in_8_bits_goes_as_low_as_torchs() -> None:
    sizes = torch.logspace(-2, 1, 3000)

    def loss(x: Tensor) -> float:
        return float((x.double() ** 2 * sizes).sum() / 2 + (x.double() ** 4).sum() / 4)

    found = lbfgs(lambda x: (loss(x), sizes * x + x**3), torch.ones(3000), 40, 100)
    x = torch.ones(3000, requires_grad=True)
    optimizer = torch.optim.LBFGS([x], max_iter=40, max_eval=40, history_size=100, tolerance_change=-1)

    def closure() -> float:
        x.grad = (sizes * x + x**3).detach()
        return loss(x.detach())

    optimizer.step(closure)
    assert loss(found) < max(1.01 * loss(x.detach()), 1e-3 * loss(torch.ones(3000)))


def by_kernels(patch: pytest.MonkeyPatch) -> None:
    """L-BFGS remembers as on a GPU."""
    kernels = on_cpu("style_history_cuda")
    patch.setattr(style_descent, "rows_on", lambda device, count, length: CudaRows(kernels, count, length, device))


@pytest.mark.parametrize("count", [1, 3, 9])
def test_a_gpu_asked_once_an_iteration_gives_the_same_directions(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    corrections, length = 4, 700
    plain = History(corrections, length, CPU)
    by_kernels(monkeypatch)
    merged = History(corrections, length, CPU)
    gradients = vectors(count, length, seed=2)
    for place, (step, noise) in enumerate(zip(vectors(count, length), vectors(count, length, seed=1), strict=True)):
        # The second one does not grow, and is not remembered.
        change = (2 * step + noise * step.norm() / noise.norm() / 2) * (-1 if place == 1 else 1)
        pairs = [(step.clone(), change.clone()) for _ in range(2)]
        found, wanted = (
            way.following(*pair, gradients[place]) for way, pair in zip((merged, plain), pairs, strict=True)
        )
        assert found is not None
        assert wanted is not None
        assert float((found - wanted).norm()) < 1e-5 * float(wanted.norm())
        assert merged._order == plain._order
    assert merged.following(step.clone(), change.clone(), torch.zeros(length)) is None


def test_the_kernels_of_a_gpu_go_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = torch.logspace(-2, 1, 1500)

    def goal(x: Tensor) -> tuple[float, Tensor]:
        return float((x.double() ** 2 * sizes).sum() / 2 + (x.double() ** 4).sum() / 4), sizes * x + x**3

    plain = lbfgs(goal, torch.ones(1500), 30, 5)
    by_kernels(monkeypatch)
    found = lbfgs(goal, torch.ones(1500), 30, 5)
    assert goal(found)[0] < max(1.05 * goal(plain)[0], 1e-3 * goal(torch.ones(1500))[0])


def test_a_gpu_whose_kernels_cannot_be_had_remembers_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style_history_cuda.cuda_kernel, "kernels", lambda name, instead: None)
    assert style_history_cuda.cuda_rows(1, 1, CPU) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("length", [1, 127, 5000, 3 * 512 * 512])
def test_a_gpu_remembers_what_a_cpu_remembers(length: int) -> None:
    found, given = vectors(6, length), vectors(2, length, seed=1)
    weights = torch.tensor([1.0, -2.0, 0.0, 0.5], dtype=torch.float64)
    results = []
    for device in ("cpu", "cuda"):
        rows = style_history.rows_on(torch.device(device), 6, length) if device == "cuda" else TorchRows(6, length, CPU)
        kept = found.to(device)
        for row, vector in enumerate(kept.clone()):
            rows.put(row, vector)
        there = [one.to(device) for one in given]
        dots = rows.dots(there, 0, 6)
        results.append((dots, rows.combined(weights, there[0], -3.0).cpu()))
    size = found.double().norm(dim=1, keepdim=True) * given.double().norm(dim=1)
    assert float(((results[0][0] - results[1][0]) / size).abs().max()) < 1e-5
    assert float((results[0][1] - results[1][1]).abs().max()) < 1e-4 * float(found.abs().max())


@pytest.mark.parametrize("wrong", [torch.zeros(3), torch.zeros(4, dtype=torch.float64), torch.zeros(8)[::2]])
def test_what_the_kernels_would_read_beyond_is_refused(wrong: Tensor) -> None:
    rows = made("compiled", 1, 4)
    for call in (
        lambda: rows.put(0, wrong),
        lambda: rows.dots([wrong], 0, 1),
        lambda: rows.combined(torch.zeros(1), wrong, 1.0),
    ):
        with pytest.raises(ValueError, match="not 4 float32 in a row"):
            call()
