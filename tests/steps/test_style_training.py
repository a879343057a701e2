"""The training of the ``fast`` style: what it sees, what it looks for, and a few steps of it."""

from __future__ import annotations

import random
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from minimoto.engines.style_optimise_settings import layer_names
from training import style
from training.muon import Muon, orthogonalised
from training.style_data import Photos, Styles, listing, skies
from training.style_judge import CompiledJudge
from training.style_losses import Aim, Perception, palette, recolour, root, style_distances
from training.style_pattern import excess, flatness, weave
from training.style_steps import SUMS, Drawn, painted
from training.style_training import Steps, Training, begun

CPU = torch.device("cpu")
GREY = torch.full((1, 3, 128, 128), 0.5)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VGG16 of few channels, with random weights."""
    kept, number, channels = {}, 0, 3
    for index, name in enumerate(layer_names("vgg16")):
        number += 1 if index and name.endswith("_1") else 0  # a pooling is a number too
        width = 16 if int(name[4]) < 3 else 32
        weight = torch.randn(width, channels, 3, 3, generator=chance(index)) * (2 / channels / 9) ** 0.5
        kept |= {f"features.{number}.weight": weight, f"features.{number}.bias": torch.zeros(width)}
        number, channels = number + 2, width
    path = tmp_path_factory.mktemp("vgg") / "vgg16.safetensors"
    save_file(kept, path)
    return path


@pytest.mark.parametrize("reach", [-1, -4, -8])
def test_a_root_by_products_is_that_by_eigenvalues(reach: int) -> None:
    axes = torch.linalg.qr(torch.randn(40, 3, 3, generator=chance(), dtype=torch.double))[0]
    values = 10 ** (reach * torch.rand(40, 3, generator=chance(1), dtype=torch.double))
    values[0], values[1] = torch.tensor([0.2, 0.2, 0.2]), torch.tensor([1, 10**reach, 10**reach])
    matrix = axes * values[:, None] @ axes.mT
    for found, power in zip(root(matrix), (0.5, -0.5), strict=True):
        wanted = axes * values[:, None] ** power @ axes.mT
        assert ((found - wanted).norm(dim=(1, 2)) / wanted.norm(dim=(1, 2))).max() < 1e-4


def test_a_photo_is_given_the_moments_of_a_style() -> None:
    photo, look = (0.5 + 0.05 * torch.randn(2, 3, 64, 64, generator=chance(seed)) for seed in (1, 2))
    look = look * torch.tensor([0.4, 1.0, 0.2]).view(1, 3, 1, 1) + 0.2
    forth, back = palette(look)
    made = recolour(photo, forth)
    assert (made.mean((2, 3)) - look.mean((2, 3))).abs().max() < 1e-4
    assert (torch.cov(made[0].flatten(1)) - torch.cov(look[0].flatten(1))).abs().max() < 3e-4
    assert (forth[:, :, :3] @ back - torch.eye(3)).abs().max() < 1e-4


def test_distances_of_all_pairs_are_those_of_each() -> None:
    own, wanted = ({n: torch.rand(count, 8, 8, generator=chance(count)) for n in "ab"} for count in (6, 3))
    found = style_distances(own, wanted)
    for i, j in np.ndindex(6, 3):
        plain = sum((own[n][i] - wanted[n][j]).square().sum() / wanted[n][j].square().sum() for n in "ab")
        assert found[i, j] == pytest.approx(float(plain), rel=1e-4)


def test_both_judges_agree_on_more_pictures_than_styles(vgg: Path) -> None:
    from minimoto.engines.winograd import kernels

    compiled = kernels(1)
    if compiled is None:
        pytest.skip("no C compiler")
    pictures, photos = (torch.rand(4, 3, 64, 64, generator=chance(seed)) for seed in (1, 2))
    eyes = Perception(vgg, CPU), CompiledJudge(vgg, compiled)
    grams = [eye.grams(torch.rand(2, 3, 64, 64, generator=chance(3))) for eye in eyes]
    assert all(torch.allclose(grams[0][n], grams[1][n], rtol=1e-3, atol=1e-5) for n in grams[0])
    weights = torch.tensor([1.0, 0.1, 0.5, 1.0])
    judged = [eye.judge(pictures, photos, grams[0], Aim(2.0, 1.0, 0.4), weights) for eye in eyes]
    for one, other in zip(*judged, strict=True):
        assert (one - other).norm() < 1e-3 * one.norm()


def test_muon_of_several_kernels_at_once_is_that_of_each() -> None:
    matrices = torch.randn(3, 12, 30, generator=chance())
    together = orthogonalised(matrices)
    assert all(
        torch.allclose(orthogonalised(one[None])[0], two, atol=1e-4)
        for one, two in zip(matrices, together, strict=True)
    )
    assert torch.allclose(orthogonalised(matrices.mT), together.mT, atol=1e-4)
    kernels = [torch.nn.Parameter(torch.zeros(12, 12, 3, 3)) for _ in range(2)]
    for kernel in kernels:
        kernel.grad = torch.randn(12, 12, 3, 3, generator=chance(1))
    Muon(kernels, lr=0.1).step()
    # 0.7 to 1.2: what the five rounds make of a singular value.
    assert 0.06 < float(torch.linalg.matrix_norm(kernels[0].detach().flatten(1), 2)) < 0.13
    assert torch.equal(*kernels)


def lattice(period: float, turned: float = 0.5) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    sides = x * np.cos(turned) + y * np.sin(turned), y * np.cos(turned) - x * np.sin(turned)
    waves = sum(torch.sin(2 * np.pi / period * side) for side in sides)
    return GREY + 0.05 * waves + 0.01 * torch.randn(GREY.shape, generator=chance())


def strokes() -> torch.Tensor:
    """Noise of about the width of the lattice's lines."""
    coarse = torch.randn(1, 1, 43, 43, generator=chance(2))
    return GREY + 0.1 * torch.nn.functional.interpolate(coarse, (128, 128), mode="bicubic", align_corners=False)


def figure(picture: torch.Tensor) -> float:
    return float(weave(picture).amax(2).mean())


@pytest.mark.parametrize("period", [6, 10, 17])
def test_a_lattice_is_regular(period: float) -> None:
    assert figure(lattice(period)) > 0.6


def test_strokes_noise_edges_and_nothing_are_not() -> None:
    noise = GREY + 0.1 * torch.randn(GREY.shape, generator=chance(1))
    edge = GREY + 0.3 * (torch.arange(128) > 50)
    assert figure(strokes()) < 0.3
    assert figure(noise) < 0.2
    assert figure(edge) < 0.2
    assert figure(GREY) < 0.05
    faint = GREY + (lattice(10) - GREY) / 40
    assert figure(faint) < 0.1


def test_only_flat_photos_count() -> None:
    assert flatness(GREY).min() == 1
    assert flatness(strokes()).max() == 0
    assert excess(weave(lattice(10)), flatness(GREY), 0.2) > 0.5
    assert excess(weave(lattice(10)), flatness(strokes()), 0.2) == 0


def test_down_its_gradient_a_lattice_becomes_less_regular() -> None:
    picture, seen = lattice(10), []
    for _ in range(6):
        picture.requires_grad_(True)
        loss = excess(weave(picture), flatness(GREY), 0.2)
        (gradient,) = torch.autograd.grad(loss, picture)
        seen.append(float(loss.detach()))
        picture = picture.detach() - 0.02 * gradient / gradient.abs().max()
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 0.8 * seen[0]


def test_a_gradient_of_nothing_at_all_is_finite() -> None:
    picture = torch.zeros(1, 3, 64, 64, requires_grad=True)
    (gradient,) = torch.autograd.grad(weave(picture).sum(), picture)
    assert gradient.isfinite().all()


def test_a_share_of_crops_is_plain() -> None:
    torch.manual_seed(0)
    crops = torch.rand(200, 3, 64, 64)
    made, plain = skies(crops, 0.3)
    assert 40 < int(plain.sum()) < 80
    assert torch.equal(made[~plain], crops[~plain])
    assert flatness(made[plain]).mean() > 0.3
    assert bool(((made >= 0) & (made <= 1)).all())
    assert not skies(crops, 0.0)[1].any()


def test_crops_show_their_photo() -> None:
    ramp = torch.arange(320).view(1, 1, 320).expand(3, 330, 320) // 2
    photos = Photos([ramp.byte(), ramp[:, :320].byte()], CPU)
    crops = photos.crops(*photos.draw(6, 64, random.Random(1)), 64)
    assert crops.shape == (6, 3, 64, 64)
    steps = crops[:, :, :, 1:] - crops[:, :, :, :-1]
    # Every column the same, and every step as far as the crop is reduced, 0.75 to 5 pixels of half a level.
    assert crops.std(2).max() < 1e-3
    assert steps.mean(3).abs().min() > 0.3 / 255
    assert steps.mean(3).abs().max() < 2.6 / 255


def test_pictures_kept_back_are_the_same_in_another_format(tmp_path: Path) -> None:
    names = ["a", "a-b", "a b", "a_b", "B", "b", *(f"n{i}" for i in range(40))]
    kept = []
    for ending in (".jpg", ".webp"):
        folder = tmp_path / ending[1:]
        folder.mkdir()
        for name in names:
            (folder / f"{name}{ending}").touch()
        kept.append([p.stem for p in listing(folder)[1]])
    assert kept[0] == kept[1] == [p.stem for p in sorted((tmp_path / "jpg").iterdir())[::17]]


def test_further_crops_of_a_style_differ(vgg: Path) -> None:
    picture = (torch.rand(3, 256, 320, generator=chance()) * 255).byte()
    styles = Styles([picture], [1], Perception(vgg, CPU).grams, 4)
    one_by_one = styles.looks(torch.arange(4))
    styles.prepare()
    looks = styles.looks(torch.arange(4))
    assert torch.equal(looks.crops, one_by_one.crops)
    assert all(torch.allclose(looks.grams[n], one_by_one.grams[n], rtol=0.02) for n in looks.grams)
    assert torch.allclose(looks.colours[0], one_by_one.colours[0], atol=1e-5)
    assert looks.crops.shape == (4, 3, 256, 256)
    assert not any(torch.equal(looks.crops[0], crop) for crop in looks.crops[1:])
    assert {int(styles.draw(1, random.Random(seed))) for seed in range(40)} == {0, 1, 2, 3}


@pytest.fixture
def given(vgg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for folder in ("photos", "styles"):
        (tmp_path / folder).mkdir()
        for seed in range(3):
            pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
            Image.fromarray(pixels).resize((400, 300)).save(tmp_path / folder / f"{seed}.webp")
    line = ["--photos", f"{tmp_path}/photos", "--styles", f"{tmp_path}/styles", "--vgg", str(vgg)]
    line += ["--out", f"{tmp_path}/run", "--seconds", "0.01", "--size", "64", "--batch", "4", "--styles-a-step", "2"]
    monkeypatch.setenv("MINIMOTO_DEVICE", "cpu")
    monkeypatch.setattr(sys, "argv", ["style", *line])
    return line


def test_training_goes_on_where_it_was(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    style.train(style.options())
    kept = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert kept["step"] == 1
    monkeypatch.setattr(sys, "argv", ["style", *given, "--again", "--rate", "0.002"])
    resumed = Training.resumed(style.options(), CPU)
    assert resumed.step == 1
    assert resumed.optimisers[0].param_groups[0]["highest"] == 0.002
    style.train(style.options())
    rows = (tmp_path / "run" / "log.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows] == ["1", "2"]
    assert "steps/s" in capsys.readouterr().out
    shipped = begun(tmp_path / "run" / "style.safetensors")
    assert all(parameter.isfinite().all() for parameter in shipped.parameters())


@pytest.mark.parametrize("half", [False, True])
def test_a_step_has_finite_gradients(vgg: Path, half: bool) -> None:
    torch.manual_seed(0)
    pictures = [(torch.rand(3, 320, 330, generator=chance(seed)) * 255).byte() for seed in range(2)]
    eye = Perception(vgg, CPU, torch.bfloat16 if half else torch.float32)
    styles = Styles([p[:, :256, :270] for p in pictures], [1, 1], eye.grams, 2)
    asked = Namespace(batch=4, styles_a_step=2, plain=0.5, half=half, style=2.5, power=1.0, others=0.5, layout=10.0)
    asked.variation, asked.lattice, asked.weave, asked.regular = 0.5, 100.0, 0.5, 0.2
    network = begun(None)
    photos = Photos(pictures, CPU)
    drawn = Drawn.by(photos, styles, asked, 64, random.Random(1))
    loss, sums = painted(network, eye.judge, photos, styles, asked, 64, drawn)
    loss.backward()
    assert sums.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_a_step_that_went_wrong_changes_little(
    given: list[str], vgg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = style.options()
    asked.half = False
    asked.out.mkdir()
    training = Training.resumed(asked, CPU)
    steps = Steps(training, (eye := Perception(vgg, CPU)).judge, *style.pictures(asked, eye, CPU), asked)
    before = [parameter.detach().clone() for parameter in training.network.parameters()]
    with monkeypatch.context() as patch:
        patch.setattr("training.style_training.painted", lambda network, *_: wrong(network))
        steps.one(64, 1.0, random.Random(1))
    assert all(torch.equal(old, new) for old, new in zip(before, training.network.parameters(), strict=True))
    assert not steps.sums().any()
    steps.one(64, 1.0, random.Random(1))
    assert not any(torch.equal(old, new) for old, new in zip(before, training.network.parameters(), strict=True))
    style_loss, content_loss, photos, *_ = steps.sums().tolist()
    assert photos in {1, 2, 3, 4}
    assert style_loss > 0 < content_loss
    assert not steps.sums().any()


def wrong(network: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    loss = sum((p.square().sum() for p in network.parameters()), torch.zeros(())) * float("nan")
    return loss, torch.full((SUMS,), float("nan"))


@pytest.mark.parametrize(("done", "size"), [(0.0, 144), (0.84, 144), (0.85, 216), (1.0, 216)])
def test_crops_grow(done: float, size: int) -> None:
    assert style.side([(144, 0.0), (216, 0.85)], done) == size
