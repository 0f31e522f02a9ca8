import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from invgraph.data import Capture, SceneTruth, read_capture
from invgraph.evaluate.direction_metrics import angular_error_deg
from invgraph.evaluate.shape_metrics import mask_iou
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.mesh import Mesh, volume
from invgraph.raster import Fragments, interpolate, rasterize, texture
from invgraph.rendering.environment import panorama_directions
from invgraph.rendering.harmonics import basis

ASSETS = Path(__file__).resolve().parent.parent / "assets"


@pytest.fixture(scope="module")
def capture() -> Capture:
    return read_capture(ASSETS / "bird_whistle")


@pytest.fixture(scope="module")
def truth(capture) -> SceneTruth:
    assert capture.truth is not None and capture.truth.scene is not None
    return capture.truth.scene


@pytest.fixture(scope="module")
def mesh(truth) -> Mesh:
    return truth.mesh()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_capture", ASSETS / "make_capture.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_capture"] = module
    spec.loader.exec_module(module)
    return module


def seen(mesh: Mesh, camera: Camera) -> Fragments:
    screen = camera.homogeneous_pixels(mesh.vertices)
    return rasterize(screen[None], mesh.faces, camera.height, camera.width)


def coverage(mesh: Mesh, camera: Camera) -> torch.Tensor:
    return (seen(mesh, camera).face[0] >= 0).float()


def test_capture_is_what_the_sources_say(capture):
    assert len(capture.frames) == 40
    assert capture.test == (0, 8, 16, 24, 32)
    for frame in capture.frames:
        assert (frame.known_camera.height, frame.known_camera.width) == (512, 512)
        assert frame.known_camera.distortion is not None and frame.mask_source == "file"
    size = sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file())
    assert size <= 6e6


def test_true_mesh_projects_onto_the_masks(capture, mesh):
    for index in (0, 16, 27, 34, 39):
        frame = capture.frames[index]
        mask = frame.load_mask()
        assert mask is not None
        assert mask_iou(coverage(mesh, frame.known_camera), mask) > 0.995
        straight = Camera(
            Lens(
                frame.known_camera.focal,
                frame.known_camera.principal,
                frame.known_camera.height,
                frame.known_camera.width,
            ),
            frame.known_camera.camera_from_world,
        )
        shifted = Camera(
            Lens(
                frame.known_camera.focal,
                frame.known_camera.principal + 0.5,
                frame.known_camera.height,
                frame.known_camera.width,
                frame.known_camera.distortion,
            ),
            frame.known_camera.camera_from_world,
        )
        right = mask_iou(coverage(mesh, frame.known_camera), mask)
        # The lens and the half pixel matter at this precision.
        assert mask_iou(coverage(mesh, straight), mask) < right - 0.001
        assert mask_iou(coverage(mesh, shifted), mask) < right - 0.001


def test_true_mesh_is_closed_and_has_a_handle(mesh):
    assert 35_000 < len(mesh.faces) < 50_000
    assert mesh.uv is not None and bool(((mesh.uv >= 0) & (mesh.uv <= 1)).all())
    # Texture seams repeat vertices; the surface itself is closed, with Euler number 0 (one handle).
    places, index = torch.unique(mesh.vertices, dim=0, return_inverse=True)
    faces = index[mesh.faces.long()]
    sides = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
    edges, uses = torch.unique(sides, dim=0, return_counts=True)
    assert bool((uses == 2).all())
    assert len(places) - len(edges) + len(faces) == 0
    assert 7e-4 < volume(mesh).item() < 9e-4  # cubic metres, positive: faces point outwards
    extent = mesh.vertices.amax(0) - mesh.vertices.amin(0)
    assert extent.tolist() == pytest.approx([0.19, 0.15, 0.11], abs=0.02)


def test_true_texture_belongs_to_the_photographs(capture, truth, mesh):
    frame = capture.frames[8]
    fragments = seen(mesh, frame.known_camera)
    assert mesh.uv is not None
    albedo = truth.albedo()

    def agreement(uv: torch.Tensor) -> float:
        place = interpolate(uv[None], mesh.texture_faces, fragments)
        color = texture(albedo, place)[0]
        inside = fragments.face[0] >= 0
        photo = frame.load()[0][inside]
        # Light is nearly grey: the share of red and blue in a pixel is that of its albedo.
        shares = [c[:, [0, 2]] / c.sum(1, keepdim=True) for c in (photo, color[inside])]
        return torch.corrcoef(torch.stack([share[:, 0] for share in shares]))[0, 1].item()

    assert agreement(mesh.uv) > 0.95
    flipped = torch.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], -1)
    assert agreement(flipped) < 0.5


def test_true_light_is_smooth_and_comes_from_above(truth):
    radiance = truth.environment().radiance
    directions, solid_angle = panorama_directions(*radiance.shape[:2])
    assert (radiance > 0).all()
    approximate = basis(directions, 4) @ truth.light().coefficients
    error = (approximate - radiance).square().mean(-1) * solid_angle
    power = radiance.square().mean(-1) * solid_angle
    assert (error.sum() / power.sum()).item() < 0.1
    mean = (directions * (radiance.mean(-1) * solid_angle)[..., None]).sum((0, 1))
    assert angular_error_deg(truth.light_direction(), mean).item() < 1
    # Mostly from above, on the side of the warm softbox.
    assert mean[1] > 0 and mean[0] > 0 and mean[2] > 0


def test_truth_says_what_is_broken(tmp_path):
    with pytest.raises(ValueError, match=r"light\.npz does not exist or is not a file; restore it"):
        SceneTruth(tmp_path).light()
    (tmp_path / "object.glb").write_bytes(b"glTF")
    with pytest.raises(ValueError, match=r"object\.glb holds no readable texture; restore it"):
        SceneTruth(tmp_path).albedo()
    with pytest.raises(ValueError, match=r"object\.glb"):
        SceneTruth(tmp_path).mesh()


def test_script_makes_these_cameras_and_this_light(capture, truth, script):
    poses = script.cameras()
    assert len(poses) == len(capture.frames)
    for frame, pose in zip(capture.frames, poses, strict=True):
        found = frame.known_camera.camera_from_world.numpy()
        assert np.abs(found - pose).max() < 1e-6
        expected = [*script.S.focal, *script.S.principal, *script.S.distortion, 0.0]
        camera = frame.known_camera
        assert camera.distortion is not None
        numbers = torch.cat([camera.focal, camera.principal, camera.distortion])
        assert numbers.tolist() == pytest.approx(expected, rel=1e-6)
    assert np.abs(truth.environment().radiance.numpy() - script.environment()).max() < 1e-5


def test_script_inverts_the_lens_of_camera(capture, script):
    camera = capture.frames[0].known_camera
    pixels = torch.tensor([[3.0, 5.0], [256.0, 250.0], [510.0, 400.0]])
    centre = camera.centre
    direction = camera.unproject_pixels(pixels, torch.ones(3)) - centre
    ours = direction @ camera.camera_from_world[:3, :3].T
    plane = (pixels.double().numpy() - script.S.principal) / script.S.focal
    theirs = script.undistort(plane)
    assert np.abs(ours[:, :2].numpy() - theirs).max() * 764 < 1e-3


def test_paint_and_shape_agree_with_the_truth(truth, mesh, script):
    points = mesh.vertices.double().numpy() / script.S.scale
    assert np.abs(script.bird.distance(points)).max() < 0.02
    assert np.quantile(np.abs(script.bird.distance(points)), 0.95) < 1e-4
    assert mesh.uv is not None
    sampled = texture(truth.albedo(), mesh.uv[None, None])[0, 0].double().numpy()
    painted = script.bird.paint(points)
    assert np.median(np.abs(sampled - painted)) < 0.01
