"""The prior of a known object: its frames, its models on disk, and what is refused."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from tracking_scenes import painted_cube

from invgraph.encoders.finder import Finder
from invgraph.encoders.scene_encoder import SceneEncoder
from invgraph.files.tensors import read_tensors, write_tensors
from invgraph.fitting.scene import object_prior as object_prior_module
from invgraph.fitting.scene.object_prior import POSE, object_prior
from invgraph.fitting.scene.scene_model import SceneModel, load_scene_model
from invgraph.geometry import transforms
from invgraph.geometry.lens import Lens
from invgraph.scene.distributions import AnyRotation, Gaussian, PoseInView

LENS = Lens(torch.full((2,), 110.0), torch.full((2,), 32.0), 64, 64)


def test_poses_are_told_in_the_frame_of_the_file():
    model = painted_cube()
    shifted = type(model)(**{**vars(model), "mesh": model.mesh})
    known = object_prior(shifted)
    poses = known.prior.given(LENS).sample(3, torch.Generator().manual_seed(0))[POSE]
    point = torch.tensor([[0.01, 0.02, 0.03]])
    told = transforms.apply(known.camera_from_object(poses), point)
    meant = transforms.apply(poses, point - known.centre)
    torch.testing.assert_close(told, meant)
    [thing] = known.prior.template.objects
    low, high = thing.mesh.vertices.amin(0), thing.mesh.vertices.amax(0)
    torch.testing.assert_close(low, -high, rtol=0, atol=0.03 * model.diameter)


@pytest.mark.parametrize("upright", [True, False])
def test_a_model_is_the_same_when_it_is_read_again(tmp_path, upright):
    model = painted_cube()
    known = object_prior(model) if upright else object_prior(model, AnyRotation())
    torch.manual_seed(0)
    ours = SceneModel.of(SceneEncoder(known.prior, 16), Finder(), known, {"steps": 0})
    ours.save(tmp_path / "model.safetensors")
    again = load_scene_model(tmp_path)
    assert again.facts == ours.facts and again.known.rotation == known.rotation
    image = torch.rand(2, 80, 80, 3, generator=torch.Generator().manual_seed(1))
    lens = Lens(torch.full((2,), 130.0), torch.full((2,), 40.0), 80, 80)
    before, there = ours(image, lens)
    after, there_again = again(image, lens)
    torch.testing.assert_close(before.log_weights, after.log_weights)
    torch.testing.assert_close(before.mode[POSE], after.mode[POSE])
    torch.testing.assert_close(there, there_again)


def spoil(file: Path, part: str, spoilt: Callable[[Tensor], Tensor]) -> None:
    """A model that nothing was taught, with one part of it changed."""
    known = object_prior(painted_cube())
    SceneModel.of(SceneEncoder(known.prior, 16), Finder(), known, {"steps": 0}).save(file)
    stored = read_tensors(file, "")
    assert stored is not None
    tensors, facts = stored
    write_tensors(file, {**tensors, part: spoilt(tensors[part])}, facts)


@pytest.mark.parametrize("part", ["encoder.joined.weight", "finder.last.weight", "object.centre"])
def test_a_model_with_a_number_that_is_none_is_refused(tmp_path, part):
    spoil(
        tmp_path / "model.safetensors",
        part,
        lambda value: value.index_fill(0, torch.tensor([0]), math.nan),
    )
    with pytest.raises(ValueError, match=rf"model\.safetensors holds numbers .*{part}"):
        load_scene_model(tmp_path)


def test_a_model_keeps_the_prior_that_it_was_trained_on(tmp_path, monkeypatch):
    known = object_prior(painted_cube())
    pose = known.prior.distributions[POSE]
    assert isinstance(pose, PoseInView)
    pose = replace(pose, size=(0.4, 0.6), offset=0.2)
    prior = replace(known.prior, distributions={**known.prior.distributions, POSE: pose})
    known = replace(known, prior=prior)
    SceneModel.of(SceneEncoder(prior, 16), Finder(), known, {"steps": 0}).save(
        tmp_path / "model.safetensors"
    )
    monkeypatch.setattr(object_prior_module, "UNEVEN", (0.1, 0.1))
    again = load_scene_model(tmp_path).known.prior.distributions
    found = again[POSE]
    assert isinstance(found, PoseInView)
    assert (found.size, found.offset) == (pose.size, pose.offset)
    for path, free in prior.distributions.items():
        if isinstance(free, Gaussian):
            found = again[path]
            assert isinstance(found, Gaussian)
            torch.testing.assert_close(found.mean, free.mean)
            torch.testing.assert_close(found.scale, free.scale)


@pytest.mark.parametrize(
    ("part", "spoilt"),
    [
        ("object.faces", lambda faces: faces + 1000),
        ("detail.faces", lambda faces: faces - 1000),
        ("object.albedo", lambda albedo: albedo[:-1]),
        ("detail.vertices", lambda vertices: vertices[:, :2].contiguous()),
        ("object.centre", lambda centre: centre[:2]),
        ("prior.lights.0.coefficients.scale", lambda scale: -scale),
        ("encoder.turns", lambda turns: turns[:-1]),
        ("finder.last.weight", lambda weight: weight[:1]),
    ],
)
def test_a_model_whose_parts_do_not_fit_is_refused(tmp_path, part, spoilt):
    spoil(tmp_path / "model.safetensors", part, spoilt)
    with pytest.raises(ValueError, match=r"model\.safetensors is no model of scenes"):
        load_scene_model(tmp_path)


def test_files_that_are_no_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        load_scene_model(tmp_path / "nothing.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(b"noise")
    with pytest.raises(ValueError, match="damaged"):
        load_scene_model(tmp_path / "noise.safetensors")
    write_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, {"network": "light"})
    with pytest.raises(ValueError, match="no model of scenes"):
        load_scene_model(tmp_path / "other.safetensors")
    assert read_tensors(tmp_path / "other.safetensors", "") is not None
