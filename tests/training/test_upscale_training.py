"""The training of the networks of ``upscale``: patches, merged kernels, Muon, and a run that is stopped and goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from minimoto.engines.upscale_net import build_upscale  # noqa: E402
from training import upscale  # noqa: E402
from training.bicubic import imresize  # noqa: E402
from training.muon import Muon, orthogonalised  # noqa: E402
from training.reparameterised import TrainedUpscaleNet, bicubic_taps  # noqa: E402
from training.upscale_data import make_pairs, pair, read_photos, resized, shifts  # noqa: E402
from training.upscale_sampler import MOST_GAIN, Patches  # noqa: E402
from training.upscale_step import CAPTURE_AFTER, Plan, State, Steps, optimisers  # noqa: E402

CPU = torch.device("cpu")
PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
NAMES = ("8-chelsea.jpg", "2-astronaut.jpg", "5-temple.jpg")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photos of different sizes, one of each kind of file."""
    made = tmp_path / "photos"
    made.mkdir()
    for i, name in enumerate(NAMES):
        with Image.open(PHOTOS / name) as photo:
            small = photo.convert("RGB").resize((150 + 10 * i, 140 - 7 * i))
            small.save(made / f"{i}{('.png', '.jpg', '.webp')[i]}")
    return made


@pytest.mark.parametrize(("size", "scale"), [((61, 47), 1 / 2), ((60, 45), 1 / 3), ((40, 33), 1 / 1.5), ((20, 31), 4)])
def test_resizing_on_the_device_is_matlabs(size: tuple[int, int], scale: float) -> None:
    picture = np.random.default_rng(1).uniform(0, 255, (*size, 3)).astype(np.float32)
    done = resized(torch.from_numpy(picture).permute(2, 0, 1), scale).permute(1, 2, 0)
    wanted = imresize(picture, scale)
    assert done.shape == wanted.shape
    np.testing.assert_allclose(done, wanted, atol=1e-3)


def test_photos_of_every_kind_are_read_and_shrunk(folder: Path) -> None:
    photos = read_photos([str(folder), f"{folder}:1.5"], CPU)
    assert [tuple(photo.shape) for photo in photos[:3]] == [(3, 140, 150), (3, 133, 160), (3, 126, 170)]
    assert tuple(photos[3].shape) == (3, 94, 100)
    assert all(photo.dtype == torch.uint8 for photo in photos)


def test_photos_are_shrunk_to_a_size_where_that_makes_them_cleaner(folder: Path) -> None:
    photos = read_photos([f"{folder}:130px"], CPU)
    assert [tuple(photo.shape) for photo in photos] == [(3, 97, 130)]  # 0.8 of 160 is 128, of 170 it is 136


def test_contrast_is_raised_in_some_patches_and_some_become_negatives(folder: Path) -> None:
    pairs = make_pairs(read_photos([str(folder)], CPU), 2, 12)
    chance = torch.Generator().manual_seed(1)
    small, large = Patches(pairs, 12, 400, chance).draw()
    raised, wanted = Patches(pairs, 12, 400, chance, contrast=0.5).stretched(small, large)
    same = (wanted == large).flatten(1).all(1)
    assert 0.4 < same.float().mean() < 0.6
    assert wanted.min() >= -1e-5
    assert wanted.max() <= 1 + 1e-5
    # What one pixel of a pair was moved by moved all of both.
    ranges = [pixels.flatten(1).amax(1) - pixels.flatten(1).amin(1) for pixels in (wanted, large)]
    scale = ranges[0] / ranges[1]
    assert scale.min() > 0.99
    assert scale.max() <= MOST_GAIN + 1e-3
    sign = torch.sign(((wanted - wanted.mean((1, 2, 3), keepdim=True)) * (large - 0.5)).sum((1, 2, 3)))
    assert 0.35 < (sign[~same] < 0).float().mean() < 0.65
    factor = (sign * scale)[:, None, None, None]
    base = wanted[:, :, :1, :1] - factor * large[:, :, :1, :1]
    torch.testing.assert_close(wanted, factor * large + base, atol=1e-4, rtol=0)
    torch.testing.assert_close(raised, factor * small + base, atol=1e-4, rtol=0)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_patches_are_parts_of_the_pairs_in_all_eight_positions(folder: Path, factor: int) -> None:
    photos = read_photos([str(folder)], CPU)
    patches = Patches(make_pairs(photos, factor, 12), 12, 64)
    picture, top, left = patches.places()
    turn = torch.arange(64) % 8
    small, large = patches.cut(picture, top, left, turn)
    assert small.shape == (64, 1, 12, 12)
    assert large.shape == (64, 1, 12 * factor, 12 * factor)
    assert set(picture.tolist()) == {0, 1, 2}
    seen = set()
    for i in range(64):
        whole = pair(photos[picture[i]], factor)
        y, x = int(top[i]), int(left[i])
        code, sides = int(turn[i]), ([-2] if turn[i] & 1 else []) + ([-1] if turn[i] & 2 else [])
        for patch, luma, scale in ((small, whole[0], 1), (large, whole[1], factor)):
            part = luma[y * scale : (y + 12) * scale, x * scale : (x + 12) * scale] / 255
            part = torch.flip(part, sides)
            torch.testing.assert_close(patch[i, 0], part.T if code & 4 else part, atol=1e-3, rtol=0)
        seen.add(code)
    assert seen == set(range(8))
    # A small patch is its large one shrunk, in whatever position.
    inner = (slice(None), slice(None), slice(3, -3), slice(3, -3))
    assert float((resized(large, 1 / factor) - small)[inner].abs().mean()) < 0.01


def test_every_position_is_drawn_and_the_hardest_candidate_taken(folder: Path) -> None:
    pairs = make_pairs(read_photos([str(folder)], CPU), 2, 12)
    patches = Patches(pairs, 12, 4000)
    picture, top, left = patches.places()
    assert bool((top + 12 <= pairs.height[picture]).all())
    assert bool((left + 12 <= pairs.width[picture]).all())
    share = torch.bincount(picture, minlength=3) / 4000
    assert float(share.min()) > 0.1
    tables = [pair(photo, 2)[2] for photo in read_photos([str(folder)], CPU)]

    def missed(p: int, y: int, x: int) -> float:
        table = tables[p]
        return float(table[y + 12, x + 12] - table[y, x + 12] - table[y + 12, x] + table[y, x]) / 144

    drawn = np.mean([missed(*at) for at in zip(picture.tolist(), top.tolist(), left.tolist(), strict=True)])
    anywhere = np.mean([table[-1, -1] / (table.shape[0] - 1) / (table.shape[1] - 1) for table in tables])
    assert drawn > 1.1 * anywhere


def test_one_picture_and_one_place_will_do() -> None:
    photo = torch.randint(0, 256, (3, 26, 26)).byte()
    small, large = Patches(make_pairs([photo], 2, 12), 12, 3).draw()
    assert small.shape == (3, 1, 12, 12)
    assert large.dtype == torch.float32
    with pytest.raises(ValueError, match="no photo is large enough"):
        make_pairs([photo], 2, 13)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_photo_is_shrunk_from_several_first_pixels_on(factor: int) -> None:
    ways = shifts(factor, 99)
    assert len(set(ways)) == len(ways) == factor * factor
    for taken in zip(*ways[:factor], strict=True):
        assert sorted(taken) == list(range(factor)), "each row and each column once"
    photo = torch.randint(0, 256, (3, 14 * factor, 15 * factor)).byte()
    pairs = make_pairs([photo], factor, 12, 3)
    assert len(pairs.height) == 3
    top, left = ways[2]
    small, _, _ = pair(photo[:, top:, left:], factor)
    start = int(pairs.first[2])
    kept = pairs.small[start : start + small.numel()].float() * 255
    assert torch.allclose(kept, small.flatten(), atol=0.2)
    assert not torch.equal(small[:13, :13], pair(photo, factor)[0][:13, :13])


def test_many_matrices_are_made_orthogonal_as_each_of_them() -> None:
    stack = torch.randn(3, 6, 20)
    together = orthogonalised(stack)
    for one, made in zip(stack, together, strict=True):
        torch.testing.assert_close(orthogonalised(one), made)
    values = torch.linalg.svdvals(together)
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3
    torch.testing.assert_close(orthogonalised(stack.mT), together.mT)


def test_muon_treats_a_stack_as_its_kernels() -> None:
    start, gradients = torch.randn(3, 6, 3, 3, 4), torch.randn(3, 6, 3, 3, 4)
    stack = torch.nn.Parameter(start.clone())
    apart = [torch.nn.Parameter(kernel.clone()) for kernel in start]
    for optimiser in (together := Muon([stack], lr=torch.tensor(0.1)), single := Muon(apart, lr=0.1)):
        assert optimiser.param_groups
    for _ in range(3):
        stack.grad = gradients.clone()
        for parameter, gradient in zip(apart, gradients, strict=True):
            parameter.grad = gradient.clone()
        together.step()
        single.step()
    torch.testing.assert_close(stack.detach(), torch.stack([p.detach() for p in apart]))
    assert not torch.equal(stack.detach(), start)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_shipped_form_computes_the_same(factor: int) -> None:
    network = TrainedUpscaleNet(factor, 16, 3)
    torch.nn.init.normal_(network.body.bias, std=0.1)
    torch.nn.init.normal_(network.first.bias, std=0.1)
    torch.nn.init.normal_(network.head.bias, std=0.1)
    luma = torch.rand(2, 1, 17, 23)
    padded = functional.pad(luma, (2, 2, 2, 2), mode="replicate")
    bicubic = functional.pixel_shuffle(functional.conv2d(padded, bicubic_taps(factor)), factor)
    with torch.no_grad():
        torch.testing.assert_close(network(luma), network.merged(factor)(luma) + bicubic, atol=1e-5, rtol=0)
        rough = network(luma, torch.bfloat16)
        assert float((rough - network(luma)).abs().max()) < 0.05


@pytest.mark.parametrize("more", [0, 2])
def test_training_goes_on_from_what_is_shipped_with_more_layers_too(more: int) -> None:
    torch.manual_seed(0)
    before = TrainedUpscaleNet(2, 8, 3)
    with torch.no_grad():
        before.body.bias.normal_(std=0.1)
    after = TrainedUpscaleNet(2, 8, 3 + more)
    after.begin(before.merged(2).state_dict(), 2)
    luma = torch.rand(2, 1, 9, 11)
    torch.testing.assert_close(after(luma), before(luma), atol=1e-5, rtol=1e-5)
    after(luma).square().sum().backward()
    assert after.body.narrow.grad is not None
    assert after.body.narrow.grad.abs().amax((1, 2, 3, 4)).min() > 0


def test_wider_layers_begin_with_the_same_result_and_learn() -> None:
    torch.manual_seed(2)
    before, after = TrainedUpscaleNet(2, 8, 2), TrainedUpscaleNet(2, 16, 3)
    after.begin(before.merged(2).state_dict(), 2)
    luma = torch.rand(2, 1, 9, 11)
    torch.testing.assert_close(after(luma), before(luma), atol=1e-5, rtol=1e-5)
    after(luma).square().sum().backward()
    assert after.head.weight.grad is not None
    assert after.head.weight.grad[:, 8:].abs().amax((0, 2, 3)).min() > 0


def test_steps_lower_the_loss(folder: Path) -> None:
    plan = Plan(2, 1.0, 16, 4, mse_share=0.0)
    network, average = (TrainedUpscaleNet(2, 16, 2) for _ in range(2))
    average.load_state_dict(network.state_dict())
    state = State(network, average, optimisers(network, plan))
    steps = Steps(state, plan, Patches(make_pairs(read_photos([str(folder)], CPU), 2, 16), 16, 4))
    losses = []
    for _ in range(4):
        for _ in range(30):
            steps.run(1, 0.3)
        losses.append(steps.loss())
    assert state.step == 120
    assert losses[-1] < 0.95 * losses[0]
    assert not torch.equal(average.body.kernel, network.body.kernel)


def test_a_run_is_stopped_and_goes_on(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["--photos", f"{folder}:1.5", "--photos", str(folder), "--eval", str(folder), "--out", str(out)]
    words += ["--layers", "2", "--patch", "12", "--batch", "2", "--device", "cpu"]
    upscale.main([*words, "--seconds", "4", "--factors", "2"])
    upscale.main([*words, "--seconds", "6"])
    lines = [line.split("\t") for line in (out / "log.tsv").read_text().splitlines()]
    assert [line[0] for line in lines] == ["2", "2", "3", "4"]
    assert 0 < int(lines[0][1]) < int(lines[1][1])
    assert int(lines[1][1]) % upscale.TOGETHER["cpu"] == 0
    printed = capsys.readouterr().out
    assert "x2 step " in printed
    assert "steps/s" in printed
    args = upscale.arguments().parse_args([*words, "--seconds", "6"])
    for factor, line in zip((2, 3, 4), lines[1:], strict=True):
        assert upscale.restore(Plan(factor, 1.0), args).step == int(line[1])
        network = build_upscale(factor)(out / f"upscale{factor}.safetensors")
        assert sum(name.endswith(".weight") for name in network.state_dict()) == 2 + 3
    assert not list(out.glob("*.part"))


def test_options_are_for_all_factors_or_for_each() -> None:
    words = ["--photos", "a", "--eval", "b", "--out", "c", "--seconds", "1", "--device", "cpu"]
    args = upscale.arguments().parse_args([*words, "--patch", "20", "--rate-muon", "0.1,0.2,0.3"])
    made = upscale.plans(args)
    assert [plan.patch for plan in made] == [20, 20, 20]
    assert [plan.rate_muon for plan in made] == [0.1, 0.2, 0.3]
    assert [plan.batch for plan in made] == [6, 6, 6]
    with pytest.raises(ValueError, match="zip"):
        upscale.plans(upscale.arguments().parse_args([*words, "--batch", "1,2"]))


@pytest.mark.parametrize("works", [True, False])
def test_a_step_is_captured_or_done_one_by_one(
    folder: Path, works: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Capture:
        """A stand-in for torch's, which does what it is to capture."""

        replayed = 0

        def __init__(self, *_: object) -> None:
            pass

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            pass

        def replay(self) -> None:
            Capture.replayed += 1

        def wait_stream(self, other: object) -> None:
            pass

    class Graph(Capture):
        def __exit__(self, *_: object) -> None:
            if not works:
                raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", Graph)
    for name in ("CUDAGraph", "Stream", "stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, Capture)
    for name in ("synchronize", "set_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    plan = Plan(2, 1.0, 12, 2)
    network, average = (TrainedUpscaleNet(2, 8, 1) for _ in range(2))
    state = State(network, average, optimisers(network, plan))
    steps = Steps(state, plan, Patches(make_pairs(read_photos([str(folder)], CPU), 2, 12), 12, 2))
    steps._wanted = True
    steps.run(5, 0.0)
    assert state.step == CAPTURE_AFTER + 5
    assert Capture.replayed == (5 if works else 0)
    assert ("one by one: operation not permitted when stream" in capsys.readouterr().out) is not works
    assert 0 < steps.loss() < 1
