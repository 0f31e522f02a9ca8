"""Cameras: hand-computed pixels, inverses, distortion and its guard, gradients, windows."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera, stack
from invgraph.geometry.lens import Lens

LENS = torch.tensor([-0.28, 0.09, 1e-3, -2e-3, -0.01], dtype=torch.float64)
STRONG_BARREL = torch.tensor([-0.4, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)


def make_camera(distortion=None, dtype=torch.float64, pose=None) -> Camera:
    return Camera(
        Lens(
            focal=torch.tensor([100.0, 110.0], dtype=dtype),
            principal=torch.tensor([32.0, 24.0], dtype=dtype),
            height=48,
            width=64,
            distortion=distortion if distortion is None else distortion.to(dtype),
        ),
        torch.eye(4, dtype=dtype) if pose is None else pose.to(dtype),
    )


def general_pose() -> torch.Tensor:
    return transforms.exp_se3(torch.tensor([0.2, -0.1, 2.0, 0.3, -0.5, 0.2], dtype=torch.float64))


def random_points(n=20, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, generator=generator, dtype=torch.float64) - 0.5


def test_pixel_computed_by_hand():
    pixels, depth = make_camera().project(torch.tensor([[0.1, -0.2, 2.0]], dtype=torch.float64))
    # 100 * 0.05 + 32, 110 * -0.1 + 24
    assert torch.allclose(pixels, torch.tensor([[37.0, 13.0]], dtype=torch.float64))
    assert depth.item() == 2.0


def test_distorted_pixel_computed_by_hand():
    lens = torch.tensor([0.1, 0.2, 0.01, 0.02, 0.3], dtype=torch.float64)
    pixels, _ = make_camera(lens).project(torch.tensor([[1.0, 0.5, 2.0]], dtype=torch.float64))
    # x, y = 0.5, 0.25; r2 = 0.3125, r4 = 0.09765625, r6 = 0.030517578125
    # radial = 1 + 0.03125 + 0.01953125 + 0.0091552734375 = 1.0599365234375
    # x: 2 * 0.01 * 0.125 + 0.02 * (0.3125 + 0.5) = 0.01875
    # y: 0.01 * (0.3125 + 0.125) + 2 * 0.02 * 0.125 = 0.009375
    x, y = 0.5 * 1.0599365234375 + 0.01875, 0.25 * 1.0599365234375 + 0.009375
    expected = torch.tensor([[100 * x + 32, 110 * y + 24]], dtype=torch.float64)
    assert torch.allclose(pixels, expected, atol=1e-12)


def test_first_pixel_centre_is_at_half():
    camera = make_camera()
    point = camera.unproject(torch.ones(48, 64, dtype=torch.float64))[0, 0]
    expected = torch.tensor([(0.5 - 32) / 100, (0.5 - 24) / 110, 1.0], dtype=torch.float64)
    assert torch.allclose(point, expected)


def test_intrinsic_matrix_agrees_with_project():
    camera = make_camera(pose=general_pose())
    points = random_points()
    in_camera = transforms.apply(camera.camera_from_world, points)
    assert torch.allclose(in_camera @ camera.K.T, camera.homogeneous_pixels(points))


@pytest.mark.parametrize("lens", [None, LENS, STRONG_BARREL])
def test_homogeneous_pixels_are_finite_everywhere(lens):
    camera = make_camera(lens)
    points = torch.tensor(
        [[0, 0, 0], [0, 0, -1], [1, 2, 0], [1, 2, -3], [0, 0, 1], [1e3, 0, 1e-9], [0, 1e-30, 0]],
        dtype=torch.float64,
        requires_grad=True,
    )
    screen = camera.homogeneous_pixels(points)
    screen.sum().backward()
    assert screen.isfinite().all()
    assert points.grad is not None and points.grad.isfinite().all()
    pixels, depth = camera.project(points)
    assert pixels.isfinite().all() and depth.isfinite().all()


def test_homogeneous_pixels_are_pixels_times_depth():
    camera = make_camera(LENS, pose=general_pose())
    points = random_points()
    pixels, depth = camera.project(points)
    screen = camera.homogeneous_pixels(points)
    assert torch.allclose(screen[:, :2], pixels * depth[:, None])
    assert torch.equal(screen[:, 2], depth)


@pytest.mark.parametrize("strength", [-0.6, -0.4, -0.2, 0.3])
def test_nothing_folds_back_into_the_image(strength):
    lens = torch.tensor([strength, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    angle = torch.linspace(0, 1.55, 2000, dtype=torch.float64)
    ring = torch.stack((angle.sin(), 0 * angle, angle.cos()), -1)
    pixels, _ = make_camera(lens).project(ring)
    assert (pixels[1:, 0] > pixels[:-1, 0]).all()


def test_zero_distortion_is_none():
    points = random_points() + torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64)
    zero = make_camera(torch.zeros(5, dtype=torch.float64)).project(points)[0]
    assert torch.allclose(zero, make_camera().project(points)[0], atol=1e-12)


@pytest.mark.parametrize("lens", [None, LENS])
def test_gradients_of_projection(lens):
    camera = make_camera(lens, pose=general_pose())
    points = random_points(4).requires_grad_()

    def project(xi, focal, principal, distortion, points):
        pose = transforms.exp_se3(xi) @ camera.camera_from_world
        moved = replace(camera, camera_from_world=pose)
        moved = moved.with_lens(focal=focal, principal=principal)
        if lens is not None:
            moved = moved.with_lens(distortion=distortion)
        return *moved.project(points), moved.homogeneous_pixels(points)

    inputs = (
        torch.zeros(6, dtype=torch.float64, requires_grad=True),
        camera.focal.clone().requires_grad_(),
        camera.principal.clone().requires_grad_(),
        LENS.clone().requires_grad_(lens is not None),
        points,
    )
    assert gradcheck(project, inputs)
    grads = torch.autograd.grad(
        project(*inputs)[0].square().sum(), inputs[:3] + inputs[4:], retain_graph=True
    )
    assert all(float(grad.abs().max()) > 1 for grad in grads)


def test_gradients_beyond_the_guard_and_on_the_axis():
    camera = make_camera(STRONG_BARREL)
    points = torch.tensor([[0.0, 0.0, 1.0], [3.0, 1.0, 1.0], [1.0, -2.0, -0.5]]).double()
    assert gradcheck(camera.homogeneous_pixels, (points.requires_grad_(),))


@pytest.mark.parametrize("lens", [None, LENS])
def test_gradients_of_unprojection(lens):
    camera = make_camera(lens, pose=general_pose())
    pixels = torch.tensor([[3.0, 5.0], [60.0, 40.0], [32.0, 24.0]], dtype=torch.float64)

    def unproject(xi, focal, principal, distortion, pixels, depth):
        pose = transforms.exp_se3(xi) @ camera.camera_from_world
        moved = replace(camera, camera_from_world=pose)
        moved = moved.with_lens(focal=focal, principal=principal)
        if lens is not None:
            moved = moved.with_lens(distortion=distortion)
        return moved.unproject_pixels(pixels, depth)

    inputs = (
        torch.zeros(6, dtype=torch.float64, requires_grad=True),
        camera.focal.clone().requires_grad_(),
        camera.principal.clone().requires_grad_(),
        LENS.clone().requires_grad_(lens is not None),
        pixels.requires_grad_(),
        torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True),
    )
    assert gradcheck(unproject, inputs)


@given(
    st.floats(-0.4, 0.3),
    st.floats(-0.1, 0.15),
    st.floats(-0.003, 0.003),
    st.floats(-0.003, 0.003),
    st.floats(-0.05, 0.05),
)
def test_unprojection_is_the_inverse_of_projection(k1, k2, p1, p2, k3):
    lens = torch.tensor([k1, k2, p1, p2, k3], dtype=torch.float64)
    # A wide lens: the corners are 50 degrees from the axis, beyond the guard of the strongest.
    camera = make_camera(lens, pose=general_pose())
    camera = camera.with_lens(focal=torch.tensor([33.0, 33.0]).double())
    depth = torch.linspace(0.5, 4, 48 * 64, dtype=torch.float64).reshape(48, 64)
    pixels, back = camera.project(camera.unproject(depth).reshape(-1, 3))
    v, u = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    expected = torch.stack((u, v), -1).reshape(-1, 2).double()
    assert torch.allclose(pixels, expected, atol=1e-7)
    assert torch.allclose(back, depth.flatten(), atol=1e-9)


def test_float32_unprojection_converges():
    camera = make_camera(LENS, torch.float32, general_pose())
    pixels, _ = camera.project(camera.unproject(torch.ones(48, 64)).reshape(-1, 3))
    assert torch.allclose(pixels[0], torch.tensor([0.5, 0.5]), atol=1e-3)
    assert torch.allclose(pixels[-1], torch.tensor([63.5, 47.5]), atol=1e-3)


def test_rays_go_from_the_centre_through_pixel_centres():
    camera = make_camera(LENS, pose=general_pose())
    origins, directions = camera.rays()
    assert origins.shape == directions.shape == (48, 64, 3)
    assert torch.allclose(origins[5, 7], camera.centre)
    in_camera = transforms.apply(camera.camera_from_world, camera.centre[None])
    assert torch.allclose(in_camera, torch.zeros(1, 3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(48, 64, dtype=torch.float64))
    pixels, _ = camera.project((origins + 3 * directions)[5, 7][None])
    assert torch.allclose(pixels, torch.tensor([[7.5, 5.5]], dtype=torch.float64), atol=1e-7)


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=6))
def test_moving_scene_and_camera_together_keeps_the_pixels(xi):
    world_b_from_a = transforms.exp_se3(torch.tensor(xi, dtype=torch.float64))
    camera = make_camera(LENS, pose=general_pose())
    moved = replace(
        camera, camera_from_world=camera.camera_from_world @ transforms.invert(world_b_from_a)
    )
    points = random_points()
    pixels, depth = moved.project(transforms.apply(world_b_from_a, points))
    assert torch.allclose(pixels, camera.project(points)[0], atol=1e-9)
    assert torch.allclose(depth, camera.project(points)[1], atol=1e-12)


@given(st.integers(-20, 40), st.integers(-20, 60), st.integers(1, 50), st.integers(1, 50))
def test_cropping_shifts_pixels_and_nothing_else(top, left, height, width):
    camera = make_camera(LENS, pose=general_pose())
    window = camera.crop(top, left, height, width)
    assert (window.height, window.width) == (height, width)
    points = random_points()
    shift = torch.tensor([left, top], dtype=torch.float64)
    assert torch.allclose(window.project(points)[0] + shift, camera.project(points)[0])


@given(st.integers(1, 200), st.integers(1, 200))
def test_resizing_scales_pixels_from_the_corner(height, width):
    camera = make_camera(LENS, pose=general_pose())
    points = random_points()
    scale = torch.tensor([width / 64, height / 48], dtype=torch.float64)
    pixels = camera.resize(height, width).project(points)[0]
    assert torch.allclose(pixels, camera.project(points)[0] * scale)


def test_binning_divides_pixels_and_cuts_what_is_no_whole_block():
    camera = make_camera(LENS, pose=general_pose())
    small = camera.binned(5)
    assert (small.height, small.width) == (9, 12)  # of 48x64
    points = random_points()
    assert torch.allclose(5 * small.project(points)[0], camera.project(points)[0])


def test_a_batch_is_its_items():
    poses = [general_pose(), torch.eye(4, dtype=torch.float64)]
    cameras = [make_camera(LENS, pose=pose) for pose in poses]
    batch = stack(cameras)
    points = random_points() + torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64)
    assert batch.batch_shape == (2,) and len(batch) == 2
    pixels, depth = batch.project(points)
    for i, camera in enumerate(cameras):
        assert torch.allclose(pixels[i], camera.project(points)[0], atol=1e-12)
        assert torch.allclose(depth[i], camera.project(points)[1], atol=1e-12)
        assert torch.allclose(batch.rays()[1][i], camera.rays()[1])
        assert torch.equal(batch[i].camera_from_world, camera.camera_from_world)
    assert [torch.equal(item.K, camera.K) for item in batch] == [True, True]
    assert batch[1:].batch_shape == (1,)
    depths = torch.ones(2, 48, 64, dtype=torch.float64)
    assert torch.allclose(batch.unproject(depths)[1], cameras[1].unproject(depths[1]))


def test_to_changes_every_tensor():
    camera = make_camera(LENS).to(torch.float32)
    assert camera.focal.dtype == camera.camera_from_world.dtype == torch.float32
    assert camera.distortion is not None and camera.distortion.dtype == torch.float32


@pytest.mark.parametrize(
    "change, message",
    [
        ({"camera_from_world": torch.eye(4)}, "camera_from_world is torch.float32 on cpu but its"),
        ({"camera_from_world": torch.eye(3).double()}, r"should end in 4 4 but has \(3, 3\)"),
    ],
)
def test_bad_cameras_are_refused(change, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        replace(make_camera(), **change)


def test_batch_axes_that_do_not_fit_are_refused():
    two = make_camera().lens.expand(2)
    with pytest.raises(ValueError, match=r"batch axes \(2,\) of the lens do not broadcast with"):
        Camera(two, torch.eye(4, dtype=torch.float64).expand(3, 4, 4))


def test_one_lens_serves_many_poses():
    poses = torch.stack([general_pose(), torch.eye(4, dtype=torch.float64)])
    lens = make_camera(LENS).lens
    camera = Camera(lens, poses)
    assert camera.batch_shape == (2,) and camera.focal.shape == (2,)
    points = random_points() + torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64)
    for i, one in enumerate(camera):
        assert one.lens is lens and torch.equal(one.camera_from_world, poses[i])
        assert torch.allclose(camera.project(points)[0][i], one.project(points)[0])
        assert torch.allclose(camera.rays()[1][i], one.rays()[1])
    assert stack([camera, camera]).focal.shape == (2, 2, 2)


def test_many_lenses_serve_one_pose():
    lenses = stack([make_camera(LENS), make_camera(STRONG_BARREL)]).lens
    camera = Camera(lenses, general_pose())
    points = random_points() + torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64)
    for i, one in enumerate(camera):
        assert torch.equal(one.camera_from_world, camera.camera_from_world)
        assert torch.allclose(camera.project(points)[0][i], one.project(points)[0])
    assert camera.rays()[0].shape == camera.rays()[1].shape == (2, 48, 64, 3)


@pytest.mark.parametrize("turns", [-1, 0, 1, 2, 3, 5])
def test_a_quarter_turn_of_the_camera_is_one_of_the_image(turns):
    camera = make_camera(LENS, pose=general_pose())
    depth = torch.rand(48, 64, generator=torch.Generator().manual_seed(0)).double() + 1
    points = camera.unproject(depth).movedim(-1, 0)
    turned = camera.quarter_turn(turns)
    again = turned.unproject(torch.rot90(depth, turns)).movedim(-1, 0)
    assert torch.allclose(again, torch.rot90(points, turns, (1, 2)), atol=1e-9)


def test_depth_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"depth is 5x4 \(h x w\) but camera is 48x64"):
        make_camera().unproject(torch.ones(5, 4, dtype=torch.float64))


def test_stacking_what_does_not_fit_is_refused():
    camera = make_camera()
    with pytest.raises(ValueError, match="at least one camera"):
        stack([])
    with pytest.raises(ValueError, match="should agree in width but have 64 and 32"):
        stack([camera, camera.resize(48, 32)])
    with pytest.raises(ValueError, match="some have none"):
        stack([camera, make_camera(LENS)])
    fisheye = camera.with_lens(distortion=torch.zeros(4).double(), model="fisheye")
    with pytest.raises(ValueError, match="lenses of model brown and fisheye"):
        stack([make_camera(LENS), fisheye])


def test_indexing_needs_a_batch():
    with pytest.raises(IndexError, match="no batch axis"):
        make_camera()[0]
    with pytest.raises(TypeError, match="no batch axis"):
        len(make_camera())
