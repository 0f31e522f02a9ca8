"""Waking: photos are explained and learned from, and the bound's gradient is right."""

import json
from pathlib import Path

import pytest
import torch
import trimesh
from PIL import Image
from tracking_scenes import painted_cube

from invgraph.files.pictures import encode_png
from invgraph.files.tensors import read_tensors
from invgraph.fitting.scene.memory import Memory
from invgraph.fitting.scene.object_prior import POSE, object_prior
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import srgb_from_linear
from invgraph.geometry.lens import Lens
from invgraph.rendering.render import render
from invgraph.train.scene_module import SceneTraining
from invgraph.train.settings import SceneSettings
from invgraph.train.train_scene import train_scene

SMALL = SceneSettings(batch=32, steps=10, hypotheses=32)
WIDE = Lens(torch.full((2,), 200.0), torch.full((2,), 64.0), 128, 128)


def remembered(module: SceneTraining, count: int) -> list[Memory]:
    """Photos without noise, and the truth about them."""
    prior = module.known.prior.given(WIDE)
    values = prior.sample(count, torch.Generator().manual_seed(5))
    drawn = render(prior.scene(values), Camera(WIDE, torch.eye(4)), outputs=("color", "alpha"))
    assert drawn.color is not None and drawn.alpha is not None
    images = drawn.color.clamp_min(0) + 0.2 * (1 - drawn.alpha[..., None])
    return [
        Memory(images[i], WIDE, {p: v[i : i + 1] for p, v in values.items()}, torch.ones(1), 0.9)
        for i in range(count)
    ]


def test_the_gradient_of_the_bound_is_right():
    torch.manual_seed(0)
    module = SceneTraining(SMALL, object_prior(painted_cube()))
    module.memories = remembered(module, 3)
    for bias in (module.encoder.place.bias, module.encoder.log_weights.bias):
        [slope] = torch.autograd.grad(module.wake_loss(0, 6), bias)
        for index in (0, 2, 5):
            with torch.no_grad():
                bias[index] += 0.02
                above = module.wake_loss(0, 6)
                bias[index] -= 0.04
                below = module.wake_loss(0, 6)
                bias[index] += 0.02
            numeric = float(above - below) / 0.04
            assert float(slope[index]) == pytest.approx(numeric, rel=0.03, abs=0.02)


def test_what_was_remembered_is_believed_more():
    torch.manual_seed(0)
    module = SceneTraining(SMALL, object_prior(painted_cube()))
    module.memories = remembered(module, 2)
    optimizer = torch.optim.AdamW(module.encoder.parameters(), 1e-3)
    before = float(module.wake_loss(999, 32).detach())
    for step in range(40):
        optimizer.zero_grad()
        module.wake_loss(step, 16).backward()
        optimizer.step()
    # In windows that were not seen so far; nats.
    assert float(module.wake_loss(999, 32).detach()) < before - 5.0


@pytest.mark.slow
def test_photos_without_labels_are_shown_and_woken_to_if_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("invgraph.train.train_scene._SCORED", 32)
    monkeypatch.setattr("invgraph.train.waking.SURE", 0.0)  # ten steps find nothing surely
    model = painted_cube()
    assert model.albedo is not None
    mesh = tmp_path / "cube.ply"
    colors = (255 * model.albedo ** (1 / 2.2)).round().byte().numpy()
    trimesh.Trimesh(
        model.mesh.vertices.numpy(), model.mesh.faces.numpy(), vertex_colors=colors, process=False
    ).export(mesh)
    photos = tmp_path / "photos"
    photos.mkdir()
    module = SceneTraining(SMALL, object_prior(model))
    for number, memory in enumerate(remembered(module, 2)):
        picture = (255 * srgb_from_linear(memory.image).clamp(0, 1)).round().byte().numpy()
        (photos / f"{number}.png").write_bytes(encode_png(picture))
    (photos / "cam.json").write_text(json.dumps({"fx": 200, "fy": 200, "cx": 64, "cy": 64}))
    train_scene(mesh, tmp_path / "dreamt", SMALL, logger="none")
    train_scene(mesh, tmp_path / "looked", SMALL, [photos], logger="none")
    train_scene(mesh, tmp_path / "awake", SMALL, [photos], wake=True, logger="none")
    weights, pictures = [], []
    for run in ("dreamt", "looked", "awake"):
        kept = read_tensors(tmp_path / run / "model.safetensors", "")
        assert kept is not None
        weights.append(kept[0]["encoder.joined.weight"])
        with Image.open(tmp_path / run / "renders" / "preview_000010.png") as picture:
            pictures.append(picture.height)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert pictures[0] < pictures[1] == pictures[2]


def test_photos_of_an_unknown_lens_are_refused(tmp_path: Path):
    mesh = tmp_path / "ball.ply"
    trimesh.creation.icosphere(2, 0.05).export(mesh)
    photo = tmp_path / "photo.png"
    photo.write_bytes(encode_png(torch.zeros(64, 64, 3, dtype=torch.uint8).numpy()))
    with pytest.raises(ValueError, match="intrinsics of its camera are unknown"):
        train_scene(mesh, tmp_path / "run", SMALL, [photo], logger="none")
    assert not (tmp_path / "run").exists()


def test_poses_are_remembered_in_the_frame_of_the_window():
    module = SceneTraining(SMALL, object_prior(painted_cube()))
    [memory] = remembered(module, 1)
    assert memory.effective == pytest.approx(1)
    assert memory.values[POSE].shape == (1, 4, 4)
