"""Rigid motions: known answers, group axioms, and gradients at the singular places."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from invgraph.geometry import transforms

# From exactly zero over both sides of the switch between series and closed form to half a turn.
ANGLES = (0.0, 1e-12, 1e-8, 1e-4, 0.2, 0.2005, 0.999999, 1.000001, 2.0, 3.0, math.pi - 1e-6)
AXIS = torch.tensor([0.36, -0.48, 0.8], dtype=torch.float64)

finite = st.floats(-2.0, 2.0, width=32)
twists = st.lists(finite, min_size=6, max_size=6).map(
    lambda values: torch.tensor(values, dtype=torch.float64) * 0.8
)


def _matrix_exponential(xi: torch.Tensor) -> torch.Tensor:
    generator = torch.zeros(4, 4, dtype=xi.dtype)
    generator[:3, :3] = transforms.cross_matrix(xi[3:])
    generator[:3, 3] = xi[:3]
    return torch.matrix_exp(generator)


def test_quarter_turn_about_z_takes_x_to_y():
    turn = transforms.exp_so3(torch.tensor([0.0, 0.0, math.pi / 2]))
    assert torch.allclose(
        turn @ torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]), atol=1e-6
    )


@pytest.mark.parametrize("angle", ANGLES)
def test_exponential_is_the_matrix_exponential(angle):
    xi = torch.cat((torch.tensor([0.3, -2.0, 1.1], dtype=torch.float64), angle * AXIS))
    assert torch.allclose(transforms.exp_se3(xi), _matrix_exponential(xi), rtol=0, atol=1e-14)


@pytest.mark.parametrize("angle", ANGLES)
def test_logarithm_undoes_exponential(angle):
    xi = torch.cat((torch.tensor([0.3, -2.0, 1.1], dtype=torch.float64), angle * AXIS))
    back = transforms.log_se3(transforms.exp_se3(xi))
    assert torch.allclose(back[3:], xi[3:], rtol=1e-12, atol=1e-15)
    assert torch.allclose(back[:3], xi[:3], rtol=1e-9, atol=1e-12)


def test_logarithm_of_small_float32_rotations_keeps_its_digits():
    phi = torch.tensor([[1e-6, 2e-6, -3e-6], [1e-3, 2e-3, -3e-3], [0.0, 0.0, 0.0]])
    assert torch.allclose(transforms.log_so3(transforms.exp_so3(phi)), phi, rtol=1e-6, atol=0)


def test_logarithm_of_half_turns_has_length_pi():
    for axis in torch.eye(3, dtype=torch.float64):
        turn = torch.diag(2 * axis - 1)
        log = transforms.log_so3(turn)
        assert torch.allclose(log.abs(), math.pi * axis, atol=1e-12)


@pytest.mark.parametrize("angle", ANGLES)
def test_exponential_gradients(angle):
    xi = torch.cat((torch.tensor([0.3, -2.0, 1.1], dtype=torch.float64), angle * AXIS))
    xi.requires_grad_()
    assert gradcheck(transforms.exp_se3, (xi,))
    jacobian = torch.autograd.functional.jacobian(transforms.exp_se3, xi)
    assert isinstance(jacobian, torch.Tensor)
    # At the identity the derivatives are the generators themselves, never zero or NaN.
    assert jacobian.isfinite().all() and float(jacobian.norm()) > 1


def test_second_derivatives_at_zero():
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(transforms.exp_so3, (zero,))


@pytest.mark.parametrize("angle", ANGLES)
def test_logarithm_gradients(angle):
    base = transforms.exp_so3(angle * AXIS)

    def nearby(delta):
        return transforms.log_so3(base @ transforms.exp_so3(delta))

    # Half a turn itself is a jump, so the finite differences stay on one side of it.
    step = 1e-7 if angle > 3.1 else 1e-6
    delta = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(nearby, (delta,), eps=step, atol=1e-5, rtol=1e-4)
    jacobian = torch.autograd.functional.jacobian(nearby, torch.zeros(3, dtype=torch.float64))
    assert isinstance(jacobian, torch.Tensor)
    if angle < 1e-3:
        assert torch.allclose(jacobian, torch.eye(3, dtype=torch.float64), atol=1e-3)


def test_logarithm_gradient_of_a_whole_pose():
    xi = torch.tensor([0.3, -2.0, 1.1, 0.4, -0.2, 0.9], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda xi: transforms.log_se3(transforms.exp_se3(xi)), (xi,))


@given(twists, twists)
def test_difference_undoes_perturb(a, b):
    pose = transforms.exp_se3(a)
    moved = transforms.perturb(pose, b)
    assert torch.allclose(transforms.difference(pose, moved), b, atol=1e-8)
    assert torch.allclose(transforms.perturb(pose, 0 * b), pose, rtol=0, atol=0)


def test_a_small_motion_by_hand():
    quarter = torch.tensor([0.0, 0.0, math.pi / 2])
    pose = transforms.pose(transforms.exp_so3(quarter), torch.tensor([0.0, 0.0, 1.0]))
    moved = transforms.perturb(pose, torch.tensor([0.1, 0.0, 0.0, math.pi / 2, 0.0, 0.0]))
    # The object's origin moves along the camera's x and is not swung around by the rotation.
    assert torch.allclose(moved[:3, 3], torch.tensor([0.1, 0.0, 1.0]))
    # The object's x pointed down (y); a quarter turn about the camera's x points it forward (z).
    assert torch.allclose(moved[:3, 0], torch.tensor([0.0, 0.0, 1.0]), atol=1e-6)


def test_small_motions_of_one_pose_are_a_batch():
    moves = 0.1 * torch.arange(12.0).reshape(2, 6)
    both = transforms.perturb(torch.eye(4), moves)
    for move, moved in zip(moves, both, strict=True):
        assert torch.equal(moved[:3, 3], move[:3])
        assert torch.allclose(moved[:3, :3], transforms.exp_so3(move[3:]))


@given(twists, twists, twists)
def test_poses_form_a_group(a, b, c):
    x, y, z = (transforms.exp_se3(xi) for xi in (a, b, c))
    eye = torch.eye(4, dtype=torch.float64)
    assert torch.allclose((x @ y) @ z, x @ (y @ z), atol=1e-12)
    assert torch.allclose(x @ transforms.invert(x), eye, atol=1e-12)
    assert torch.allclose(
        transforms.invert(x @ y), transforms.invert(y) @ transforms.invert(x), atol=1e-12
    )
    assert torch.allclose(transforms.invert(x), transforms.exp_se3(-a), atol=1e-12)
    assert torch.allclose(torch.linalg.det(x), eye[0, 0], atol=1e-12)


@given(twists, twists)
def test_applying_twice_is_applying_the_product(a, b):
    points = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(5, 3)
    x, y = transforms.exp_se3(a), transforms.exp_se3(b)
    twice = transforms.apply(x, transforms.apply(y, points))
    assert torch.allclose(transforms.apply(x @ y, points), twice, atol=1e-12)
    assert torch.allclose(
        transforms.rotate(x, points), transforms.apply(x, points) - x[:3, 3], atol=1e-12
    )


def test_batch_axes_broadcast():
    poses = transforms.exp_se3(torch.linspace(0, 1, 24).reshape(4, 6))
    points = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    moved = transforms.apply(poses, points)
    assert moved.shape == (4, 5, 3)
    assert torch.allclose(moved[2], transforms.apply(poses[2], points), atol=1e-6)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_quaternions_round_trip(values):
    quat = torch.tensor(values, dtype=torch.float64)
    if float(quat.norm()) < 1e-3:
        return
    matrix = transforms.matrix_from_quat_wxyz(quat)
    back = transforms.quat_wxyz_from_matrix(matrix)
    assert back[0] >= 0
    assert torch.allclose(transforms.matrix_from_quat_wxyz(back), matrix, atol=1e-12)


def test_quaternion_order_is_wxyz():
    half = math.sqrt(0.5)
    quat = torch.tensor([half, 0.0, 0.0, half])
    expected = transforms.exp_so3(torch.tensor([0.0, 0.0, math.pi / 2]))
    assert torch.allclose(transforms.matrix_from_quat_wxyz(quat), expected, atol=1e-6)
    assert torch.allclose(transforms.quat_wxyz_from_matrix(expected), quat, atol=1e-6)


def test_zero_quaternion_is_refused():
    with pytest.raises(ValueError, match="zero or non-finite quaternion; give a rotation"):
        transforms.matrix_from_quat_wxyz(torch.zeros(2, 4))


def test_look_at_puts_the_target_ahead_and_up_above():
    eye, target = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([-1.0, 0.0, 0.0])
    pose = transforms.look_at(eye, target, torch.tensor([0.0, 0.0, 1.0]))
    points = torch.tensor([[-1.0, 0.0, 0.0], [2.0, 0.0, 1.0], [2.0, 1.0, 0.0], [2.0, 0.0, 0.0]])
    # Ahead is +z; world up is image up, -y; looking along -x with z up, world +y is to the right.
    expected = torch.tensor([[0.0, 0.0, 3.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert torch.allclose(transforms.apply(pose, points), expected, atol=1e-6)


def test_look_at_refuses_what_has_no_answer():
    eye, up = torch.zeros(3), torch.tensor([0.0, 1.0, 0.0])
    with pytest.raises(ValueError, match="eye and target apart"):
        transforms.look_at(eye, eye, up)
    with pytest.raises(ValueError, match="up not parallel"):
        transforms.look_at(eye, 3 * up, up)


@pytest.mark.parametrize("angle", ANGLES)
def test_volume_of_rotations_is_that_of_the_jacobian(angle):
    phi = angle * AXIS

    def turned(phi):
        """Rotation vector of the turn relative to its value here, which has slope one there."""
        return transforms.log_so3(transforms.exp_so3(phi) @ transforms.exp_so3(angle * AXIS).mT)

    jacobian = torch.autograd.functional.jacobian(turned, phi)
    assert isinstance(jacobian, torch.Tensor)
    expected = torch.linalg.slogdet(jacobian).logabsdet
    assert torch.allclose(transforms.log_volume_so3(phi), expected, atol=1e-9)
    assert gradcheck(transforms.log_volume_so3, (phi.requires_grad_(),), atol=1e-6)


def test_all_rotations_have_volume_eight_pi_squared():
    angle = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    shell = transforms.log_volume_so3(angle[:, None] * AXIS).exp() * 4 * math.pi * angle**2
    assert float(torch.trapezoid(shell, angle)) == pytest.approx(8 * math.pi**2, rel=1e-6)


@pytest.mark.parametrize("angle", [0.0, 2 * math.pi])
def test_volume_of_rotations_is_finite_where_it_vanishes(angle):
    phi = (angle * AXIS).float().requires_grad_()
    volume = transforms.log_volume_so3(phi)
    volume.backward()
    assert volume.isfinite() and phi.grad is not None and phi.grad.isfinite().all()
