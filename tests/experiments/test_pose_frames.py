"""Rendered frames with known poses: the truth that is written down is what the picture shows."""

import importlib
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from invgraph.geometry.transforms import apply, exp_se3, rotate
from invgraph.rendering.backends.mitsuba import find_llvm
from invgraph.rendering.render import render
from invgraph.scene import Scene
from invgraph.scene.mesh_files import load_mesh


@pytest.fixture(scope="module")
def frames(experiments):
    return importlib.import_module("pose_frames")


@pytest.fixture(scope="module")
def models(frames):
    return importlib.import_module("pose_models")


def _scene(frames, models, seed):
    """A painted cube on the table and the camera that sees it."""
    rng = np.random.default_rng(seed)
    item = models.known_object("cube", Path("absent"))
    item = replace(item, world_from_object=frames.lay_down(item.mesh, rng))
    centre, radius = frames.middle(item)
    return item, centre, radius, frames.look(centre, radius, None, rng), rng


@pytest.mark.parametrize("seed", range(8))
def test_the_whole_object_is_in_the_picture_above_the_table(frames, models, seed):
    item, centre, _, camera, _ = _scene(frames, models, seed)
    points = apply(item.world_from_object, item.mesh.vertices)
    assert points[:, 1].amin() > -1e-6
    pixels, _ = camera.project(points)
    assert pixels.amin() > frames.MARGIN - 1
    assert pixels[:, 0].amax() < frames.WIDTH - frames.MARGIN + 1
    assert pixels[:, 1].amax() < frames.HEIGHT - frames.MARGIN + 1
    assert 0.39 < (camera.centre - centre).norm() < 0.81
    assert camera.centre[1] > 0.1


def test_takes_that_were_kept_before_are_found_again(frames, models):
    """Names and random numbers that must not change: frames of earlier studies are kept by them."""
    assert frames.Take("spot", 7).file_name == "spot_007_h0_any_d0_m0_v1"
    take = frames.Take("dragon", 12, 0.3, 0.5, 2.0, 6.0)
    assert take.file_name == "dragon_012_h30_0.5m_d2_m6_v1"
    assert replace(take, upright=True).file_name == "dragon_012_h30_0.5m_d2_m6_upright_v1"
    mesh = models.known_object("cube", Path("absent")).mesh
    rng = np.random.default_rng([3, zlib.crc32(b"cube")])
    expected = [
        [0.234710, -0.536492, -0.810609, 0.0],
        [0.848093, -0.294493, 0.440469, 0.079302],
        [-0.475027, -0.790854, 0.385875, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
    assert torch.allclose(frames.lay_down(mesh, rng), torch.tensor(expected), atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_upright_objects_stand_on_the_table(frames, models, seed):
    mesh = models.known_object("cube", Path("absent")).mesh
    rng = np.random.default_rng(seed)
    for name in models.NAMES:
        standing = models.upright(name)
        assert torch.linalg.det(standing) == 1
        up_in_file = torch.tensor([0.0, 0, -1] if name == "dragon" else [0.0, 1, 0])
        placed = frames.stand(mesh, standing, rng)
        assert torch.allclose(rotate(placed, up_in_file[None])[0], torch.tensor([0.0, 1, 0]))
        assert apply(placed, mesh.vertices)[:, 1].amin().abs() < 1e-7
        assert placed[[0, 2], 3].abs().amax() == 0
    turns = torch.stack([frames.stand(mesh, torch.eye(3), rng)[0, :3] for _ in range(60)])
    assert turns.mean(0).abs().amax() < 0.3  # about the vertical they turn any way


def test_the_dragon_stands_on_its_flat_feet(models, data_dir):
    item = models.known_object("dragon", data_dir("desk_objects").parent)
    height = (item.mesh.vertices @ models.upright("dragon").mT)[:, 1]
    size = height.amax() - height.amin()
    feet = (height < height.amin() + 0.05 * size).float().mean()
    top = (height > height.amax() - 0.05 * size).float().mean()
    assert feet > 5 * top


@pytest.mark.parametrize("wanted", [0.2, 0.6])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_occluder_hides_the_wanted_share(frames, models, seed, wanted):
    item, centre, radius, camera, _ = _scene(frames, models, seed)
    thing = frames.occluder([item], camera, centre, radius, wanted, seed)
    alone, together = frames.shows([item], camera), frames.shows([item, thing], camera)
    left = (alone & together).sum() / alone.sum()
    assert left.item() == pytest.approx(1 - wanted, abs=0.02)


def test_random_rotations_are_proper_and_differ(frames):
    rng = np.random.default_rng(0)
    turns = torch.stack([frames.random_rotation(rng) for _ in range(400)])
    assert torch.allclose(turns @ turns.mT, torch.eye(3).expand(400, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(turns), torch.ones(400), atol=1e-5)
    # Of uniform rotations every entry is 0 on average and 1/3 squared.
    assert turns.mean(0).abs().amax() < 0.12
    assert (turns.square().mean(0) - 1 / 3).abs().amax() < 0.08


def test_smoothing_keeps_texture_and_edges(frames):
    generator = torch.Generator().manual_seed(0)
    albedo = torch.rand(40, 40, 3, generator=generator)
    owner = (torch.arange(40) >= 20).int().expand(40, 40)
    light = torch.where(owner == 0, 0.5, 2.0)[..., None]
    noisy = light * (1 + 0.15 * torch.randn(40, 40, 1, generator=generator))
    clean, found = albedo * light, frames.smoothed(noisy * (albedo + 0.02), albedo, owner)
    assert (found - light * (albedo + 0.02)).abs().mean() < 0.3 * (
        (noisy - light) * albedo
    ).abs().mean()
    assert (found[:, 18:22] - clean[:, 18:22]).abs().mean() < 0.1


@pytest.mark.parametrize("name", ["spot", "bob", "dragon", "cube"])
def test_model_files_hold_the_photographed_shape(models, data_dir, tmp_path, name):
    data = data_dir("meshes").parent
    item = models.known_object(name, data)
    read = load_mesh(models.model_file(name, data, tmp_path))
    for end in ("amin", "amax"):
        expected = getattr(item.mesh.vertices, end)(0)
        assert torch.allclose(getattr(read.vertices, end)(0), expected, atol=1e-6)
    expected = {"dragon": 0.1054, "cube": 0.085 * 3**0.5}.get(name, 0.12)
    assert models.diameter(item.mesh.vertices) == pytest.approx(expected, abs=1e-4)


def test_unknown_names_are_refused(models, tmp_path):
    with pytest.raises(ValueError, match="'cow' is not a known object; choose among spot"):
        models.known_object("cow", tmp_path)


def _likeness(models, frame, offset):
    """Correlation of the picture's hues with the cube's, where the cube would be seen.

    ``offset`` moves the cube in its own frame, away from the truth.
    """
    item = models.known_object("cube", Path("absent"))
    item = replace(item, world_from_object=frame.camera_from_object @ offset)
    found = render(Scene((item,)), frame.camera, outputs=("albedo", "object_id"))
    assert found.albedo is not None
    both = torch.stack((found.albedo, frame.image))[:, found.object_id == 0]
    hues = (both[..., 0] - both[..., 2]) / both.sum(-1).clamp_min(0.01)
    return torch.corrcoef(hues)[0, 1].item()


@pytest.mark.slow
def test_a_frame_shows_its_truth_and_is_kept(frames, models, tmp_path, monkeypatch):
    find_llvm()
    pytest.importorskip("mitsuba", reason="the optional backend mitsuba is not installed")
    monkeypatch.setattr(frames, "SAMPLES", 1)
    take = frames.Take("cube", 3)
    frame = frames.pose_frame(take, tmp_path / "absent", tmp_path)
    assert frame.image.shape == (480, 640, 3) and frame.hidden == 0
    best = _likeness(models, frame, torch.eye(4))
    assert best > 0.95
    # Off by 5 mm or 3 degrees along or about any axis, colours no longer meet.
    for step in torch.diag(torch.tensor([0.005, 0.005, 0.005, 0.05, 0.05, 0.05])):
        for sign in (1, -1):
            assert _likeness(models, frame, exp_se3(sign * step)) < best - 0.03
    monkeypatch.setattr(frames, "photograph", lambda *_: pytest.fail("rendered a second time"))
    again = frames.pose_frame(take, tmp_path / "absent", tmp_path)
    assert torch.equal(again.image, frame.image)
    assert torch.equal(again.camera_from_object, frame.camera_from_object)


def test_distance_and_hiding_leave_the_rest_of_a_frame_alone(frames, models):
    poses = []
    for distance in (0.5, 0.7):
        rng = np.random.default_rng([1, zlib.crc32(b"cube")])
        item = models.known_object("cube", Path("absent"))
        poses.append(frames.lay_down(item.mesh, rng))
        centre, radius = frames.middle(replace(item, world_from_object=poses[-1]))
        camera = frames.look(centre, radius, distance, rng)
        assert (camera.centre - centre).norm().item() == pytest.approx(distance, abs=1e-4)
    assert torch.equal(*poses)
