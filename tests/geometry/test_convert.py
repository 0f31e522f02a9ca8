"""Camera conventions: one pixel by hand and one round trip each."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from invgraph.geometry import convert, transforms
from invgraph.geometry.camera import Camera, stack
from invgraph.geometry.lens import Lens

poses = st.lists(st.floats(-1.5, 1.5), min_size=6, max_size=6)
LENS = torch.tensor([-0.28, 0.09, 1e-3, -2e-3, -0.01], dtype=torch.float64)


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def make_camera(xi=(0.2, -0.1, 2.0, 0.3, -0.5, 0.2), distortion=None) -> Camera:
    pose = transforms.exp_se3(double(*xi))
    return Camera(Lens(double(100, 110), double(32, 20), 48, 64, distortion), pose)


def assert_same(a: Camera, b: Camera) -> None:
    assert (a.height, a.width) == (b.height, b.width)
    assert a.near == pytest.approx(b.near) and a.lens.model == b.lens.model
    assert torch.allclose(a.camera_from_world, b.camera_from_world, atol=1e-9)
    assert torch.allclose(a.focal, b.focal, atol=1e-9)
    assert torch.allclose(a.principal, b.principal, atol=1e-9)
    assert (a.distortion is None) == (b.distortion is None)
    if a.distortion is not None and b.distortion is not None:
        assert torch.allclose(a.distortion, b.distortion)


def assert_pixel(camera: Camera, point: tuple, pixel: tuple, depth: float) -> None:
    pixels, depths = camera.project(double(*point)[None])
    assert torch.allclose(pixels, double(*pixel)[None], atol=1e-9)
    assert depths.item() == pytest.approx(depth)


def batch_of_two() -> Camera:
    return stack([make_camera(), make_camera((1.0, 0.0, 3.0, -0.2, 0.1, 2.0))])


def test_opengl_pixel():
    # A camera at z = 5 that looks along -z with y up, as Blender places it without a rotation.
    pose = torch.eye(4, dtype=torch.float64)
    pose[2, 3] = 5
    camera = convert.from_opengl(pose, double(100, 100), double(32, 24), 48, 64)
    # One to the right of and one above the origin: right of and above the image's centre.
    assert_pixel(camera, (1, 1, 0), (32 + 100 / 5, 24 - 100 / 5), 5)


@given(poses)
def test_opengl_round_trip(xi):
    camera = make_camera(xi)
    pose = convert.to_opengl(camera)
    back = convert.from_opengl(pose, camera.focal, camera.principal, 48, 64)
    assert_same(back, camera)
    # The third axis of an OpenGL camera points backwards.
    ahead = camera.centre - pose[:3, 2]
    assert camera.project(ahead[None])[1].item() == pytest.approx(1)


def test_pytorch3d_pixel():
    # x_camera = x_world R + T = (1, 1, 5); x is left and y is up.
    camera = convert.from_pytorch3d(
        torch.eye(3, dtype=torch.float64),
        double(0, 0, 5),
        double(100, 100),
        double(32, 24),
        double(48, 64),
    )
    assert_pixel(camera, (1, 1, 0), (32 - 100 / 5, 24 - 100 / 5), 5)


def test_pytorch3d_multiplies_rows():
    # A quarter turn: the row (1, 0, 0) R = (0, 1, 0), so x_world is up.
    turn = torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    camera = convert.from_pytorch3d(
        turn, double(0, 0, 5), double(100, 100), double(32, 24), double(48, 64)
    )
    assert_pixel(camera, (1, 0, 0), (32, 24 - 20), 5)


@given(poses)
def test_pytorch3d_round_trip(xi):
    camera = make_camera(xi)
    arguments = convert.to_pytorch3d(camera)
    assert arguments.pop("in_ndc") is False
    assert_same(convert.from_pytorch3d(**arguments), camera)  # type: ignore[arg-type]


def test_pytorch3d_refuses_mixed_sizes_and_distortion():
    arguments = convert.to_pytorch3d(batch_of_two())
    del arguments["in_ndc"]
    arguments["image_size"] = torch.tensor([[48.0, 64.0], [64.0, 48.0]])
    with pytest.raises(ValueError, match="image_size differs within the batch"):
        convert.from_pytorch3d(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="PyTorch3D has no lens distortion; undistort"):
        convert.to_pytorch3d(make_camera(distortion=LENS))


def test_nvdiffrast_pixel():
    # The textbook matrix of a 90 degree field of view at aspect 4/3, near 1, far 9; eye at z = 5.
    projection = torch.tensor(
        [[0.75, 0, 0, 0], [0, 1, 0, 0], [0, 0, -10 / 8, -18 / 8], [0, 0, -1, 0]],
        dtype=torch.float64,
    )
    view = torch.eye(4, dtype=torch.float64)
    view[2, 3] = -5
    camera = convert.from_nvdiffrast(projection @ view, 48, 64)
    assert camera.near == pytest.approx(1)
    # Clip (0.75, 1, *, 5): x = 0.15 and y = 0.2 of half a width right and half a height up.
    assert_pixel(camera, (1, 1, 0), (32 + 32 * 0.15, 24 - 24 * 0.2), 5)


def test_nvdiffrast_clip_coordinates():
    camera = make_camera((0, 0, 0, 0, 0, 0)).with_lens(near=0.5)
    clip = convert.to_nvdiffrast(camera, 4.0) @ double(0.1, -0.2, 2.0, 1.0)
    # The pixel is (100 * 0.05 + 32, 110 * -0.1 + 20) = (37, 9).
    assert torch.allclose(clip[:2] / clip[3], double(2 * 37 / 64 - 1, 1 - 2 * 9 / 48))
    for depth, expected in ((0.5, -1), (4.0, 1)):
        clip = convert.to_nvdiffrast(camera, 4.0) @ double(0, 0, depth, 1)
        assert (clip[2] / clip[3]).item() == pytest.approx(expected)


@given(poses)
def test_nvdiffrast_round_trip(xi):
    camera = make_camera(xi)
    assert_same(convert.from_nvdiffrast(convert.to_nvdiffrast(camera, 100.0), 48, 64), camera)


def test_nvdiffrast_refuses_what_is_no_camera():
    clip = convert.to_nvdiffrast(make_camera(), 10.0)
    upside_down = torch.diag(double(1, -1, 1, 1)) @ clip
    skewed = clip.clone()
    skewed[0] += 0.1 * clip[1]
    for matrix in (upside_down, skewed, torch.eye(4, dtype=torch.float64)):
        with pytest.raises(ValueError, match="not a rigid view times an OpenGL projection"):
            convert.from_nvdiffrast(matrix, 48, 64)
    with pytest.raises(ValueError, match=r"far 0.0001 should be beyond the camera's near 0.001"):
        convert.to_nvdiffrast(make_camera(), 1e-4)
    with pytest.raises(ValueError, match="clip space has no lens distortion"):
        convert.to_nvdiffrast(make_camera(distortion=LENS), 10.0)


def test_colmap_pixel():
    half = math.sqrt(0.5)
    # A quarter turn about z takes (1, 0, 0) to (0, 1, 0), then 2 ahead.
    lens = convert.lens_from_colmap("SIMPLE_RADIAL", double(100, 32, 24, 0.4), 48, 64)
    camera = convert.from_colmap(double(half, 0, 0, half), double(0, 0, 2), lens)
    # y = 0.5, r2 = 0.25, radial = 1.1
    assert_pixel(camera, (1, 0, 0), (32, 24 + 100 * 0.5 * 1.1), 2)


@pytest.mark.parametrize(
    "model, params, focal, principal, distortion",
    [
        ("SIMPLE_PINHOLE", (9, 1, 2), (9, 9), (1, 2), None),
        ("PINHOLE", (8, 9, 1, 2), (8, 9), (1, 2), None),
        ("RADIAL", (9, 1, 2, 0.3, 0.4), (9, 9), (1, 2), (0.3, 0.4, 0, 0, 0)),
        (
            "OPENCV",
            (8, 9, 1, 2, 0.3, 0.4, 0.5, 0.6),
            (8, 9),
            (1, 2),
            (0.3, 0.4, 0.5, 0.6, 0),
        ),
        (
            "FULL_OPENCV",
            (8, 9, 1, 2, 0.3, 0.4, 0.5, 0.6, 0.7, 0, 0, 0),
            (8, 9),
            (1, 2),
            (0.3, 0.4, 0.5, 0.6, 0.7),
        ),
    ],
)
def test_colmap_models(model, params, focal, principal, distortion):
    lens = convert.lens_from_colmap(model, double(*params), 4, 5)
    assert torch.equal(lens.focal, double(*focal))
    assert torch.equal(lens.principal, double(*principal))
    if distortion is None:
        assert lens.distortion is None
    else:
        assert lens.distortion is not None
        assert torch.equal(lens.distortion, double(*distortion))


# Plausible lenses of every model that is read, in COLMAP's own parameters.
COLMAP = {
    "SIMPLE_PINHOLE": (60, 33, 22),
    "PINHOLE": (60, 70, 33, 22),
    "SIMPLE_RADIAL": (60, 33, 22, -0.1),
    "RADIAL": (60, 33, 22, -0.1, 0.03),
    "OPENCV": (60, 70, 33, 22, -0.1, 0.03, 0.002, -0.003),
    "FULL_OPENCV": (60, 70, 33, 22, 0.3, 0.1, 0.002, -0.003, 0.02, 0.2, 0.15, 0.01),
    "SIMPLE_RADIAL_FISHEYE": (60, 33, 22, -0.02),
    "RADIAL_FISHEYE": (60, 33, 22, -0.02, 0.004),
    "OPENCV_FISHEYE": (60, 70, 33, 22, -0.02, 0.004, 0.001, -0.0002),
    "SIMPLE_FISHEYE": (60, 33, 22),
    "FISHEYE": (60, 70, 33, 22),
}


@pytest.mark.parametrize("model", COLMAP)
def test_colmap_projects_to_the_same_pixels(model):
    engine = pytest.importorskip("pycolmap")
    judge = engine.Camera(model=model, width=64, height=48, params=COLMAP[model])
    lens = convert.lens_from_colmap(model, double(*COLMAP[model]), 48, 64)
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = (points - 0.5) * double(1.6, 1.6, 0.4) + double(0, 0, 1)
    expected = torch.from_numpy(judge.img_from_cam(points.numpy()))
    assert torch.allclose(lens.project(points)[0], expected, atol=1e-9)
    # What is written back means the same.
    written, params = convert.lens_to_colmap(lens)
    judge = engine.Camera(model=written, width=64, height=48, params=params.numpy())
    expected = torch.from_numpy(judge.img_from_cam(points.numpy()))
    assert torch.allclose(lens.project(points)[0], expected, atol=1e-9)


@pytest.mark.parametrize("model", COLMAP)
@given(poses)
def test_colmap_round_trip(model, xi):
    lens = convert.lens_from_colmap(model, double(*COLMAP[model]), 48, 64)
    camera = Camera(lens, transforms.exp_se3(double(*xi)))
    written = convert.lens_from_colmap(*convert.lens_to_colmap(lens), 48, 64)
    assert_same(convert.from_colmap(*convert.to_colmap(camera), written), camera)


@pytest.mark.parametrize("model", ["FOV", "THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE"])
def test_colmap_refuses_other_models(model):
    with pytest.raises(ValueError, match=f"COLMAP model {model} is not supported; use one of"):
        convert.lens_from_colmap(model, double(1, 1, 1, 1, 0), 4, 5)


def test_colmap_refuses_another_number_of_parameters():
    with pytest.raises(ValueError, match="PINHOLE has 4 parameters but got 3"):
        convert.lens_from_colmap("PINHOLE", double(1, 1, 1), 4, 5)


# P2 of KITTI's raw drives, rounded.
P2 = torch.tensor(
    [[721.5, 0, 609.5, 45.0], [0, 721.5, 172.5, 0.2], [0, 0, 1, 0.003]], dtype=torch.float64
)


def test_kitti_pixel():
    pose = torch.eye(4, dtype=torch.float64)[:3]
    camera = convert.from_kitti(P2, pose, 375, 1242)
    # (721.5 * 1 + 609.5 * 10 + 45) / 10.003 and (721.5 * -1 + 172.5 * 10 + 0.2) / 10.003, and half
    # a pixel because KITTI counts from the first pixel's centre.
    expected = (6861.5 / 10.003 + 0.5, 1003.7 / 10.003 + 0.5)
    assert_pixel(camera, (1, -1, 10), expected, 10.003)


@given(poses)
def test_kitti_round_trip(xi):
    camera = make_camera(xi)
    assert_same(convert.from_kitti(*convert.to_kitti(camera), 48, 64), camera)


def test_kitti_refuses_what_is_not_rectified():
    pose = torch.eye(4, dtype=torch.float64)[:3]
    for row, column in ((0, 1), (2, 0)):
        skewed = P2.clone()
        skewed[row, column] = 0.1
        with pytest.raises(ValueError, match=r"not K \[I \| t\] of a rectified camera"):
            convert.from_kitti(skewed, pose, 375, 1242)
    with pytest.raises(ValueError, match="KITTI's calibration has no lens distortion"):
        convert.to_kitti(make_camera(distortion=LENS))


def test_batches_convert_as_their_items():
    batch = batch_of_two()
    arguments = convert.to_pytorch3d(batch)
    del arguments["in_ndc"]
    pose = convert.to_opengl(batch)
    for back in (
        convert.from_opengl(pose, batch.focal, batch.principal, 48, 64),
        convert.from_pytorch3d(**arguments),  # type: ignore[arg-type]
        convert.from_nvdiffrast(convert.to_nvdiffrast(batch, 100.0), 48, 64),
        convert.from_colmap(
            *convert.to_colmap(batch),
            convert.lens_from_colmap(*convert.lens_to_colmap(batch.lens), 48, 64),
        ),
        convert.from_kitti(*convert.to_kitti(batch), 48, 64),
    ):
        assert_same(back, batch)
