"""Crops of scenes: the truth that is written down is what the picture shows."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from invgraph import Camera, EnvironmentMap, Material, Object, Scene
from invgraph.geometry.primitives import icosphere
from invgraph.geometry.transforms import apply, rotate
from invgraph.rendering.backends.mitsuba import find_llvm
from invgraph.rendering.environment import look_up, panorama_directions
from invgraph.rendering.render import render

NAMES = ("city", "forest", "lobby", "studio", "sunset", "workshop")


@pytest.fixture(scope="module")
def frames(experiments):
    return importlib.import_module("pose_frames")


@pytest.fixture(scope="module")
def crops(frames):
    return importlib.import_module("scene_crops")


def _sky(toward, height=32):
    """A dim sky, brighter above, with a lamp that lights more than its tenth."""
    directions, _ = panorama_directions(height, 2 * height)
    lamp = torch.exp(60 * (directions @ torch.tensor(toward) - 1))
    return 0.3 + 0.2 * directions[..., 1:2] + 40 * lamp[..., None].expand(-1, -1, 3)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with six panoramas, each a sky with a lamp."""
    find_llvm()
    mi = pytest.importorskip("mitsuba", reason="the optional backend mitsuba is not installed")
    if mi.variant() is None:
        mi.set_variant("scalar_rgb")
    folder = tmp_path_factory.mktemp("data")
    (folder / "environment_maps").mkdir()
    for name in NAMES:
        file = folder / "environment_maps" / f"{name}.hdr"
        mi.Bitmap(_sky([0.6, 0.8, 0.0]).numpy()).write(str(file))
    return folder


def _window(frames, crops, seed):
    """The painted cube on the table, the photo of it and the crop's camera."""
    rng = np.random.default_rng(seed)
    item = crops.known_object("cube", Path("absent"))
    item = replace(item, world_from_object=frames.stand(item.mesh, torch.eye(3), rng))
    centre, radius = frames.middle(item)
    photo = frames.look(centre, radius, 6 * radius, rng, crops.ELEVATIONS)
    return item, centre, radius, photo, crops.window(photo, centre, radius, rng)


def test_a_light_probe_tells_the_mean_of_all_light_that_arrives(crops):
    """Of two lamps alike it is between them; a wall before one leaves the other."""
    find_llvm()
    pytest.importorskip("mitsuba", reason="the optional backend mitsuba is not installed")
    directions, _ = panorama_directions(64, 128)
    two = [torch.tensor([0.8, 0.6, 0.0]), torch.tensor([0.0, 0.6, 0.8])]
    lamps = torch.stack([torch.exp(200 * (directions @ lamp - 1)) for lamp in two])
    sky = EnvironmentMap(lamps.sum(0)[..., None].expand(-1, -1, 3).contiguous())
    place = torch.tensor([0.1, 0.2, 0.3])
    between = torch.nn.functional.normalize(two[0] + two[1], dim=0)
    assert float(crops.mean_of_probe(Scene((), (sky,), sky), place) @ between) > 0.9995
    black = Material(torch.zeros(3), torch.ones(1), torch.zeros(1))
    ball = icosphere(2)
    shape = replace(ball, vertices=0.4 * ball.vertices + place + two[1])
    wall = Object(shape, torch.eye(4), black)
    assert float(crops.mean_of_probe(Scene((wall,), (sky,), sky), place) @ two[0]) > 0.995


@pytest.mark.parametrize("seed", range(6))
def test_a_window_is_about_the_object_and_keeps_the_rays_of_the_photo(frames, crops, seed):
    _, centre, radius, photo, camera = _window(frames, crops, seed)
    assert camera.lens.height == camera.lens.width == crops.SIZE
    (place,), (depth,) = camera.project(centre[None])
    # Edges of the window are whole pixels of the photo, of which one is less than 0.6 px here.
    assert (place / crops.SIZE - 0.5).abs().amax() < crops.SHIFT + 0.6 / crops.SIZE
    across = 2 * camera.focal[0] * radius / depth / crops.SIZE
    assert 1 / crops.SIDES[1] - 0.01 < across < 1 / crops.SIDES[0] + 0.01
    # What the photo shows at a corner of the window, the crop shows at its corner.
    side = round((crops.SIZE * photo.focal[0] / camera.focal[0]).item())
    corner = torch.tensor([[0.0, 0.0]])
    in_photo = photo.principal - camera.principal * side / crops.SIZE
    assert torch.allclose(in_photo, in_photo.round(), atol=1e-3)
    expected = photo.lens.directions(in_photo[None])
    assert torch.allclose(camera.lens.directions(corner), expected, atol=1e-5)
    # The whole object is in the photo, mostly off its middle.
    points, _ = photo.project(centre[None])
    assert 0 < points[0, 0] < frames.WIDTH and 0 < points[0, 1] < frames.HEIGHT


def test_objects_are_off_the_middle_of_the_photo(frames, crops):
    off = [
        (camera.principal - crops.SIZE / 2).abs().amax().item() / crops.SIZE
        for camera in (_window(frames, crops, seed)[-1] for seed in range(20))
    ]
    assert np.median(off) > 0.2


@pytest.mark.parametrize("toward", [[0.6, 0.8, 0.0], [0.0, 0.6, -0.8], [-0.48, 0.6, 0.64]])
def test_the_main_light_is_the_lamp_of_a_sky(crops, toward):
    sky = _sky(toward)
    found = crops.main_light(sky)
    assert (found @ torch.tensor(toward)).item() > np.cos(np.radians(3))
    shifted = crops.main_light(sky.roll(16, 1))  # by a quarter of a turn
    assert shifted[1].item() == pytest.approx(found[1].item(), abs=1e-5)
    assert (shifted @ found - found[1] ** 2).abs() < 1e-4
    # The direction is one in which the renderer's panorama is bright.
    there = torch.stack((found, -found * torch.tensor([1.0, -1, 1])))
    bright, dim = look_up(sky, there).mean(-1)
    assert bright > 10 * dim


def test_light_from_below_does_not_count(crops):
    lamp, glare = [0.6, 0.8, 0.0], [-0.6, -0.8, 0.0]
    found = crops.main_light(_sky(lamp) + 10 * _sky(glare))
    assert (found @ torch.tensor(lamp)).item() > 0.99


def test_splits_have_panoramas_of_their_own(crops, data):
    dev, test = ([f.stem for f in crops.of_split(split, data)] for split in ("dev", "test"))
    assert tuple(dev) == NAMES[:3] and tuple(test) == NAMES[3:]
    with pytest.raises(ValueError, match="'train' is not a split; choose among dev, test"):
        crops.of_split("train", data)
    with pytest.raises(ValueError, match=r"has no panoramas \(\*.hdr\) for the split 'dev'; set"):
        crops.of_split("dev", data / "absent")


def test_materials_are_of_both_kinds_and_never_ours(crops):
    rng = np.random.default_rng(0)
    found = [crops.unlike_ours(rng) for _ in range(40)]
    kinds = {material["type"] for material in found}
    assert kinds == {"principled", "roughplastic"}
    rough = [material.get("roughness") or material["alpha"] ** 0.5 for material in found]
    assert 0.15 <= min(rough) < 0.25 and 0.6 < max(rough) <= 0.7


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_crop_shows_its_truth(frames, crops, data, tmp_path, monkeypatch, seed):
    """A green cube: where the picture is green, the cube of our renderer is, unless hidden."""
    monkeypatch.setattr(crops, "SAMPLES", 16)
    green = {"type": "diffuse", "reflectance": {"type": "rgb", "value": [0.0, 0.9, 0.0]}}
    monkeypatch.setattr(crops, "unlike_ours", lambda rng: green)
    grey = torch.full((3,), 0.5)
    monkeypatch.setattr(frames, "clutter", lambda *_: [])
    monkeypatch.setattr(crops, "clutter", lambda *_: [])
    monkeypatch.setattr(
        crops, "table", lambda rng: replace(frames.table(rng), material=frames.matter(grey, 0.7))
    )
    crop = crops.Crop("cube", seed, "test")
    found = crops.scene_crop(crop, data, tmp_path)
    assert found.panorama in NAMES[3:]
    assert found.image.shape == (crops.SIZE, crops.SIZE, 3)
    assert found.radius == pytest.approx(0.0425 * 3**0.5, abs=1e-5)
    assert found.centre.abs().amax() < 1e-6
    distance = apply(found.camera_from_object, found.centre[None]).norm().item() / found.radius
    assert crops.DISTANCES[0] < distance < crops.DISTANCES[1]

    item = crops.known_object("cube", data)
    item = replace(item, world_from_object=found.camera_from_object)
    camera = Camera(found.lens, torch.eye(4))
    alone = render(Scene((item,)), camera, outputs=("object_id", "normal"))
    assert alone.object_id is not None and alone.normal is not None
    silhouette = alone.object_id == 0
    red, value, blue = found.image.unbind(-1)
    seen = (value > 3 * red) & (value > 3 * blue) & (value > 0.01)
    assert (found.hidden > 0) == (seed == 0)
    if not found.hidden:
        assert (seen & silhouette).sum() / (seen | silhouette).sum() > 0.93
        facing = (alone.normal[silhouette] @ found.light).clamp_min(0)
        # The lamp outshines the sky, so sides are bright as they face it.
        assert torch.corrcoef(torch.stack((facing, value[silhouette])))[0, 1] > 0.9
    share = 1 - (seen & silhouette).sum() / silhouette.sum()
    assert share.item() == pytest.approx(found.hidden, abs=0.04)
    # Nothing is green but the cube, so a wrong pose would show.
    assert (seen & ~silhouette).sum() < 0.02 * silhouette.sum()

    up = rotate(found.camera_from_object, torch.tensor([[0.0, 1, 0]]))[0]
    assert up[1] < 0 and found.light.norm().item() == pytest.approx(1, abs=1e-5)
    assert (up @ found.light).item() == pytest.approx(0.8, abs=0.03)  # the lamp's height


def test_the_same_seed_gives_the_same_picture_and_is_kept(crops, data, tmp_path, monkeypatch):
    monkeypatch.setattr(crops, "SAMPLES", 2)
    crop = crops.Crop("cube", 3, "dev")
    found = crops.scene_crop(crop, data, tmp_path)
    again = crops.scene_crop(crop, data, tmp_path / "second")
    other = crops.scene_crop(replace(crop, split="test"), data, tmp_path)
    assert found.panorama in NAMES[:3] and other.panorama in NAMES[3:]
    assert not torch.equal(found.camera_from_object, other.camera_from_object)
    monkeypatch.setattr(crops, "photograph", lambda *_: pytest.fail("rendered a second time"))
    read = crops.scene_crop(crop, data, tmp_path)
    for one in (again, read):
        assert torch.equal(one.image, found.image) and one.hidden == found.hidden
        for name in ("camera_from_object", "light", "centre"):
            assert torch.equal(getattr(one, name), getattr(found, name))
