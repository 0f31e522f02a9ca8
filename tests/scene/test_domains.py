"""Domains of unknowns: known values, round trips, densities, what happens at the ends."""

import math
import re
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from invgraph.geometry import transforms
from invgraph.geometry.sphere import tangent_basis
from invgraph.scene.domains import (
    Direction,
    Domain,
    Free,
    Interval,
    Positive,
    RigidPose,
    Rotation,
    UnitInterval,
)


@dataclass(frozen=True)
class Case:
    """A domain with a value inside it and how many coordinates that has."""

    domain: Domain
    around: Tensor
    size: int


def tensor(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


TURN = transforms.exp_so3(tensor(0.5, -0.8, 0.3))
CASES = [
    Case(Free(), tensor(-1.5)[0], 1),
    Case(Positive(), tensor(0.3)[0], 1),
    Case(UnitInterval(), tensor(0.9)[0], 1),
    Case(Interval(-2.0, 3.0), tensor(-1.0)[0], 1),
    Case(Direction(), tensor(2.0, -1.0, -2.0) / 3, 2),
    Case(Rotation(), TURN, 3),
    Case(RigidPose(), transforms.pose(TURN, tensor(0.1, -0.2, 0.7)), 6),
]
every = pytest.mark.parametrize("case", CASES, ids=lambda case: type(case.domain).__name__)
moves = st.lists(st.floats(-1.75, 1.75, width=32), min_size=6, max_size=6)


def coordinates(case: Case, numbers: list[float]) -> Tensor:
    found = tensor(*numbers[: case.size])
    return found if case.domain.event_dim else found[0]


def flat_jacobian(case: Case, at: Tensor, around: Tensor | None) -> Tensor:
    """Slopes of coordinates around where ``at`` leads, in which the volume there is one.

    Numbers by themselves have no need of that: their values are lengths already.
    """
    there = case.domain.retract(at, around).detach()

    def moved(x: Tensor) -> Tensor:
        value = case.domain.retract(x, around)
        return case.domain.local(value, there) if case.domain.curved else value

    found = torch.autograd.functional.jacobian(moved, at)
    assert isinstance(found, Tensor)
    return found.reshape(case.size, case.size)


@every
@given(numbers=moves)
def test_coordinates_round_trip(case: Case, numbers):
    x = coordinates(case, numbers)
    for around in (None, case.around):
        value = case.domain.retract(x, around)
        assert case.domain.fault(value) is None
        assert torch.allclose(case.domain.local(value, around), x, atol=1e-9)
        again = case.domain.retract(case.domain.local(value, case.around), case.around)
        assert torch.allclose(again, value, atol=1e-9)


@every
def test_zero_is_the_value_around_which_coordinates_count(case: Case):
    zero = torch.zeros_like(coordinates(case, [0.0] * 6))
    assert torch.allclose(case.domain.retract(zero, case.around), case.around)
    assert torch.allclose(case.domain.local(case.around, case.around), zero)


def test_the_origins():
    assert Free().retract(tensor(0)).item() == 0
    assert Positive().retract(tensor(0)).item() == 1
    assert UnitInterval().retract(tensor(0)).item() == 0.5
    assert Interval(-2.0, 3.0).retract(tensor(0)).item() == 0.5
    assert Direction().retract(tensor(0, 0)).tolist() == [0, 0, 1]
    assert torch.equal(Rotation().retract(tensor(0, 0, 0)), torch.eye(3).double())
    assert torch.equal(RigidPose().retract(tensor(*[0] * 6)), torch.eye(4).double())


def test_values_by_hand():
    assert Positive().retract(tensor(math.log(3))).item() == pytest.approx(3)
    assert Positive().retract(tensor(math.log(3)), tensor(2)).item() == pytest.approx(6)
    assert UnitInterval().retract(tensor(math.log(3))).item() == pytest.approx(0.75)
    assert Interval(-2.0, 3.0).retract(tensor(math.log(4))).item() == pytest.approx(2)
    quarter = Rotation().retract(tensor(0, 0, math.pi / 2))
    assert torch.allclose(quarter @ tensor(1, 0, 0), tensor(0, 1, 0))
    # The axes of the motion are those of the outer frame, whatever the pose.
    moved = RigidPose().retract(tensor(0.1, 0, 0, 0, 0, math.pi / 2), CASES[-1].around)
    assert torch.allclose(moved[:3, 3], tensor(0.2, -0.2, 0.7))
    assert torch.allclose(moved[:3, :3], quarter @ TURN)
    assert torch.allclose(Direction().local(tensor(5, 0, 0)), tensor(math.pi / 2, 0))


@every
@given(numbers=moves)
def test_the_volume_is_that_of_the_jacobian(case: Case, numbers):
    x = coordinates(case, numbers)
    for around in (None, case.around):
        expected = torch.linalg.slogdet(flat_jacobian(case, x, around)).logabsdet
        assert torch.allclose(case.domain.log_volume(x, around), expected, atol=1e-7)


@every
@pytest.mark.parametrize("reach", [0.0, 1e-9, 1e-4, 0.7])
def test_gradients_against_finite_differences(case: Case, reach):
    x = coordinates(case, [reach, -reach, reach / 2, reach, -reach / 3, reach / 4])
    x, around = x.requires_grad_(), case.around.clone().requires_grad_()
    assert gradcheck(lambda x: case.domain.retract(x, case.around), (x,))
    assert gradcheck(lambda x: case.domain.log_volume(x, case.around), (x,), atol=1e-6)
    assert gradcheck(lambda x: case.domain.local(case.domain.retract(x), case.around), (x,))
    if not case.domain.curved:  # finite differences would leave the curved domain
        assert gradcheck(lambda x, a: case.domain.retract(x, a), (x, around))


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reach", [0.0, 1e-20, 3.2, 40.0, 1000.0])
def test_values_and_gradients_stay_finite_however_far(case: Case, reach, dtype):
    x = coordinates(case, [reach, -reach, reach, -reach, reach, -reach]).to(dtype)
    x, around = x.requires_grad_(), case.around.to(dtype).clone().requires_grad_()
    value = case.domain.retract(x, around)
    local, volume = case.domain.local(value, around), case.domain.log_volume(x, around)
    for result in (value, local, volume):
        assert result.isfinite().all()
    total = value.clamp(-1e6, 1e6).sum() + local.sum() + volume.sum()
    for gradient in torch.autograd.grad(total, (x, around)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "domain, ends",
    [(UnitInterval(), (0.0, 1.0)), (Interval(0.1, 0.7), (0.1, 0.7)), (Positive(), (1e-45, 3e38))],
)
def test_values_at_the_ends_have_coordinates(domain: Domain, ends, dtype):
    value = torch.tensor(ends, dtype=dtype, requires_grad=True)
    assert domain.fault(value) is None
    x = domain.local(value)
    (gradient,) = torch.autograd.grad(x.sum(), value)
    assert x.isfinite().all() and gradient.isfinite().all() and x[0] < -10 < 10 < x[1]
    assert torch.allclose(domain.retract(x), value, rtol=1e-4, atol=1e-6)
    far = domain.retract(torch.tensor([-1e4, 1e4], dtype=dtype))
    assert domain.fault(far) is None


def test_a_density_on_positive_numbers_integrates_to_one():
    value = torch.linspace(1e-4, 60, 400_001, dtype=torch.float64)
    x = Positive().local(value)
    log_normal = -0.5 * ((x - 0.3) / 0.8) ** 2 - math.log(0.8 * math.sqrt(2 * math.pi))
    density = (log_normal - Positive().log_volume(x)).exp()
    assert float(torch.trapezoid(density, value)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("domain", [UnitInterval(), Interval(-2.0, 3.0)])
def test_a_uniform_density_on_an_interval_integrates_to_one_over_coordinates(domain):
    x = torch.linspace(-40, 40, 100_001, dtype=torch.float64)
    length = 5 if isinstance(domain, Interval) else 1
    density = domain.log_volume(x).exp() / length
    assert float(torch.trapezoid(density, x)) == pytest.approx(1, abs=1e-9)


def test_the_uniform_density_on_rotations_integrates_to_one_over_coordinates():
    """On a grid over the ball of radius pi, not along one radius: the coordinates are a cube's."""
    side = torch.linspace(-math.pi, math.pi, 101, dtype=torch.float64)
    x = torch.stack(torch.meshgrid(side, side, side, indexing="ij"), -1)
    inside = x.norm(dim=-1) < math.pi
    density = Rotation().log_volume(x, TURN).exp() / (8 * math.pi**2) * inside
    assert float(density.sum() * (side[1] - side[0]) ** 3) == pytest.approx(1, abs=3e-3)


def test_a_gaussian_in_the_chart_is_a_density_over_directions():
    """Integrated over the sphere itself, in longitude and height."""
    around, sigma = CASES[4].around, 0.4
    height = torch.linspace(-1, 1, 601, dtype=torch.float64)
    longitude = torch.linspace(-math.pi, math.pi, 601, dtype=torch.float64)
    z, angle = torch.meshgrid((height[1:] + height[:-1]) / 2, longitude[1:], indexing="ij")
    radius = (1 - z * z).sqrt()
    value = torch.stack((radius * angle.cos(), radius * angle.sin(), z), -1)
    x = Direction().local(value, around)
    gaussian = -0.5 * x.square().sum(-1) / sigma**2 - math.log(2 * math.pi * sigma**2)
    density = (gaussian - Direction().log_volume(x, around)).exp()
    area = float(height[1] - height[0]) * float(longitude[1] - longitude[0])
    assert float(density.sum()) * area == pytest.approx(1, abs=1e-3)


def test_directions_of_any_length_stand_for_unit_vectors():
    value = tensor(0.0, -7.0, 0.0)
    assert torch.allclose(Direction().retract(Direction().local(value)), tensor(0, -1, 0))
    around = Direction().retract(tensor(0, 0), around=value)
    assert torch.allclose(around, tensor(0, -1, 0))
    first, _ = tangent_basis(tensor(0, -1, 0))
    assert torch.allclose(Direction().retract(tensor(math.pi / 2, 0), around=value), first)


@every
def test_batch_axes_broadcast(case: Case):
    one = coordinates(case, [0.3, -0.2, 0.4, 0.1, -0.5, 0.2])
    shape = one.shape
    x = torch.stack([one, 2 * one])[:, None]  # two by one
    around = case.domain.retract(torch.stack([one, -one, 3 * one]), case.around)  # three
    value = case.domain.retract(x, around)
    event = case.around.shape
    assert value.shape == (2, 3, *event)
    assert case.domain.coordinates_shape((2, 3, *event)) == (2, 3, *shape)
    assert torch.allclose(value[1, 2], case.domain.retract(2 * one, around[2]))
    back = case.domain.local(value, around)
    assert torch.allclose(back, x.expand(2, 3, *shape), atol=1e-9)
    assert torch.allclose(
        case.domain.log_volume(back, around)[1, 2], case.domain.log_volume(2 * one, around[2])
    )


BENT = TURN.clone()
BENT[0, 0] += 0.1
LOW = torch.eye(4)
LOW[3, 0] = 1.0


@pytest.mark.parametrize(
    "domain, value, message",
    [
        (Free(), torch.tensor([0.0, math.nan]), "finite but holds nan"),
        (Positive(), torch.tensor([1.0, -0.5]), "positive but holds -0.5"),
        (Positive(), torch.tensor([0.0]), "positive but holds 0"),
        (Positive(), torch.tensor([math.inf]), "positive but holds inf"),
        (UnitInterval(), torch.tensor([0.5, 1.5]), "between 0 and 1 but holds 1.5"),
        (UnitInterval(), torch.tensor([math.nan]), "between 0 and 1 but holds nan"),
        (Interval(2.0, 3.0), torch.tensor([1.0]), "between 2.0 and 3.0 but holds 1"),
        (Direction(), torch.zeros(2, 3), "vectors of finite length above zero but holds others"),
        (Direction(), torch.ones(2), r"vectors \(\*batch, 3\) but has shape \(2,\)"),
        (Rotation(), BENT, r"rotations but R R\^T is 0.\d+ from the identity"),
        (Rotation(), -torch.eye(3), "rotations but mirrors"),
        (Rotation(), torch.full((3, 3), math.nan), "rotations but R R.T is nan from the identity"),
        (Rotation(), torch.eye(4), r"rotations \(\*batch, 3, 3\) but has shape \(4, 4\)"),
        (RigidPose(), LOW, "rigid motions but has a last row other than 0, 0, 0, 1"),
        (RigidPose(), torch.eye(3), r"rigid motions \(\*batch, 4, 4\) but has shape \(3, 3\)"),
        (RigidPose(), torch.diag(torch.tensor([2.0, 2, 2, 1])), "rotations but R R.T is 3"),
        (RigidPose(), torch.full((4, 4), math.nan), "rigid motions but has a last row"),
    ],
)
def test_what_lies_outside_is_said(domain: Domain, value, message):
    assert re.match(message, domain.fault(value) or "")


@pytest.mark.parametrize("domain, shape", [(Rotation(), (3, 3)), (RigidPose(), (4, 4))])
def test_no_values_are_none_of_the_wrong_ones(domain: Domain, shape):
    assert domain.fault(torch.zeros(0, *shape)) is None
    assert domain.local(torch.zeros(0, *shape)).shape == (0, *domain.coordinates_shape(shape))


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)])
def test_intervals_need_an_inside(bounds):
    with pytest.raises(ValueError, match="low below high, both finite, but has"):
        Interval(*bounds)
