"""Tensors with facts: what is damaged or hostile is refused in one line."""

import json
from pathlib import Path

import pytest
import torch

from invgraph.encoders import DepthModel, DepthNet, ResNet, load_depth_model, load_pretrained
from invgraph.files.tensors import read_model, read_tensors, write_tensors
from invgraph.fitting.scene.scene_model import load_scene_model
from invgraph.scene.belief_files import read_belief


def stored(facts: str | None) -> bytes:
    about = {} if facts is None else {"__metadata__": {"facts": facts}}
    tensor = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    header = json.dumps(about | tensor).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


FILES = {
    "deep facts": stored("[" * 100_000),
    "a list of facts": stored("[]"),
    "a number": stored("3"),
    "no JSON": stored("{"),
    "deep header": (100_000).to_bytes(8, "little") + b"[" * 100_000,
    "long header": (2**60).to_bytes(8, "little") + b"{}",
    "junk": b"junk",
    "nothing": b"",
}


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_named(tmp_path: Path, name: str):
    file = tmp_path / "model.safetensors"
    file.write_bytes(FILES[name])
    readers = (
        lambda: read_tensors(file, "restore it"),
        lambda: load_depth_model(file),
        lambda: load_scene_model(file),
        lambda: read_belief(file),
        lambda: load_pretrained(file),
    )
    for read in readers:
        with pytest.raises(ValueError, match=r"model\.safetensors") as error:
            read()
        assert "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize(
    "facts",
    [{}, {"network": []}, {"network": {}, "normalise": 1}, {"encoder": []}, {"version": 1.0}],
)
def test_facts_of_other_things_are_no_model(tmp_path: Path, facts: dict):
    file = tmp_path / "model.safetensors"
    write_tensors(file, {"a": torch.zeros(1)}, facts)
    for read in (load_depth_model, load_scene_model, read_belief, load_pretrained):
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            read(file)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400, 1e300])
def test_models_with_numbers_that_are_not_finite(tmp_path: Path, number: float):
    file = tmp_path / "model.safetensors"
    write_tensors(file, {"a": torch.zeros(1)}, {"focal": [{"x": number}]})
    for read in (load_depth_model, load_scene_model):
        with pytest.raises(ValueError, match=r"model\.safetensors holds .* not finite \(focal\)"):
            read(file)
    write_tensors(file, {"a": torch.tensor([float("nan")])}, {})
    for read in (load_depth_model, load_scene_model):
        with pytest.raises(ValueError, match=r"model\.safetensors holds .* not finite \(a\)"):
            read(file)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"focal": []}, {"focal": [-1.0]}, {"focal": ["1"]}, {"focal": 3}, {"metres": -2.0}),
        *({"height": 1.5}, {"width": 0}, {"spread": 0.0}, {"spread": None}),
    ],
)
def test_depth_models_with_impossible_facts(tmp_path: Path, wrong: dict):
    network = DepthNet(ResNet("light"))
    right = {"network": "light", "normalise": True, "height": 64, "width": 96, "spread": 1.0}
    right |= {"focal": [0.8], "trained_on": []}
    file = tmp_path / "model.safetensors"
    DepthModel(network, right).save(file)
    assert load_depth_model(file).facts == right
    DepthModel(network, right | wrong).save(file)
    with pytest.raises(ValueError, match=r"model\.safetensors is no depth model \(.+\); give what"):
        load_depth_model(file)


def test_facts_may_be_deeper_than_the_stack(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(stored('{"a": ' + "[" * 900 + "1" + "]" * 900 + "}"))
    assert "a" in read_model(path, "give one")[2]
    path.write_bytes(stored('{"a": ' + "[" * 900 + "1e999" + "]" * 900 + "}"))
    with pytest.raises(ValueError, match=r"numbers that are not finite \(a\)"):
        read_model(path, "give one")
