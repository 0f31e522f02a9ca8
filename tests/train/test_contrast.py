"""Pre-training of the encoder: its loss, its pairs, and that depth begins with what it leaves."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from math import exp, log
from pathlib import Path

import numpy as np
import pytest
import torch
from moving_camera import HEIGHT, WIDTH, film
from PIL import Image
from torch import Tensor
from trainings import stopped_after

from invgraph.cli import main
from invgraph.data import read_capture
from invgraph.encoders import ResNet, load_depth_model, load_pretrained, save_encoder
from invgraph.files.tensors import read_tensors
from invgraph.geometry.color import bytes_from_unit
from invgraph.train import RECIPES, ContrastSettings, Trained, train_depth, train_encoder
from invgraph.train.clips import Clip, read_clip, split
from invgraph.train.contrastive import Contrast, nt_xent
from invgraph.train.pairs import PairSet, near, view
from invgraph.train.previews import neighbours

SMALL = ContrastSettings(
    network="light",
    height=HEIGHT,
    width=WIDTH,
    batch=8,
    steps=16,
    rate=1e-2,
    reach=2,
    temperature=0.5,
)
DEPTH = replace(
    RECIPES["motion"], network="light", height=HEIGHT, width=WIDTH, batch=2, steps=1, rate=1e-3
)
# Cosines: 1 in the first pair, -1 in the second, 0 between them.
VIEWS = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0], [0.0, -1.0]])


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A walk along a wall, and one whose pictures are the same small and side by side."""
    folder = tmp_path_factory.mktemp("recording")
    for name in ("large", "fine"):
        film(folder / name, 24)
    for path in (folder / "fine").iterdir():
        small = np.asarray(Image.open(path).resize((WIDTH // 4, HEIGHT // 4)))
        Image.fromarray(np.tile(small, (4, 4, 1))).save(path)
    return [folder / "large", folder / "fine"]


@pytest.fixture(scope="module")
def clips(walks: list[Path]) -> list[Clip]:
    work = walks[0].parent / "work" / "clips"
    size = (HEIGHT, WIDTH)
    return [read_clip(path.name, read_capture(path).frames, size, work=work) for path in walks]


def train(walks: list[Path], out: Path, settings: ContrastSettings, **options) -> Trained:
    options = {"logger": "none", "workers": 0, "work": walks[0].parent / "work", **options}
    return train_encoder([read_capture(path) for path in walks], out, settings, **options)


@pytest.fixture(scope="module")
def pretrained(walks: list[Path]) -> Trained:
    return train(walks, walks[0].parent / "encoder", SMALL, logger="tensorboard")


def none_ignored() -> Tensor:
    return torch.zeros(4, 4, dtype=torch.bool)


def test_the_loss_is_what_equation_1_gives():
    easy, hard = log(1 + 2 * exp(-2)), log(1 + 2 * exp(2))
    assert float(nt_xent(VIEWS, none_ignored(), 0.5)) == pytest.approx((easy + hard) / 2)
    ignored = none_ignored()
    ignored[0, 2] = ignored[2, 0] = True
    expected = (log(1 + exp(-2)) + easy + log(1 + exp(2)) + hard) / 4
    assert float(nt_xent(VIEWS, ignored, 0.5)) == pytest.approx(expected)


def test_the_loss_does_not_depend_on_the_order():
    views = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    ignored = torch.zeros(8, 8, dtype=torch.bool)
    ignored[0, 5] = ignored[5, 0] = True
    whole = nt_xent(views, ignored, 0.2)
    for order in ([1, 0, 3, 2, 5, 4, 7, 6], [4, 5, 0, 1, 6, 7, 2, 3]):
        again = nt_xent(views[order], ignored[order][:, order], 0.2)
        assert torch.allclose(whole, again, rtol=1e-5)


def test_ignored_views_have_no_gradient():
    everything = torch.ones(4, 4, dtype=torch.bool)
    views = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = nt_xent(views, everything, 0.5)
    (slope,) = torch.autograd.grad(loss, views)
    assert float(loss.detach()) == 0 and not slope.any()
    # The second of three pairs ignores the others, and they ignore it.
    ignored = torch.zeros(6, 6, dtype=torch.bool)
    ignored[:, 2:4] = ignored[2:4] = True
    slopes = []
    for seed in (1, 2):
        second = torch.randn(2, 5, generator=torch.Generator().manual_seed(seed))
        parts = torch.cat((views[:2].detach(), second, views[2:].detach())).requires_grad_()
        slopes.append(torch.autograd.grad(nt_xent(parts, ignored, 0.5), parts)[0])
    assert torch.allclose(*slopes, atol=1e-6) and not slopes[0][2:4].any()
    assert (slopes[0][[0, 1, 4, 5]].abs().amax(1) > 1e-2).all()


def test_views_of_near_frames_of_one_recording_are_not_told_apart():
    clip, frame = torch.tensor([0, 0, 1]), torch.tensor([[3, 5], [7, 40], [4, 3]])
    expected = [
        "110000",  # frame 3 of recording 0: itself and 5
        "111000",  # 5: also 7
        "011000",
        "000100",  # 40 is alone
        "000011",
        "000011",
    ]
    found = ["".join(str(int(x)) for x in row) for row in near(clip, frame, 2)]
    assert found == expected


def test_pairs_are_of_frames_near_in_time_and_not_of_those_held_out(clips: list[Clip]):
    clip = clips[0]
    learned, held = split(clip)
    assert not set(learned) & set(held) and len(learned) + len(held) == 24
    pairs = PairSet([clip], [learned], reach=2)
    steps = set()
    for number in range(60):
        first, second = pairs[number]["frame"].tolist()
        assert {first, second} <= set(learned)
        steps.add(second - first)
    assert steps == {-2, -1, 1, 2}


def test_a_number_always_gives_the_same_pair(clips: list[Clip]):
    frames = [range(24)] * 2
    one, again, other = (PairSet(clips, frames, reach=2, seed=seed) for seed in (3, 3, 4))
    for number in (0, 7, 1000):
        assert all(torch.equal(one[number][name], again[number][name]) for name in one[number])
    assert not torch.equal(one[0]["views"], one[1]["views"])
    assert not torch.equal(one[0]["views"], other[0]["views"])


def test_views_are_cut_out_flipped_and_coloured():
    across = torch.linspace(0, 1, 96).expand(64, 96)
    down = torch.linspace(0, 1, 64)[:, None].expand(64, 96)
    image = torch.stack((across, down, 0.5 * torch.ones(64, 96)), -1)
    rng = np.random.default_rng(0)
    views = torch.stack([view(image, rng) for _ in range(200)])
    assert views.shape == (200, 64, 96, 3) and float(views.min()) >= 0 and float(views.max()) <= 1
    grey = (views.amax(-1) - views.amin(-1)).amax((1, 2)) < 1e-6
    assert 0.12 < float(grey.float().mean()) < 0.28
    kept = torch.tensor([bool((each[..., 2] - 0.5).abs().max() < 1e-6) for each in views])
    assert 0.08 < float(kept.float().mean()) < 0.25  # neither grey nor recoloured: 16 %
    spans = views[kept][..., 0].amax((1, 2)) - views[kept][..., 0].amin((1, 2))
    heights = views[kept][..., 1].amax((1, 2)) - views[kept][..., 1].amin((1, 2))
    areas = spans * heights
    assert 0.2 < float(areas.min()) < 0.5 < float(areas.max()) <= 1
    flipped = views[kept][:, 0, 0, 0] > views[kept][:, 0, -1, 0]
    assert 0.2 < float(flipped.float().mean()) < 0.8


def test_training_lowers_the_loss_of_frames_held_out(clips: list[Clip], pretrained: Trained):
    held = PairSet(clips, [split(clip)[1] for clip in clips], reach=SMALL.reach)
    batch = held.collate([held[number] for number in range(16)])
    torch.manual_seed(0)
    module = Contrast(SMALL)
    with torch.no_grad():
        before = float(module.explain(batch)["loss"])
        stored = read_tensors(pretrained.model.with_name("checkpoint.safetensors"), "")
        assert stored is not None
        module.use({n[9:]: x for n, x in stored[0].items() if n.startswith("averaged.")})
        after = float(module.explain(batch)["loss"])
    assert after < before - 0.3
    encoder = load_pretrained(pretrained.model, "light")
    assert encoder.seen == {mark for clip in clips for mark in clip.prints}
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, module.encoder.state_dict()[name]), name
    noted = json.loads(pretrained.model.with_name("metrics.json").read_text())
    assert noted["steps"] == pretrained.steps and noted["held_out"] == pretrained.held_out < before
    assert list(pretrained.model.parent.glob("curves/events.*"))


def test_depth_begins_with_the_encoder(walks: list[Path], pretrained: Trained, tmp_path: Path):
    recording = read_capture(walks[0])
    recording = replace(recording, frames=recording.frames[:23])
    options = {"logger": "none", "workers": 0, "work": walks[0].parent / "work"}
    trained = train_depth([recording], tmp_path, DEPTH, encoder=pretrained.model, **options)
    model = load_depth_model(trained.model)
    encoder = load_pretrained(pretrained.model, "light")
    now = model.network.encoder.state_dict()
    moved = max(float((x - now[name]).abs().max()) for name, x in encoder.state_dict().items())
    assert 0 < moved < 1e-3  # one step at a hundredth of the rate
    # Frames that the encoder alone has seen count as learned from.
    assert model.facts["trained_on"] == sorted(encoder.seen) and len(encoder.seen) == 48
    with pytest.raises(
        ValueError,
        match="is a run on another",
    ):
        train_depth([recording], tmp_path, DEPTH, resume=True, **options)


def test_encoders_that_do_not_fit_are_refused(pretrained: Trained, tmp_path: Path):
    with pytest.raises(ValueError, match=r"holds a light encoder, expected resnet18; choose --net"):
        load_pretrained(pretrained.model)
    torch.manual_seed(0)
    network = ResNet("light")
    save_encoder(tmp_path / "encoder.safetensors", network)
    same = load_pretrained(tmp_path / "encoder.safetensors", "light")
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(same(image)[-1], network(image)[-1])
    network.stages = network.stages[:3]
    save_encoder(tmp_path / "encoder.safetensors", network)
    with pytest.raises(ValueError, match=r"holds no encoder; give what `invgraph train encoder`"):
        load_pretrained(tmp_path / "encoder.safetensors", "light")


def test_trainings_that_cannot_be_are_refused(
    walks: list[Path], clips: list[Clip], pretrained: Trained
):
    out = pretrained.model.parent
    with pytest.raises(ValueError, match=r"holds a run; continue it by --resume"):
        train(walks, out, SMALL)
    with pytest.raises(
        ValueError,
        match=r"other settings: .*reach\)",
    ):
        train(walks, out, replace(SMALL, reach=3), resume=True)
    with pytest.raises(ValueError, match=r"reach is 0, expected 1 or more"):
        replace(SMALL, reach=0)
    with pytest.raises(ValueError, match=r"no frames are more than 23 apart.*longer recording"):
        PairSet(clips[:1], [range(24)], reach=23)
    assert len(PairSet(clips, [range(24)] * 2, reach=23)) == 48


def test_the_command_names_mistakes(
    walks: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    walk = str(walks[0])
    for words, message in (
        ([], "expected at least one video or folder"),
        ([str(tmp_path / "none.mp4")], "does not exist"),
        ([walk, "--size", "100", "100"], "height is 100, expected a multiple of 32"),
        ([walk, "--budget", "soon"], "expected a time such as"),
        ([walk, "--batch", "0"], "batch is 0, expected 1 or more"),
    ):
        assert main(["train", "encoder", *words, "--out", str(tmp_path / "run")]) == 2
        assert message in capsys.readouterr().err
    words = ["train", "depth", walk, "--encoder", str(tmp_path / "none.safetensors")]
    assert main([*words, "--out", str(tmp_path / "run")]) == 2
    assert "is no readable safetensors file" in capsys.readouterr().err


@pytest.mark.slow
def test_a_training_that_was_stopped_ends_where_an_unbroken_one_does(
    walks: list[Path], pretrained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with stopped_after(5, monkeypatch):
        train(walks, tmp_path, SMALL)
    trained = train(walks, tmp_path, SMALL, resume=True)
    assert trained.steps == pretrained.steps > 5
    whole, parts = (
        load_pretrained(each.model, "light").state_dict() for each in (pretrained, trained)
    )
    for name in whole:
        assert torch.allclose(whole[name], parts[name], rtol=1e-3, atol=1e-5), name


@pytest.mark.slow
def test_two_processes_learn_what_one_does(walks: list[Path], tmp_path: Path):
    """The same pairs a step, shared by two processes, all told apart: the same losses."""
    words = ["-m", "invgraph.cli", "train", "encoder", *map(str, walks)]
    words += ["--network", "light"]
    words += ["--size", str(HEIGHT), str(WIDTH), "--batch", "4", "--steps", "4"]
    words += ["--rate", "1e-2", "--workers", "0", "--logger", "none"]
    environment = {**os.environ, "INVGRAPH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    one = [sys.executable, *words, "--out", str(tmp_path / "one")]
    two = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *words]
    two += ["--out", str(tmp_path / "two")]
    for command in (one, two):
        subprocess.run(command, check=True, env=environment, capture_output=True, timeout=600)
    torch.manual_seed(0)
    begun = ResNet("light").state_dict()
    first, second = (
        load_pretrained(tmp_path / name / "encoder.safetensors", "light").state_dict()
        for name in ("one", "two")
    )
    moved = sum(float((first[name] - begun[name]).abs().sum()) for name in begun)
    apart = sum(float((first[name] - second[name]).abs().sum()) for name in begun)
    assert moved > 0 and apart < 0.25 * moved  # 0.6 where each process is left to itself
    facts = [json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("one", "two")]
    assert facts[0]["held_out"] == pytest.approx(facts[1]["held_out"], rel=0.01)


def test_neighbours_show_the_views_most_alike_and_mark_the_partner():
    views = torch.arange(6).float()[:, None, None, None].expand(6, 8, 8, 3) / 8
    # Views 0 and 1 agree; view 2 is most like view 4, then like view 3, its partner.
    embedded = torch.tensor(
        [[1.0, 0, 0], [1, 0, 0], [0, 1, 0.2], [0, 0.6, 1], [0, 1, 0.1], [0, -1, 0]]
    )
    picture = neighbours(views, embedded)
    assert picture.shape == (3 * 8, 4 * 8, 3)
    levels = bytes_from_unit(views[:, 0, 0]).numpy()
    for row, shown in ((0, [0, 1]), (1, [2, 4, 3])):
        for column, number in enumerate(shown):
            assert (picture[8 * row + 4, 8 * column + 4] == levels[number]).all()
    green = (picture[::8, ::8] == (60, 200, 110)).all(-1)
    assert green[:2].tolist() == [[False, True, False, False], [False, False, True, False]]


def test_a_training_whose_time_is_over_is_not_trained_on(walks: list[Path], tmp_path: Path):
    first = train(walks, tmp_path, SMALL, budget_s=1e-3)
    log, weights = (tmp_path / "log.csv").read_text(), first.model.read_bytes()
    again = train(walks, tmp_path, SMALL, budget_s=1e-3, resume=True)
    assert again.steps == first.steps == 1 and again.held_out == first.held_out
    assert (tmp_path / "log.csv").read_text() == log and first.model.read_bytes() == weights
    assert len(json.loads((tmp_path / "run.json").read_text())["sessions"]) == 1
