"""Tensors with facts: what is damaged or hostile is refused in one line."""

import json
from pathlib import Path

import pytest
import torch

from invgraph.encoders.depth_model import load_depth_model
from invgraph.encoders.resnet import load_pretrained
from invgraph.files.tensors import read_tensors, write_tensors
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
