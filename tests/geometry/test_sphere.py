"""Directions: great circles by hand, round trips, areas, gradients at the singular places."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from invgraph.geometry.sphere import exp_s2, log_s2, log_volume_s2, tangent_basis

ANGLES = (0.0, 1e-12, 1e-8, 1e-4, 0.1, 0.101, 0.999999, 1.000001, 2.0, 3.0, math.pi - 1e-6)
HEADING = torch.tensor([0.6, -0.8], dtype=torch.float64)

numbers = st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3)
directions = (
    numbers.map(lambda x: torch.tensor(x, dtype=torch.float64))
    .filter(lambda x: float(x.norm()) > 1e-3)
    .map(lambda x: x / x.norm())
)


def somewhere() -> torch.Tensor:
    return torch.tensor([2.0, -1.0, -2.0], dtype=torch.float64) / 3


def test_a_quarter_circle_along_x_from_the_z_axis_ends_at_x():
    z = torch.tensor([0.0, 0.0, 1.0])
    reached = exp_s2(z, torch.tensor([[math.pi / 2, 0.0], [0.0, -math.pi / 2], [0.0, 0.0]]))
    expected = torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    assert torch.allclose(reached, expected, atol=1e-6)


@given(directions)
def test_the_basis_is_right_handed_and_orthonormal(direction):
    rows = torch.stack((*tangent_basis(direction), direction))
    assert torch.allclose(rows @ rows.mT, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert torch.linalg.det(rows) > 0


def test_the_basis_at_both_poles():
    for z in (1.0, -1.0, -0.0):
        basis = torch.stack(tangent_basis(torch.tensor([0.0, 0.0, z or 1.0])))
        assert basis.isfinite().all()


@pytest.mark.parametrize("angle", ANGLES)
def test_logarithm_undoes_exponential(angle):
    tangent = angle * HEADING
    reached = exp_s2(somewhere(), tangent)
    assert reached.norm().item() == pytest.approx(1, abs=1e-14)
    assert math.acos(float((reached @ somewhere()).clamp(-1, 1))) == pytest.approx(angle, abs=2e-8)
    assert torch.allclose(log_s2(somewhere(), reached), tangent, rtol=1e-9, atol=1e-15)


@given(directions, directions)
def test_exponential_undoes_logarithm(start, end):
    assert torch.allclose(exp_s2(start, log_s2(start, end)), end, atol=1e-9)


def test_the_opposite_direction_is_half_a_turn_away():
    tangent = log_s2(somewhere(), -somewhere())
    assert tangent.norm().item() == pytest.approx(math.pi)
    assert torch.allclose(exp_s2(somewhere(), tangent), -somewhere(), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("angle", [*ANGLES, math.pi])
def test_gradients_are_finite_everywhere(angle, dtype):
    start = somewhere().to(dtype).requires_grad_()
    tangent = (angle * HEADING).to(dtype).requires_grad_()
    reached = exp_s2(start, tangent)
    total = log_s2(start, reached).sum() + log_volume_s2(tangent) + reached.sum()
    for gradient in torch.autograd.grad(total, (start, tangent)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("angle", ANGLES[:-1])
def test_gradients_are_right(angle):
    tangent = (angle * HEADING).requires_grad_()
    start = somewhere().requires_grad_()
    assert gradcheck(exp_s2, (start, tangent))
    assert gradcheck(log_volume_s2, (tangent,), atol=1e-6)
    end = exp_s2(somewhere(), angle * HEADING).requires_grad_()
    assert gradcheck(log_s2, (start, end), rtol=1e-3, atol=1e-5)


def test_second_derivatives_at_zero():
    zero = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(lambda tangent: exp_s2(somewhere(), tangent), (zero,))


@pytest.mark.parametrize("angle", ANGLES)
def test_the_volume_is_that_of_the_jacobian(angle):
    tangent = angle * HEADING
    jacobian = torch.autograd.functional.jacobian(lambda t: exp_s2(somewhere(), t), tangent)
    assert isinstance(jacobian, torch.Tensor)
    expected = torch.linalg.svdvals(jacobian).log().sum()
    assert torch.allclose(log_volume_s2(tangent), expected, atol=1e-9, rtol=1e-9)


def test_the_whole_sphere_has_area_four_pi():
    side = torch.linspace(-math.pi, math.pi, 1001, dtype=torch.float64)
    tangent = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1)
    inside = tangent.norm(dim=-1) < math.pi
    area = (log_volume_s2(tangent).exp() * inside).sum() * (side[1] - side[0]) ** 2
    assert float(area) == pytest.approx(4 * math.pi, rel=1e-4)
