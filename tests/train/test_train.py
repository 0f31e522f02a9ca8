"""Training: it learns, a kill loses nothing, and bad recordings are refused."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from moving_camera import HEIGHT, WIDTH, film
from trainings import stopped_after

from invgraph.cli import main
from invgraph.data import read_capture
from invgraph.encoders import DepthModel, DepthNet, ResNet, load_depth_model
from invgraph.files.tensors import read_tensors, write_tensors
from invgraph.train import RECIPES, DepthSettings, train_depth
from invgraph.train.base_module import Learning
from invgraph.train.depth_module import DepthTraining

SMALL = replace(
    RECIPES["motion"], network="light", height=HEIGHT, width=WIDTH, batch=2, steps=6, rate=1e-3
)


def settings(**changes) -> DepthSettings:
    return replace(SMALL, **changes)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording") / "walk"
    film(folder, 24)
    return folder


def train(walk: Path, out: Path, given: DepthSettings, **options):
    options = {"logger": "none", "workers": 0, "work": walk.parent / "work", **options}
    return train_depth([read_capture(walk)], out, given, **options)


def weights(out: Path) -> dict[str, torch.Tensor]:
    stored = read_tensors(out / "model.safetensors", "")
    assert stored is not None
    return stored[0]


def test_a_training_leaves_a_model_panels_and_facts(walk: Path, tmp_path: Path):
    out = tmp_path / "run"
    trained = train(walk, out, settings(), logger="tensorboard")
    assert trained.steps == 6
    model = load_depth_model(out)
    belief = model(torch.rand(2, 50, 70, 3))
    assert belief.log_depth.shape == (2, 50, 70) and bool((belief.scale > 0).all())
    assert len(model.facts["trained_on"]) == 24
    assert model.facts["focal"] == [pytest.approx(1.0, abs=0.1)]
    assert list((out / "renders").glob("preview_*.png"))
    assert list((out / "curves").glob("events.*"))
    assert json.loads((out / "metrics.json").read_text())["steps"] == 6


@pytest.mark.slow
def test_a_training_that_was_stopped_ends_where_an_unbroken_one_does(
    walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train(walk, tmp_path / "whole", settings(steps=8))
    with stopped_after(3, monkeypatch):
        train(walk, tmp_path / "parts", settings(steps=8))
    stopped = read_tensors(tmp_path / "parts" / "checkpoint.safetensors", "")
    assert stopped is not None and stopped[1]["done"] == 3
    train(walk, tmp_path / "parts", settings(steps=8), resume=True)
    whole, parts = (weights(tmp_path / name) for name in ("whole", "parts"))
    for name in whole:
        assert torch.allclose(whole[name], parts[name], rtol=1e-3, atol=1e-5), name


def test_a_folder_with_a_training_is_not_overwritten(walk: Path, tmp_path: Path):
    train(walk, tmp_path, settings(steps=1))
    with pytest.raises(ValueError, match=r"holds a run; continue it by --resume"):
        train(walk, tmp_path, settings(steps=1))
    with pytest.raises(
        ValueError,
        match=r"is a run on another .*other settings: batch\)",
    ):
        train(walk, tmp_path, settings(steps=1, batch=4), resume=True)
    checkpoint = tmp_path / "checkpoint.safetensors"
    stored = read_tensors(checkpoint, "")
    assert stored is not None
    tensors, facts = stored
    name = next(name for name in tensors if name.startswith("weights."))
    for broken in (
        ({k: v for k, v in tensors.items() if k != name}, facts),
        ({**tensors, name: torch.zeros(2, 2)}, facts),
        (tensors, {**facts, "done": "soon"}),
    ):
        write_tensors(checkpoint, *broken)
        with pytest.raises(ValueError, match=r"is damaged; delete it and train again"):
            train(walk, tmp_path, settings(steps=1), resume=True)
    checkpoint.unlink()
    checkpoint.mkdir()
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is not a file; delete it"):
        train(walk, tmp_path, settings(steps=1), resume=True)


def test_ctrl_c_while_averaged_weights_are_scored_keeps_those_that_learn(
    walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: dict[str, torch.Tensor] = {}
    use, score = Learning.use, Learning.validation_step

    def watched(self: Learning, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        before = use(self, values)
        if values is self.averaged:
            seen.update(before)
        return before

    def stopped(self: Learning, batch) -> None:
        if self.done == 2:
            raise KeyboardInterrupt
        score(self, batch)

    monkeypatch.setattr(Learning, "use", watched)
    monkeypatch.setattr(Learning, "validation_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(walk, tmp_path, settings())
    stored = read_tensors(tmp_path / "checkpoint.safetensors", "")
    assert stored is not None and stored[1]["done"] == 2
    changed = [not x.equal(stored[0][f"averaged.{name}"]) for name, x in seen.items()]
    assert any(changed)
    for name, x in seen.items():
        assert x.equal(stored[0][f"weights.{name}"]), name


def test_weights_that_are_no_numbers_are_said(walk: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"loss is nan at step \d; .*use a lower --rate"):
        train(walk, tmp_path, settings(rate=1e30))


@pytest.mark.slow
def test_a_loss_that_is_no_number_keeps_the_last_weights(
    walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train(walk, tmp_path, settings(steps=4), budget_s=1e-3)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    explain = DepthTraining.explain

    def broken(self: DepthTraining, groups):
        parts = explain(self, groups)
        return {name: part * (float("nan") if self.done > 1 else 1) for name, part in parts.items()}

    monkeypatch.setattr(DepthTraining, "explain", broken)
    with pytest.raises(ValueError, match=r"loss is nan at step 2; .*checkpoint\.safetensors"):
        train(walk, tmp_path, settings(steps=4), resume=True)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_checkpoint(
    walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train(walk, tmp_path, settings(steps=4), budget_s=1e-3)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device", "checkpoint.safetensors")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        train(walk, tmp_path, settings(steps=4), resume=True)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"height is 100, expected a multiple of 32"):
        settings(height=100)
    with pytest.raises(ValueError, match=r"batch is 0, expected 1 or more"):
        settings(batch=0)
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"rate is .*, expected a positive number"):
            settings(rate=rate)
    with pytest.raises(ValueError, match=r"seed is -1, expected a number from 0"):
        settings(seed=-1)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"does not exist; give what `invgraph train depth` wrote"):
        load_depth_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"is damaged .*train again or restore it"):
        load_depth_model(tmp_path)
    model = DepthModel(DepthNet(ResNet("light")), {"network": "light", "normalise": True})
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="is no depth model"):
        load_depth_model(tmp_path)


def test_the_command_names_mistakes(walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for words, message in (
        ([], "expected at least one video or folder"),
        ([str(tmp_path / "none.mp4")], "does not exist"),
        ([str(walk), "--size", "100", "100"], "height is 100, expected a multiple of 32"),
        ([str(walk), "--budget", "soon"], "expected a time such as"),
    ):
        assert main(["train", "depth", *words, "--out", str(tmp_path / "run")]) == 2
        assert message in capsys.readouterr().err
    assert main(["train", "pose"]) == 2


@pytest.mark.slow
def test_two_processes_learn_what_one_does(walk: Path, tmp_path: Path):
    """The same groups a step, shared by two processes: the same losses."""
    words = ["-m", "invgraph.cli", "train", "depth", str(walk), "--recipe", "motion"]
    words += ["--network", "light", "--size", str(HEIGHT), str(WIDTH), "--batch", "2"]
    words += ["--steps", "4", "--rate", "1e-2", "--workers", "0", "--logger", "none"]
    environment = {**os.environ, "INVGRAPH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    one = [sys.executable, *words, "--out", str(tmp_path / "one")]
    two = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *words]
    two += ["--out", str(tmp_path / "two")]
    for command in (one, two):
        subprocess.run(command, check=True, env=environment, capture_output=True, timeout=600)
    torch.manual_seed(0)
    begun = DepthTraining(settings(), [True]).depth.state_dict()
    first, second = (weights(tmp_path / name) for name in ("one", "two"))
    moved = sum(float((first[name] - begun[name]).abs().sum()) for name in begun)
    apart = sum(float((first[name] - second[name]).abs().sum()) for name in begun)
    assert moved > 0 and apart < 0.25 * moved
    facts = [json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("one", "two")]
    assert facts[0]["held_out"] == pytest.approx(facts[1]["held_out"], rel=0.01)
