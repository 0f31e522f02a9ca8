"""A trained network applied to a recording, from the command line."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from moving_camera import HEIGHT, WIDTH, film

from invgraph.cli import main
from invgraph.encoders import DepthModel, DepthNet, ResNet, load_depth_model


def untrained() -> DepthModel:
    torch.manual_seed(0)
    facts = {
        "network": "light",
        "normalise": True,
        "height": HEIGHT,
        "width": WIDTH,
        "spread": 2.0,
        "focal": [1.0],
        "trained_on": ["0" * 64],
    }
    return DepthModel(DepthNet(ResNet("light")).eval(), facts)


def test_a_model_survives_its_file(tmp_path: Path):
    model = untrained()
    model.save(tmp_path / "model.safetensors")
    images = torch.rand(2, 40, 60, 3)
    ours, theirs = model(images), load_depth_model(tmp_path)(images)
    assert torch.equal(ours.log_depth, theirs.log_depth)
    assert torch.equal(ours.scale, theirs.scale)


def test_the_factor_of_uncertainty_counts():
    model = untrained()
    images = torch.rand(1, HEIGHT, WIDTH, 3)
    wide = DepthModel(model.network, {**model.facts, "spread": 4.0})
    assert torch.allclose(2 * model(images).scale, wide(images).scale)


def test_every_frame_gets_depth(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    film(tmp_path / "walk", 4)
    untrained().save(tmp_path / "model.safetensors")
    out = tmp_path / "out"
    words = [str(tmp_path / "model.safetensors"), str(tmp_path / "walk"), "--out", str(out)]
    assert main(["infer", "depth", *words, "--no-motion"]) == 0
    facts = json.loads((out / "infer.json").read_text())
    assert facts["trained_on"] == ["0" * 64] and len(facts["frames"]) == 4
    for name in facts["frames"]:
        depth = np.load(out / "depth" / f"{name}.npy", allow_pickle=False)
        assert depth.shape == (HEIGHT, WIDTH) and (depth > 0).all()
    assert (out / "depth.mp4").stat().st_size > 0
    assert "4 frames" in capsys.readouterr().out
    before = (out / "infer.json").read_bytes()
    assert main(["infer", "depth", *words, "--no-motion"]) == 2
    assert "holds a finished result; remove it or choose another" in capsys.readouterr().err
    assert (out / "infer.json").read_bytes() == before


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    film(tmp_path / "walk", 3)
    assert main(["infer", "depth", str(tmp_path / "none"), str(tmp_path / "walk")]) == 2
    assert "does not exist; give what `invgraph train depth` wrote" in capsys.readouterr().err
    untrained().save(tmp_path / "model.safetensors")
    words = ["infer", "depth", str(tmp_path / "model.safetensors"), str(tmp_path / "no.mp4")]
    assert main(words) == 2
    assert "does not exist" in capsys.readouterr().err


def test_an_inference_that_was_cut_short_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    film(tmp_path / "walk", 4)
    untrained().save(tmp_path / "model.safetensors")
    out = tmp_path / "out"
    words = ["infer", "depth", str(tmp_path / "model.safetensors"), str(tmp_path / "walk")]
    words += ["--out", str(out), "--no-motion"]
    calls, infer = [], DepthModel.__call__

    def stopped(self, images):
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return infer(self, images)

    monkeypatch.setattr(DepthModel, "__call__", stopped)
    assert main(words) == 130
    assert not (out / "infer.json").exists() and len(list((out / "depth").glob("*.png"))) == 2
    first = sorted((out / "depth").glob("*[0-9].npy"))[0].read_bytes()
    assert main(words) == 0
    assert len(calls) == 5  # two before Ctrl-C, the one it fell into, two after it
    assert sorted((out / "depth").glob("*[0-9].npy"))[0].read_bytes() == first
    rows = list(csv.DictReader((out / "log.csv").read_text().splitlines()))
    names = json.loads((out / "infer.json").read_text())["frames"]
    assert [row["frame"] for row in rows] == names and float(rows[0]["depth_median"]) > 0
    # The weights of another network are other work, even at the same place.
    other = untrained()
    torch.nn.init.zeros_(next(iter(other.network.parameters())))
    (out / "infer.json").unlink()
    other.save(tmp_path / "model.safetensors")
    assert main(words) == 2
    assert "is a run on another walk" in capsys.readouterr().err
